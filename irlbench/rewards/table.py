"""Rewards as tables over states, or over states and actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.reward import RewardFunction, saved_settings
from irlbench.serialisation import require_arrays


class TableReward(RewardFunction):
    """r(s) or r(s, a) as an array.

    Args:
        values: float64 `[states]` or `[states, actions]`.
        discount: The discount under which it was learnt.
        temperature: The temperature under which it was learnt, or None.
    """

    form: ClassVar[str] = "table"

    def __init__(
        self,
        values: NDArray[np.float64],
        discount: float = 1.0,
        temperature: float | None = None,
    ) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        if self.values.ndim not in (1, 2):
            raise ValueError(f"a reward table has 1 or 2 axes, got shape {self.values.shape}")
        self.kind = "state" if self.values.ndim == 1 else "state-action"
        self.discount, self.temperature = discount, temperature

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`. Observations are state indices."""
        states = np.asarray(observation)
        if self.values.ndim == 1:
            return self.values[states]
        return self.values[states, np.asarray(action)]

    @property
    def actions(self) -> int:
        """How many actions there are columns for; 1 of states."""
        return 1 if self.values.ndim == 1 else self.values.shape[1]

    def of_actions(self, observations: Any) -> NDArray[np.float64]:
        """The reward of every action, float64 `[batch, actions]`; of states `[batch, 1]`."""
        rows = self.values[np.asarray(observations)]
        return rows[:, None] if self.values.ndim == 1 else rows

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `RewardFunction.arrays`."""
        return {"values": self.values}

    @classmethod
    def from_saved(
        cls, arrays: dict[str, NDArray[Any]], settings: Mapping[str, Any]
    ) -> TableReward:
        """See `RewardFunction.from_saved`."""
        kind, discount, temperature = saved_settings(settings)
        axes = {"state": 1, "state-action": 2}.get(kind, 0)
        require_arrays(arrays, {"values": (np.float64, axes)})
        return cls(arrays["values"], discount, temperature)
