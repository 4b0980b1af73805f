"""Cross-validation on pairs of segments that may overlap: groups, folds, and what was predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.preferences import Pairs

RESAMPLES = 10_000


def groups_of(observations: NDArray[Any]) -> NDArray[np.int64]:
    """Puts pairs together whose segments are the same, or overlap.

    Two segments that have an observation in common, to the last bit, are cut from one stretch of
    an episode. Groups are the connected components: none has anything in common with another.

    Args:
        observations: `[pairs, 2, time, ...]`.

    Returns:
        The group of each pair, from 0 in the order of their first pairs, `[pairs]`.
    """
    parent = list(range(len(observations)))

    def root(pair: int) -> int:
        while parent[pair] != pair:
            pair = parent[pair]
        return pair

    seen: dict[bytes, int] = {}
    for pair, segments in enumerate(observations):
        for row in segments.reshape(-1, *observations.shape[3:]):
            one, other = root(seen.setdefault(row.tobytes(), pair)), root(pair)
            parent[max(one, other)] = min(one, other)
    roots = [root(pair) for pair in range(len(observations))]
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def copies_of(pairs: Pairs) -> NDArray[np.bool_]:
    """Whether the same pair with the same label stands before, `[pairs]`."""
    seen: set[bytes] = set()
    found = []
    for columns in zip(pairs.observations, pairs.actions, pairs.first_preferred, strict=True):
        whole = b"".join(np.asarray(column).tobytes() for column in columns)
        found.append(whole in seen)
        seen.add(whole)
    return np.array(found)


def folds_of(groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Divides pairs into folds of about one size, groups whole: shuffled, the largest first.

    Args:
        groups: Of each pair, `[pairs]`.
        folds: How many, at most as many as there are groups.
        seed: Shuffles the groups.

    Returns:
        The fold of each pair, `[pairs]`.

    Raises:
        ValueError: If there are too few groups.
    """
    sizes = np.bincount(groups)
    if not 2 <= folds <= len(sizes):
        raise ValueError(f"{len(sizes)} groups cannot make {folds} folds: at least 2, one each")
    order = np.random.default_rng([seed, 0xF01D]).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold, filled = np.empty(len(sizes), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    for group in order:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[groups]


def credit_of(scores: NDArray[np.float64], first_preferred: NDArray[np.float64]) -> NDArray[Any]:
    """1 where the preferred segment scores higher, 0 where the other does, 0.5 where neither.

    Args:
        scores: Of the two segments of each pair, `[pairs, 2]`.
        first_preferred: 1, 0, or 0.5 for a tie, `[pairs]`.

    Returns:
        `[pairs]`, NaN for ties, which nothing can get right.
    """
    right = np.sign(scores[:, 0] - scores[:, 1]) * np.sign(first_preferred - 0.5)
    return np.where(first_preferred == 0.5, np.nan, (1 + right) / 2)


def interval(credit: NDArray[np.float64], groups: NDArray[np.int64]) -> dict[str, float]:
    """The mean over pairs, with the 95% percentile bootstrap over groups.

    What was fitted stays as it is: the interval is for other pairs of this kind, not for other
    training data. Equal groups are drawn for every method, so differences are paired.

    Args:
        credit: Of each pair, the mean over repeats; NaN where it is not judged, `[pairs]`.
        groups: Of each pair, `[pairs]`.
    """
    there = ~np.isnan(credit)
    kept, place = np.unique(groups[there], return_inverse=True)
    sums, counts = np.bincount(place, weights=credit[there]), np.bincount(place)
    drawn = np.random.default_rng(0xB007).integers(len(kept), size=(RESAMPLES, len(kept)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return {"estimate": float(credit[there].mean()), "low": float(low), "high": float(high)}
