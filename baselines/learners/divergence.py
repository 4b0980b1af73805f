"""Learning that diverges is stopped, and says what left the numbers and when."""

from __future__ import annotations

import math
from collections.abc import Mapping

from irlbench.errors import DivergenceError

#: No loss or value of a task that is learnt comes near it.
LARGEST = 1e12


def require_finite(told: Mapping[str, float], step: int) -> None:
    """Refuses to go on where a loss or a value is not finite, or has exploded.

    Args:
        told: What is logged, by name.
        step: Of the environment, or of the gradient where none is taken.

    Raises:
        DivergenceError: Naming the step and the term.
    """
    for name, value in told.items():
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise DivergenceError(
                f"learning diverged: {name} is {value:g} at step {step}; smaller step sizes, or a "
                "larger temperature, may help"
            )
