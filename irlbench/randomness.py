"""Counter-based random numbers: a function of (seed, stream, counter), never of batch size.

Row i of a batch draws exactly what the same episode would draw alone, so results do not depend
on how episodes are grouped. The mixing function is the finaliser of SplitMix64 (Steele, Lea and
Flood, 2014), applied once per key word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53
_TWO_TO_THE_64 = 2**64

#: Seeds from here on belong to evaluation; an environment handed to a learner refuses them.
EVALUATION_SEEDS = 2**30


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * _MIX_1
    words = (words ^ (words >> np.uint64(27))) * _MIX_2
    return words ^ (words >> np.uint64(31))


def row_keys(seeds: NDArray[np.int64], stream: int = 0) -> NDArray[np.uint64]:
    """Turns seeds into keys, one per row, for `uniforms`.

    Args:
        seeds: Non-negative integers, `[rows]`.
        stream: Names an independent use of the same seeds (transitions, starts, actions).

    Returns:
        Keys, uint64 `[rows]`.
    """
    with np.errstate(over="ignore"):
        words = np.asarray(seeds).astype(np.uint64) + np.uint64(1)
        return _mix(_mix(words * _GOLDEN) + np.uint64(stream + 1) * _MIX_2)


def uniforms(keys: NDArray[np.uint64], counters: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), one per key and counter (shapes broadcast).

    Args:
        keys: From `row_keys`, `[rows]` or broadcastable.
        counters: How many numbers the row has drawn before.

    Returns:
        float64 of the broadcast shape.
    """
    with np.errstate(over="ignore"):
        words = _mix(keys + np.asarray(counters).astype(np.uint64) * _GOLDEN)
    return np.asarray((words >> np.uint64(11)).astype(np.float64) * _TO_UNIT)


class RowGenerator:
    """Random numbers for a batch of episodes, each row with a seed and a counter of its own.

    Policies draw from it; two batches that hold the same episode draw the same numbers for it.

    Args:
        seeds: One non-negative integer per row, `[rows]`.
        stream: Names an independent use of the same seeds.
    """

    def __init__(self, seeds: NDArray[np.int64], stream: int = 0) -> None:
        self._keys = row_keys(np.asarray(seeds), stream)
        self._counters = np.zeros(len(self._keys), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def uniform(self, columns: int = 1) -> NDArray[np.float64]:
        """Draws uniform numbers in [0, 1).

        Args:
            columns: Numbers per row.

        Returns:
            float64 `[rows, columns]`.
        """
        counters = self._counters[:, None] + np.arange(columns)
        self._counters += columns
        return uniforms(self._keys[:, None], counters)


def sample_categorical(
    probabilities: NDArray[np.float64], uniform: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Samples one category per row by inverting the cumulative distribution.

    Args:
        probabilities: `[rows, categories]`, rows sum to one.
        uniform: Numbers in [0, 1), `[rows]`.

    Returns:
        Category indices, int64 `[rows]`.
    """
    cumulative = np.cumsum(probabilities, axis=-1)
    scaled = uniform * cumulative[:, -1]
    return np.minimum(
        (cumulative <= scaled[:, None]).sum(axis=-1), probabilities.shape[-1] - 1
    ).astype(np.int64)


def generator_state(generator: np.random.Generator) -> NDArray[np.uint64]:
    """Where a generator stands, for a checkpoint.

    Args:
        generator: One of `np.random.default_rng`.

    Returns:
        uint64 `[6]`.

    Raises:
        TypeError: If it draws from another bit generator than PCG64.
    """
    state: Any = generator.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise TypeError(f"only PCG64 is kept in checkpoints, got {state['bit_generator']}")
    halves = [
        half for key in ("state", "inc") for half in divmod(state["state"][key], _TWO_TO_THE_64)
    ]
    return np.array([*halves, state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def restore_generator(generator: np.random.Generator, words: NDArray[np.uint64]) -> None:
    """Puts a generator where `generator_state` found one; it draws the same numbers from there.

    Args:
        generator: One of `np.random.default_rng`.
        words: uint64 `[6]`.
    """
    high, low, high_step, low_step, has_half, half = words.tolist()
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {
            "state": high * _TWO_TO_THE_64 + low,
            "inc": high_step * _TWO_TO_THE_64 + low_step,
        },
        "has_uint32": has_half,
        "uinteger": half,
    }
