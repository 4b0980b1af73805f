"""Rewards linear in the observation. With no weights it is a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.reward import RewardFunction, saved_settings
from irlbench.serialisation import require_names


class LinearReward(RewardFunction):
    """r(s) = w . s + b.

    Args:
        weights: float64 `[observation dimensions]`; empty for a constant reward.
        bias: The constant b.
        discount: The discount under which it was learnt.
        temperature: The temperature under which it was learnt, or None.
    """

    form: ClassVar[str] = "linear"

    def __init__(
        self,
        weights: NDArray[np.float64],
        bias: float,
        discount: float = 1.0,
        temperature: float | None = None,
    ) -> None:
        self.weights = np.asarray(weights, dtype=np.float64).reshape(-1)
        self.bias = float(bias)
        self.kind = "state"
        self.discount, self.temperature = discount, temperature

    @classmethod
    def constant(cls, value: float, discount: float = 1.0) -> LinearReward:
        """The same reward at every step."""
        return cls(np.zeros(0), value, discount)

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        rows = len(terminated)
        if not self.weights.size:
            return np.full(rows, self.bias)
        flat = np.asarray(observation, dtype=np.float64).reshape(rows, -1)
        return np.asarray(flat @ self.weights + self.bias)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `RewardFunction.arrays`."""
        return {"weights": self.weights, "bias": np.array([self.bias])}

    @classmethod
    def from_saved(
        cls, arrays: dict[str, NDArray[Any]], settings: Mapping[str, Any]
    ) -> LinearReward:
        """See `RewardFunction.from_saved`."""
        kind, discount, temperature = saved_settings(settings)
        require_names(arrays, ("weights", "bias"))
        weights, bias = arrays["weights"], arrays["bias"]
        if weights.dtype != np.float64 or weights.ndim != 1:
            raise ValueError(f"weights are {weights.dtype} {list(weights.shape)}")
        if bias.dtype != np.float64 or bias.shape != (1,) or kind != "state":
            raise ValueError(f"no {kind} reward: bias is {bias.dtype} {list(bias.shape)}")
        return cls(weights, float(bias[0]), discount, temperature)
