"""How far learning is, when to hand in a policy, and when it has diverged."""

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


def share_done(turn: int, turns: int, steps: int | None, granted: int | None) -> float:
    """How far learning is, from 0 to 1: by whichever of its limits is nearer.

    Args:
        turn: Rounds so far.
        turns: Rounds at most.
        steps: Environment steps so far; None where none are taken.
        granted: Environment steps at most; None for no limit.
    """
    by_steps = 0.0 if steps is None or not granted else steps / granted
    return max(turn / turns, by_steps)


class Points:
    """Evenly spaced points of a fit, at which policies are handed in.

    Args:
        count: How many; the last is the end.
    """

    def __init__(self, count: int) -> None:
        self._count, self._next = count, 1

    def passed(self, share: float) -> bool:
        """Whether a point was passed since the last call.

        Args:
            share: How far the fit is, from 0 to 1.
        """
        due = share * self._count >= self._next - 1e-9
        while share * self._count >= self._next - 1e-9:
            self._next += 1
        return due
