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


class AveragedReward(RewardFunction):
    """A reward of observations as one of hidden states: its mean over observations of each.

    Args:
        reward: On observations.
        observations: Some of each state, `[n, S, ...]`; a step's two are of one row.
    """

    def __init__(self, reward: RewardFunction, observations: NDArray[np.float32]) -> None:
        self._reward, self._observations = reward, observations
        self.kind = reward.kind
        self.discount, self.temperature = reward.discount, reward.temperature

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`. Observations are state indices."""
        states, following = np.asarray(observation), np.asarray(next_observation)
        total = np.zeros(len(terminated))
        for seen in self._observations:
            total += self._reward(seen[states], action, seen[following], terminated)
        return total / len(self._observations)


def reward_over_states(
    reward: RewardFunction,
    states: int,
    actions: int,
    observations: NDArray[np.float32] | None = None,
) -> RewardFunction:
    """A learnt reward as a function of state indices.

    Args:
        reward: A table, which is one over states; or any function of observations.
        states: Number of states S.
        actions: Number of actions A.
        observations: Some of each state, `[n, S, ...]`, that the reward is averaged over; None
            where a state is seen as its index.

    Raises:
        ValueError: If the reward is a table of other states or actions.
    """
    if isinstance(reward, TableReward):
        if reward.values.shape not in ((states,), (states, actions)):
            raise ValueError(
                f"a reward of {states} states and {actions} actions is judged here, "
                f"got a table of shape {reward.values.shape}"
            )
        return reward
    return reward if observations is None else AveragedReward(reward, observations)


def true_reward(model: TabularModel, discount: float) -> RewardFunction:
    """A model's reward as a function of state indices and actions.

    Args:
        model: The world.
        discount: The discount of the task.
    """
    if model.rewards.ndim == 3:
        return TransitionTableReward(model, discount)
    return TableReward(model.rewards, discount=discount)
