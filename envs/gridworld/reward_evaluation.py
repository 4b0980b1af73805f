"""Judges rewards that were recovered in a gridworld by its true one, exactly.

The reward that is judged is `unshaped()`, asked about every transition afresh. Returns here are
discounted and have no end but the world's own: only so does shaping change no policy's rank, which
the task's horizon would cut off somewhere. The task's own discount counts, not the reward's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.emission import observations_of
from irlbench.envs.gridworld.rewards import true_reward
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.errors import DataError
from irlbench.metrics.canonical_rewards import TabularReward
from irlbench.metrics.reward_distances import dard_distance, epic_distance, starc_distance
from irlbench.reward import RewardFunction
from irlbench.rewards.table import TableReward
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.evaluation import expected_return
from irlbench.tabular.planning import value_iteration
from irlbench.tabular.rewards import expected_reward, transition_rewards

_DISTANCES: Mapping[str, Callable[[TabularDynamics, TabularReward, TabularReward], float]] = {
    "epic": epic_distance,
    "dard": dard_distance,
    "starc": starc_distance,
}
# Regret below this times the best return is rounding.
_ROUNDING = 1e-9
# Error of values when a reward is planned for: well below what counts as a tie of two actions.
_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class World:
    """Where rewards are judged.

    Attributes:
        model: The world, with its true reward.
        dynamics: Its dynamics, with the discount.
    """

    model: TabularModel
    dynamics: TabularDynamics


class RewardJudge:
    """Scores recovered rewards.

    Args:
        world: Where they were learnt.
        transfer: The same states, actions and reward with other dynamics, or None.
        seeds: Of the observations, one of each state per seed, that a reward is averaged over
            where states are seen through an emission.
    """

    def __init__(self, world: World, transfer: World | None, seeds: NDArray[np.int64]) -> None:
        self._world, self._seeds = world, seeds
        dynamics = world.dynamics
        self._true = true_reward(world.model, dynamics.discount)
        # A reward that all shaping makes equal to a constant one has no distance worth the name.
        nothing = np.zeros((dynamics.states, dynamics.actions))
        self._distances = {
            name: distance
            for name, distance in _DISTANCES.items()
            if self._applies(name) and distance(dynamics, self._true, nothing) > 0
        }
        self._planners = {}
        if dynamics.discount < 1:
            self._planners["reoptimised_regret"] = Planner(world)
            if transfer is not None:
                self._planners["transfer_regret"] = Planner(transfer)

    def scores(self, reward: RewardFunction) -> dict[str, float]:
        """Every score that is defined here, by name; none of a reward of whole trajectories.

        Args:
            reward: Of observations and actions.

        Raises:
            DataError: If it is one of other states or actions.
            UsageError: If it is not finite somewhere.
        """
        if reward.kind == "trajectory":
            return {}
        unshaped = reward.unshaped()
        recovered = tabulated(unshaped, self._world, self._seeds)
        found = {
            name: distance(self._world.dynamics, recovered, self._true)
            for name, distance in self._distances.items()
        }
        for name, planner in self._planners.items():
            here = planner.world is self._world
            regret = planner.regret(
                recovered if here else tabulated(unshaped, planner.world, self._seeds)
            )
            if regret is not None:
                found[name] = regret
        return found

    def _applies(self, name: str) -> bool:
        """STARC plans for ever; EPIC and DARD ask about transitions that cannot happen."""
        if name == "starc":
            return self._world.dynamics.discount < 1
        return self._true.kind != "transition"


def tabulated(reward: RewardFunction, world: World, seeds: NDArray[np.int64]) -> TabularReward:
    """A learnt reward over states: a table where no next state matters, else still a function.

    Args:
        reward: Of observations and actions.
        world: Where it is asked about every transition.
        seeds: As those of `RewardJudge`.

    Raises:
        DataError: If it is one of other states or actions.
        UsageError: If it is one of whole trajectories, or not finite somewhere.
    """
    model, dynamics = world.model, world.dynamics
    _require_shape(reward, model)
    over_states = reward
    try:
        if model.emission is not None:
            over_states = _Averaged(reward, observations_of(model.emission, seeds), dynamics)
        values = transition_rewards(over_states, dynamics)
    except (IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"the learnt reward cannot be asked about {model.states} states and "
            f"{model.actions} actions: {type(error).__name__}: {error}"
        ) from error
    return over_states if reward.kind == "transition" else values[:, :, 0]


class Planner:
    """Plans for a recovered reward in a world, and counts what that loses under the true one.

    Args:
        world: The discount is below 1.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        dynamics = world.dynamics
        self._true = expected_reward(dynamics, world.model.rewards)
        self._best = self._worth(best_policy(dynamics, self._true))
        uniform = np.full(self._true.shape, 1 / dynamics.actions)
        self._spread = self._best - self._worth(uniform)

    def regret(self, reward: TabularReward) -> float | None:
        """(J* - J) / (J* - J of the uniform policy): 0 for the best policy, 1 for random moves.

        Args:
            reward: The recovered reward, over states.

        Returns:
            From 0 on; None where the uniform policy is as good as any.
        """
        dynamics = self.world.dynamics
        rounding = _ROUNDING * float(np.abs(self._true).max()) / (1 - dynamics.discount)
        if self._spread <= rounding:
            return None
        values = (
            transition_rewards(reward, dynamics) if isinstance(reward, RewardFunction) else reward
        )
        lost = self._best - self._worth(best_policy(dynamics, values))
        return 0.0 if lost <= rounding else lost / self._spread

    def _worth(self, policy: NDArray[np.float64]) -> float:
        return expected_return(self.world.dynamics, self._true, policy, finite_horizon=False)


def best_policy(
    dynamics: TabularDynamics, reward: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """The policy that is uniform over the best actions of each state, `[states, actions]`.

    Args:
        dynamics: S states, A actions; a discount below 1.
        reward: `[states]`, `[states, actions]` or `[states, actions, K]`.
    """
    finest = 8 * float(np.finfo(np.float64).eps) / (1 - dynamics.discount)
    tolerance = max(_TOLERANCE, finest)
    policy: NDArray[np.float64] = value_iteration(
        dynamics, reward, 0.0, tolerance, ordered=True
    ).policy
    return policy


class _Averaged(RewardFunction):
    """A reward of observations as one of states: its mean over some observations of each.

    Args:
        reward: Of observations.
        observations: `[n, states, ...]`.
        dynamics: Which say the actions, and in which states episodes end.
    """

    def __init__(
        self, reward: RewardFunction, observations: NDArray[np.float32], dynamics: TabularDynamics
    ) -> None:
        self.kind, self.discount = reward.kind, reward.discount
        # A network is slow to ask, and distances ask about every pair of states: once is enough.
        following = dynamics.states if reward.kind == "transition" else 1
        shape = (dynamics.states, dynamics.actions, following)
        s, a, n = (x.ravel() for x in np.indices(shape))
        total = np.zeros(len(s))
        for seen in observations:
            total += reward(seen[s], a, seen[n], dynamics.terminal[n])
        self._table = (total / len(observations)).reshape(shape)

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`. Observations are state indices."""
        following = next_observation if self.kind == "transition" else 0
        return self._table[observation, action, following]


def _require_shape(reward: RewardFunction, model: TabularModel) -> None:
    """Refuses a table of other states, which would answer all the same where it is larger."""
    shapes = ((model.states,), (model.states, model.actions))
    if isinstance(reward, TableReward) and reward.values.shape not in shapes:
        raise DataError(
            f"a reward of {model.states} states and {model.actions} actions is judged here, "
            f"got a table of shape {reward.values.shape}"
        )
