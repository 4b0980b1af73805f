"""True rewards as functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.reward import RewardFunction
from irlbench.rewards.table import TableReward


class TransitionTableReward(RewardFunction):
    """r(s, a, s') of a model that pays by transition.

    Args:
        model: Its rewards are `[states, actions, K]`.
        discount: The discount of the task.
    """

    def __init__(self, model: TabularModel, discount: float) -> None:
        self._model = model
        self.kind = "transition"
        self.discount = discount

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`. Observations are state indices.

        Raises:
            ValueError: If a transition is none of the model's.
        """
        states, actions = np.asarray(observation), np.asarray(action)
        led = self._model.successors[states, actions] == np.asarray(next_observation)[:, None]
        if not led.any(axis=1).all():
            row = int(np.flatnonzero(~led.any(axis=1))[0])
            raise ValueError(
                f"no step leads from state {states[row]} by action {actions[row]} to state "
                f"{np.asarray(next_observation)[row]}"
            )
        return self._model.rewards[states, actions, led.argmax(axis=1)]


def true_reward(model: TabularModel, discount: float) -> RewardFunction:
    """A model's reward as a function of state indices and actions.

    Args:
        model: The world.
        discount: The discount of the task.
    """
    if model.rewards.ndim == 3:
        return TransitionTableReward(model, discount)
    return TableReward(model.rewards, discount=discount)
