"""Episodes of a policy in a finite world, batched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode
from irlbench.envs.gridworld.tabular_environment import TabularVectorEnv
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.policy import Policy
from irlbench.randomness import RowGenerator


@dataclass(frozen=True, eq=False)
class Rollout:
    """Episodes of a policy. What stands beyond an episode's length means nothing.

    Attributes:
        observations: `[episodes, horizon + 1, ...]`.
        actions: int64 `[episodes, horizon]`.
        rewards: float64 `[episodes, horizon]`; 0 beyond the length.
        lengths: int64 `[episodes]`.
        terminated: Whether an episode ended in a terminal state, bool `[episodes]`.
    """

    observations: NDArray[Any]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    lengths: NDArray[np.int64]
    terminated: NDArray[np.bool_]

    def episodes(self) -> list[Episode]:
        """The episodes as demonstrations, each as long as it was."""
        found = []
        for row, length in enumerate(self.lengths):
            last = np.arange(length) == length - 1
            ended = last & self.terminated[row]
            observations, actions = self.observations[row, : length + 1], self.actions[row, :length]
            found.append(Episode(observations, actions, ended, last & ~ended))
        return found


def roll_out(
    model: TabularModel, policy: Policy, seeds: NDArray[np.int64], horizon: int
) -> Rollout:
    """Runs one episode per seed.

    Args:
        model: The world.
        policy: Who acts; it samples.
        seeds: Of the environment, and on a stream of their own of the policy, `[episodes]`.
        horizon: Steps after which an episode that does not end is cut.
    """
    environment = TabularVectorEnv(len(seeds), model)
    generator = RowGenerator(seeds, stream=1)
    first, _ = environment.reset(seed=seeds.tolist())
    observations = np.empty((len(seeds), horizon + 1, *first.shape[1:]), dtype=first.dtype)
    actions = np.empty((len(seeds), horizon), dtype=np.int64)
    rewards = np.empty((len(seeds), horizon))
    lengths = np.full(len(seeds), horizon, dtype=np.int64)
    over = np.zeros(len(seeds), dtype=bool)
    observations[:, 0] = first
    state = None
    for step in range(horizon):
        chosen, state = policy.act(observations[:, step], state, generator=generator)
        actions[:, step] = chosen
        observations[:, step + 1], earned, ended, *_ = environment.step(chosen)
        rewards[:, step] = np.where(over, 0.0, earned)
        lengths[ended & ~over] = step + 1
        over |= ended
    return Rollout(observations, actions, rewards, lengths, over)
