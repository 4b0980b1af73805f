"""The uniform policy over a discrete set, a box, or a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.policy import Arrays, Policy
from irlbench.randomness import RowGenerator
from irlbench.serialisation import require_arrays

#: Far more than any vocabulary.
_MOST_ACTIONS = 2**31


class UniformPolicy(Policy):
    """Every action alike, whatever is observed.

    Args:
        actions: Number of discrete actions, or None for a box.
        low: Lower bounds of the box, `[action dimensions]`.
        high: Upper bounds of the box, `[action dimensions]`.
    """

    kind: ClassVar[str] = "uniform"

    def __init__(
        self,
        actions: int | None = None,
        low: NDArray[np.floating[Any]] | None = None,
        high: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        if (actions is None) == (low is None or high is None):
            raise ValueError("give the number of actions, or both bounds of a box")
        self._actions = actions
        self._low = None if low is None else np.asarray(low, dtype=np.float32)
        self._high = None if high is None else np.asarray(high, dtype=np.float32)

    @classmethod
    def over(cls, action_space: Any) -> UniformPolicy:
        """The uniform policy over a Gymnasium `Discrete` (from 0) or bounded `Box`."""
        if hasattr(action_space, "n"):
            return cls(actions=int(action_space.n))
        return cls(low=action_space.low, high=action_space.high)

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`. It has no mode: `deterministic` samples all the same."""
        if self._actions is not None:
            return (generator.uniform()[:, 0] * self._actions).astype(np.int64), None
        assert self._low is not None and self._high is not None
        unit = generator.uniform(len(self._low)).astype(np.float32)
        return self._low + unit * (self._high - self._low), None

    def log_prob(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        """See `Policy.log_prob`."""
        if self._actions is not None:
            return np.full(len(actions), -np.log(self._actions))
        assert self._low is not None and self._high is not None
        volume = np.log((self._high - self._low).astype(np.float64)).sum()
        inside = ((actions >= self._low) & (actions <= self._high)).all(axis=-1)
        return np.where(inside, -volume, -np.inf)

    def arrays(self) -> Arrays:
        """See `Policy.arrays`."""
        if self._low is None or self._high is None:
            return {}
        return {"low": self._low, "high": self._high}

    def settings(self) -> dict[str, Any]:
        """See `Policy.settings`."""
        return {"actions": self._actions}

    @classmethod
    def from_saved(cls, arrays: Arrays, settings: Mapping[str, Any]) -> UniformPolicy:
        """See `Policy.from_saved`."""
        actions = settings["actions"]
        if actions is not None:
            if type(actions) is not int or not 1 <= actions <= _MOST_ACTIONS:
                raise ValueError(f"actions must be a whole number from 1 on, got {actions!r}")
            require_arrays(arrays, {})
            return cls(actions)
        require_arrays(arrays, {"low": (np.float32, 1), "high": (np.float32, 1)})
        low, high = arrays["low"], arrays["high"]
        if low.shape != high.shape or (low > high).any():
            raise ValueError(f"no box: low is {list(low.shape)}, high {list(high.shape)}")
        return cls(low=low, high=high)
