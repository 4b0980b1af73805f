"""How far a recovered reward goes along with the true one: correlations, and who is the better."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A spread that is smaller than this times the numbers themselves is rounding.
_ROUNDING = 1e-10


def pearson(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float | None:
    """Pearson's correlation, -1 to 1; None where one of the two does not vary.

    Args:
        first: `[n]`.
        second: `[n]`.
    """
    one, other = (_centred(np.asarray(x, dtype=np.float64)) for x in (first, second))
    if one is None or other is None:
        return None
    return float(np.clip(one @ other, -1, 1))


def spearman(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float | None:
    """Spearman's correlation, that of the ranks, ties sharing theirs; None as by `pearson`.

    Args:
        first: `[n]`.
        second: `[n]`.
    """
    if pearson(first, second) is None:
        return None
    return pearson(_ranks(first), _ranks(second))


def pair_accuracy(
    recovered: NDArray[np.float64], true: NDArray[np.float64], pairs: NDArray[np.int64]
) -> float | None:
    """The share of pairs of which a reward prefers the one that is truly better.

    Pairs that are truly alike are left out; where the recovered reward has no preference, half a
    pair is counted.

    Args:
        recovered: What the reward says of each item, `[items]`.
        true: What each item is truly worth, `[items]`.
        pairs: Places of the two items, `[pairs, 2]`.

    Returns:
        0 to 1; None where all pairs are truly alike.
    """
    better = np.sign(true[pairs[:, 0]] - true[pairs[:, 1]])
    preferred = np.sign(recovered[pairs[:, 0]] - recovered[pairs[:, 1]])
    apart = better != 0
    if not apart.any():
        return None
    return float((better[apart] * preferred[apart] + 1).mean() / 2)


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The values less their mean, of length 1; None where they are all alike."""
    off = values - values.mean()
    size = float(np.sqrt((off**2).sum()))
    if not size > _ROUNDING * float(np.abs(values).max()) * np.sqrt(len(values)):
        return None
    return off / size


def _ranks(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """From 0 on, the mean of their places for those that are equal."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]
