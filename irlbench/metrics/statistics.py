"""Statistics over seeds: plain numbers in, an estimate with its interval out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Share of repetitions in which an interval holds the true mean.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval around it; `low <= estimate <= high` where it is defined.

    Attributes:
        estimate: The mean.
        low: Lower end, or None where a single value says nothing about the spread.
        high: Upper end, or None likewise.
        n: How many values it rests on.
        confidence: Coverage that the interval is made for, in (0, 1).
    """

    estimate: float
    low: float | None
    high: float | None
    n: int
    confidence: float = CONFIDENCE

    @property
    def half_width(self) -> float | None:
        """Half the distance between the ends, or None where they are undefined."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2


def t_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Mean and Student's t-interval, `mean ± t(n - 1) s / sqrt(n)` (Student, 1908).

    At a handful of seeds it keeps its coverage where the percentile bootstrap does not. The order
    of the values changes nothing, not even the last bit.

    Args:
        values: One number per seed, `[seeds]`.
        confidence: Coverage wanted, in (0, 1).

    Returns:
        The interval: undefined for one value, of zero width where all values are equal.

    Raises:
        ValueError: If there is no value, one is not finite, or the shape is not `[seeds]`.
    """
    numbers = _finite(values, "values")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    n = len(numbers)
    if min(numbers) == max(numbers):
        end = numbers[0] if n > 1 else None
        return Interval(numbers[0], end, end, n, confidence)
    # fsum rounds once, whatever the order.
    mean = math.fsum(numbers) / n
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in numbers) / (n - 1))
    half = _t_quantile(n - 1, (1 + confidence) / 2) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, confidence)


def paired_difference(
    first: ArrayLike,
    first_seeds: Sequence[int],
    second: ArrayLike,
    second_seeds: Sequence[int],
    confidence: float = CONFIDENCE,
) -> Interval:
    """Mean of `first - second` over the seeds that both have, with its t-interval.

    A seed draws the demonstrations and the evaluation of every algorithm alike, so what it makes
    easy or hard for both cancels in the difference.

    Args:
        first: One number per seed, `[first seeds]`.
        first_seeds: The seeds of `first`, each once.
        second: One number per seed, `[second seeds]`.
        second_seeds: The seeds of `second`, each once.
        confidence: Coverage wanted, in (0, 1).

    Returns:
        The interval; its `n` is the number of common seeds.

    Raises:
        ValueError: If seeds are doubled or as many as the numbers they are not, no seed is
            common, or a number is not finite.
    """
    left = _by_seed(first, first_seeds, "first")
    right = _by_seed(second, second_seeds, "second")
    common = sorted(left.keys() & right.keys())
    if not common:
        raise ValueError(
            f"no common seed: first has {sorted(left)}, second has {sorted(right)}; "
            "a paired difference needs trials of both at the same seeds"
        )
    return t_interval([left[seed] - right[seed] for seed in common], confidence)


def normalise(
    raw: NDArray[np.float64] | float, low: float, high: float
) -> NDArray[np.float64] | float:
    """Scores on the scale where `low` is 0 and `high` is 1: `(raw - low) / (high - low)`.

    Where lower is better the anchors stand the other way round, and the sign comes out right.

    Args:
        raw: Raw scores, of any shape.
        low: The raw score that becomes 0.
        high: The raw score that becomes 1.

    Raises:
        ValueError: If the anchors are equal or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        raise ValueError(f"anchors must be finite and apart, got low {low} and high {high}")
    return (raw - low) / (high - low)


def _finite(values: ArrayLike, name: str) -> list[float]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be one number per seed, got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(
            f"{name} must be finite, got {array[bad[0]]} at position {bad[0]}; "
            "give a failed trial the score it is to count as"
        )
    return [float(value) for value in array]


def _by_seed(values: ArrayLike, seeds: Sequence[int], name: str) -> dict[int, float]:
    numbers = _finite(values, name)
    if len(seeds) != len(numbers):
        raise ValueError(f"{name} has {len(numbers)} numbers but {len(seeds)} seeds")
    paired = dict(zip((int(seed) for seed in seeds), numbers, strict=True))
    if len(paired) != len(numbers):
        doubled = sorted({int(s) for s in seeds if list(seeds).count(s) > 1})
        raise ValueError(f"{name} has more than one number for seed {doubled[0]}")
    return paired


def _t_quantile(degrees: int, probability: float) -> float:
    # scipy.stats says the same but takes a second to import.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
