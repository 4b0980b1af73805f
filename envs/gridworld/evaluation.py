"""Judges policies in a gridworld by its true reward: exactly where their distribution is known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.emission import observations_of
from irlbench.envs.gridworld.reward_evaluation import RewardJudge, World
from irlbench.envs.gridworld.rollouts import roll_out
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.policy import KINDS, Policy
from irlbench.reward import RewardFunction
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.evaluation import optimal_return
from irlbench.tabular.occupancy import state_distributions
from irlbench.tabular.rewards import expected_reward
from irlbench.task import Evaluation, Evaluator, Split

#: Of each state, that a reward of observations is averaged over; it is asked about all pairs of them.
REWARD_OBSERVATIONS = 20


def action_probabilities(
    policy: Policy,
    states: int,
    actions: int,
    horizon: int,
    observations: NDArray[np.float32] | None = None,
) -> NDArray[np.float64] | None:
    """pi_t(a|s) of a policy whose distribution is known.

    Args:
        policy: Any policy.
        states: Number of states S.
        actions: Number of actions A.
        horizon: Steps H.
        observations: Some of each state, `[n, S, ...]`, that the policy is averaged over; None
            where a state is seen as its index. A table is one over states either way.

    Returns:
        float64 `[H, S, A]`; for a stationary policy a view that repeats one table. None if the
        policy is of no kind that saves (what it does may then differ from what its `log_prob`
        says), or has no log-probability.

    Raises:
        ValueError: If the policy is one of other states or actions.
    """
    if policy.kind not in KINDS:
        return None
    if isinstance(policy, TimeDependentTablePolicy):
        _require_shape(policy.probabilities[0], states, actions)
        steps = np.minimum(np.arange(horizon), len(policy.probabilities) - 1)
        return policy.probabilities[steps]
    if isinstance(policy, TablePolicy):
        table = policy.probabilities
        _require_shape(table, states, actions)
    else:
        seen = np.arange(states)[None] if observations is None else observations
        repeated = seen.reshape(-1, *seen.shape[2:]).repeat(actions, axis=0)
        try:
            flat = policy.log_prob(repeated, np.tile(np.arange(actions), len(seen) * states))
        except NotImplementedError:
            return None
        table = np.exp(flat).reshape(len(seen), states, actions).mean(axis=0)
        _require_shape(table, states, actions)
    return np.broadcast_to(table, (horizon, *table.shape))


def _require_shape(table: NDArray[np.float64], states: int, actions: int) -> None:
    if table.shape != (states, actions):
        raise ValueError(
            f"a policy of {states} states and {actions} actions is judged here, "
            f"got a table of shape {table.shape}"
        )
    total = float(table[0].sum())
    if abs(total - 1.0) > 1e-5:
        raise ValueError(
            f"a policy of {actions} actions is judged here, whose probabilities sum to {total:.6g}"
        )


class GridworldEvaluator(Evaluator):
    """Exact scores of policies whose distribution is known; sampled ones of all others.

    Args:
        model: The world, with its reward.
        dynamics: Its dynamics, with horizon and discount.
        expert: The demonstrator, which `kl_to_expert` refers to; None leaves that score out.
        seeds: For each split the seeds of the episodes that are run where a policy has to be; and
            where states are seen through an emission, of the observations that it is averaged over,
            one of each state per seed.
        transfer: Where recovered rewards are tried as well, or None.
    """

    def __init__(
        self,
        model: TabularModel,
        dynamics: TabularDynamics,
        expert: TablePolicy | None,
        seeds: dict[Split, NDArray[np.int64]],
        transfer: World | None = None,
    ) -> None:
        self._model, self._dynamics, self._expert, self._seeds = model, dynamics, expert, seeds
        self._transfer = transfer
        self._discounts = dynamics.discount ** np.arange(dynamics.horizon)
        self._rewards = expected_reward(dynamics, model.rewards)
        self._optimal = optimal_return(dynamics, self._rewards, finite_horizon=True)

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        """See `Evaluator.evaluate`. Scores of policies over states do not depend on the split."""
        dynamics, emission = self._dynamics, self._model.emission
        known = action_probabilities(
            policy,
            dynamics.states,
            dynamics.actions,
            dynamics.horizon,
            None if emission is None else observations_of(emission, self._seeds[split]),
        )
        return self._sampled(policy, self._seeds[split]) if known is None else self._exact(known)

    def evaluate_reward(self, reward: RewardFunction) -> Mapping[str, float]:
        """See `Evaluator.evaluate_reward` and `RewardJudge`."""
        return self._judge.scores(reward)

    @cached_property
    def _judge(self) -> RewardJudge:
        world = World(self._model, self._dynamics)
        return RewardJudge(world, self._transfer, self._seeds["test"][:REWARD_OBSERVATIONS])

    def _exact(self, probabilities: NDArray[np.float64]) -> Evaluation:
        distributions = state_distributions(self._dynamics, probabilities, ordered=True)
        occupancy = np.array(list(distributions))
        per_step = self._earned(occupancy, probabilities)
        scores = {
            "return": float(per_step.sum()),
            "length": float(occupancy.sum()),
            "regret": self._optimal - float(per_step @ self._discounts),
        }
        if self._expert is not None:
            # 0 log 0 is 0: actions that are never taken tell nothing apart.
            logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
            against = logs - self._expert.log_probabilities
            divergence = (probabilities * against).sum(axis=-1)
            scores["kl_to_expert"] = float((occupancy * divergence).sum() / occupancy.sum())
        return Evaluation(scores)

    def _earned(
        self, occupancy: NDArray[np.float64], probabilities: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Expected reward of each step, `[horizon]`."""
        if self._model.rewards.ndim == 1:
            return occupancy @ self._model.rewards
        chosen = (probabilities * self._rewards).sum(axis=2)
        return (occupancy * chosen).sum(axis=1)

    def _sampled(self, policy: Policy, seeds: NDArray[np.int64]) -> Evaluation:
        rollout = roll_out(self._model, policy, seeds, self._dynamics.horizon)
        rewards, lengths = rollout.rewards, rollout.lengths.astype(np.float64)
        returns = rewards.sum(axis=1)
        return Evaluation(
            {
                "return": float(returns.mean()),
                "length": float(lengths.mean()),
                "regret": self._optimal - float((rewards @ self._discounts).mean()),
            },
            {"return": returns.tolist(), "length": lengths.tolist()},
        )
