"""The numbers in the figure of a gridworld task: canonical rewards, occupancies, policies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.emission import observations_of
from irlbench.envs.gridworld.evaluation import REWARD_OBSERVATIONS, action_probabilities
from irlbench.envs.gridworld.reward_evaluation import World, tabulated
from irlbench.envs.gridworld.rewards import true_reward
from irlbench.metrics.canonical_rewards import TabularReward
from irlbench.metrics.reward_distances import starc_distance, starc_standard
from irlbench.policy import Policy
from irlbench.reward import RewardFunction
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.occupancy import finite_horizon_occupancy

#: A world of no moves and so few states shows its rewards by action.
_FEW = 12


@dataclass(frozen=True, eq=False)
class Shown:
    """One solution in numbers.

    Attributes:
        reward: The standardised canonical reward of STARC, `[states, actions]`, NaN in terminal
            states; or by the state that a step leads into, `[states]`, NaN where none does. None
            where none was learnt.
        distance: STARC distance to the true reward, or None.
        occupancy: Share of the discounted time in which an action is taken in a state, float64
            `[states, actions]`.
        policy: pi(a|s), over time as often as each state is visited, `[states, actions]`.
    """

    reward: NDArray[np.float64] | None
    distance: float | None
    occupancy: NDArray[np.float64]
    policy: NDArray[np.float64]


class Judged:
    """A world in which solutions are looked at.

    Args:
        world: With horizon and discount.
        seeds: Of the observations that policies, and rewards by the first of them, are averaged
            over where states are seen through an emission.
    """

    def __init__(self, world: World, seeds: NDArray[np.int64]) -> None:
        model = world.model
        self._world, self._reward_seeds = world, seeds[:REWARD_OBSERVATIONS]
        self._dynamics, self._true = world.dynamics, true_reward(model, world.dynamics.discount)
        emission = model.emission
        self._observations = None if emission is None else observations_of(emission, seeds)
        few = model.states <= _FEW or model.rewards.ndim > 1
        #: Whether rewards are shown by state.
        self.by_state = model.moves is not None or not few

    def truth(self, expert: Policy) -> Shown:
        """The true reward and the expert.

        Args:
            expert: Its policy.
        """
        return self._shown(expert, self._true)

    def shown(self, policy: Policy, reward: RewardFunction | None) -> Shown:
        """A solution in numbers.

        Args:
            policy: Any.
            reward: Any, or None.

        Raises:
            UsageError: If the policy's distribution is not known, or the reward not finite.
            ValueError: If one of them is of other states or actions.
        """
        unshaped = None if reward is None else reward.unshaped()
        known = None if unshaped is None else tabulated(unshaped, self._world, self._reward_seeds)
        return self._shown(policy, known)

    def _shown(self, policy: Policy, reward: TabularReward | None) -> Shown:
        dynamics = self._dynamics
        table = action_probabilities(
            policy, dynamics.states, dynamics.actions, dynamics.horizon, self._observations
        )
        if table is None:
            raise ValueError("what this policy does in each state is not known")
        occupancy = finite_horizon_occupancy(dynamics, table)
        visits = occupancy.sum(axis=1, keepdims=True)
        acts = np.where(visits > 0, occupancy / np.where(visits > 0, visits, 1), table.mean(axis=0))
        return Shown(
            reward=None if reward is None else self._canonical(reward),
            distance=None if reward is None else starc_distance(dynamics, reward, self._true),
            occupancy=occupancy / occupancy.sum(),
            policy=acts,
        )

    def _canonical(self, reward: TabularReward) -> NDArray[np.float64]:
        """The canonical reward as it is shown, of mean square 1 over states and actions."""
        standard = starc_standard(self._dynamics, reward)
        if self.by_state:
            return on_arrival(self._dynamics, standard)
        # Nothing is compared where an episode is over.
        return np.where(self._dynamics.terminal[:, None], np.nan, standard)


def on_arrival(dynamics: TabularDynamics, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of what a step is worth over the steps that lead into each state.

    Of a canonical reward it shows where a reward of states lies: a good state is one that it pays
    to step into.

    Args:
        dynamics: S states, A actions.
        values: Of each step, `[states, actions]`.

    Returns:
        float64 `[states]`; NaN where no step leads.
    """
    alive = np.where(dynamics.terminal, 0.0, 1.0)[:, None, None]
    flow, successors = alive * dynamics.probabilities, dynamics.successors.ravel()
    led = np.bincount(successors, (flow * values[:, :, None]).ravel(), dynamics.states)
    arrivals = np.bincount(successors, flow.ravel(), dynamics.states)
    return np.where(arrivals > 0, led / np.where(arrivals > 0, arrivals, 1.0), np.nan)
