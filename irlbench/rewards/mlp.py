"""Rewards as small networks over observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.network import Network
from irlbench.reward import RewardFunction, saved_settings
from irlbench.serialisation import require_arrays


class MLPReward(Network, RewardFunction):
    """r(s), or r(s, a) with one output per discrete action.

    Args:
        arrays: Weights by name, the head being `reward`; optionally `observation_mean` and
            `observation_std`. See `irlbench.network`.
        kind: "state" (one output) or "state-action" (an output per action).
        activation: "relu" or "tanh".
        discount: The discount under which it was learnt.
        temperature: The temperature under which it was learnt, or None.

    Attributes:
        inputs: Observation dimensions.

    Raises:
        ValueError: If the arrays are no network, or not one of that kind.
    """

    form: ClassVar[str] = "mlp"

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        kind: str,
        activation: str = "tanh",
        discount: float = 1.0,
        temperature: float | None = None,
    ) -> None:
        super().__init__(arrays, activation)
        self._head = self._layer("reward")
        self._finish(self._inputs(self._head[0]))
        if kind not in ("state", "state-action") or (kind == "state" and len(self._head[1]) != 1):
            raise ValueError(f"a network of {len(self._head[1])} outputs is no {kind} reward")
        self.kind = "state" if kind == "state" else "state-action"
        self.discount, self.temperature = discount, temperature

    @property
    def actions(self) -> int:
        """How many actions there are outputs for; 1 of states."""
        return len(self._head[1])

    def of_actions(self, observations: Any) -> NDArray[np.float64]:
        """The reward of every action, float64 `[batch, actions]`; of states `[batch, 1]`."""
        found = self._features(observations) @ self._head[0] + self._head[1]
        return found.astype(np.float64)

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        rows = self.of_actions(observation)
        if self.kind == "state":
            return rows[:, 0]
        return rows[np.arange(len(rows)), np.asarray(action, dtype=np.int64)]

    def settings(self) -> dict[str, Any]:
        """See `RewardFunction.settings`."""
        return {**RewardFunction.settings(self), "activation": self._activation}

    @classmethod
    def from_saved(cls, arrays: dict[str, NDArray[Any]], settings: Mapping[str, Any]) -> MLPReward:
        """See `RewardFunction.from_saved`."""
        kind, discount, temperature = saved_settings(settings)
        require_arrays(arrays, {name: (np.float32, a.ndim) for name, a in arrays.items()})
        return cls(arrays, kind, settings["activation"], discount, temperature)
