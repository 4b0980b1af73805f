"""Random numbers that worlds are made from: the same for ever, on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irlbench.randomness import row_keys, uniforms


def drawn(seed: int, what: int, *shape: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1).

    NumPy's generators may change what they draw; these, being a part of task versions, may not.

    Args:
        seed: Of the world.
        what: Numbers the independent uses that a world has for one seed.
        *shape: Of the numbers.

    Returns:
        float64 of that shape.
    """
    key = row_keys(np.array([seed]), what)
    return uniforms(key, np.arange(np.prod(shape, dtype=np.int64))).reshape(shape)
