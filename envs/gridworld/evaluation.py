"""Judges policies in a gridworld by its true reward: exactly where their distribution is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irlbench.dynamics import TabularDynamics
from irlbench.envs.gridworld.environment import GridworldVectorEnv
from irlbench.envs.gridworld.model import GridworldModel
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.policy import KINDS, Policy
from irlbench.randomness import RowGenerator
from irlbench.task import Evaluation, Evaluator, Split


@dataclass(frozen=True, eq=False)
class Rollout:
    """Episodes of one length, batched.

    Attributes:
        observations: int64 `[episodes, horizon + 1]`.
        actions: int64 `[episodes, horizon]`.
        rewards: float64 `[episodes, horizon]`.
    """

    observations: NDArray[np.int64]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]


def roll_out(
    model: GridworldModel, policy: Policy, seeds: NDArray[np.int64], horizon: int
) -> Rollout:
    """Runs one episode per seed.

    Args:
        model: The gridworld.
        policy: Who acts; it samples.
        seeds: Of the environment, and on a stream of their own of the policy, `[episodes]`.
        horizon: Steps per episode.
    """
    environment = GridworldVectorEnv(len(seeds), "\n".join(model.layout), model.slip)
    generator = RowGenerator(seeds, stream=1)
    observations = np.empty((len(seeds), horizon + 1), dtype=np.int64)
    actions = np.empty((len(seeds), horizon), dtype=np.int64)
    rewards = np.empty((len(seeds), horizon))
    observations[:, 0], _ = environment.reset(seed=seeds.tolist())
    state = None
    for step in range(horizon):
        chosen, state = policy.act(observations[:, step], state, generator=generator)
        actions[:, step] = chosen
        observations[:, step + 1], rewards[:, step], *_ = environment.step(chosen)
    return Rollout(observations, actions, rewards)


def action_probabilities(
    policy: Policy, states: int, actions: int, horizon: int
) -> NDArray[np.float64] | None:
    """pi_t(a|s) of a policy whose distribution is known.

    Args:
        policy: Any policy.
        states: Number of states S.
        actions: Number of actions A.
        horizon: Steps H.

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
        observations = np.repeat(np.arange(states), actions)
        try:
            flat = policy.log_prob(observations, np.tile(np.arange(actions), states))
        except NotImplementedError:
            return None
        table = np.exp(flat).reshape(states, actions)
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


def state_distributions(
    dynamics: TabularDynamics, probabilities: NDArray[np.float64]
) -> Iterator[NDArray[np.float64]]:
    """The distribution of the state at each step, from the initial one on.

    Args:
        dynamics: S states, A actions.
        probabilities: pi_t(a|s), `[H, S, A]`.

    Yields:
        H times the probability of being in each state, the episode not over, float64 `[S]`.
    """
    alive = np.where(dynamics.terminal, 0.0, 1.0)
    distribution = dynamics.initial * alive
    for table in probabilities:
        yield distribution
        flow = (distribution[:, None] * table)[:, :, None] * dynamics.probabilities
        distribution = alive * np.bincount(
            dynamics.successors.ravel(), weights=flow.ravel(), minlength=dynamics.states
        )


def optimal_return(dynamics: TabularDynamics, rewards: NDArray[np.float64]) -> float:
    """The largest expected discounted return over the horizon, by backward induction.

    Args:
        dynamics: With horizon and discount.
        rewards: Of each state, paid at every step taken from it, `[states]`.
    """
    values = np.zeros(dynamics.states)
    for _ in range(dynamics.horizon):
        values = rewards + dynamics.discount * dynamics.expect(values).max(axis=1)
    return float(dynamics.initial @ np.where(dynamics.terminal, 0.0, values))


class GridworldEvaluator(Evaluator):
    """Exact scores of policies whose distribution is known; sampled ones of all others.

    Args:
        model: The gridworld, with its reward.
        dynamics: Its dynamics, with horizon and discount.
        expert: The demonstrator, which `kl_to_expert` refers to; None leaves that score out.
        seeds: For each split the seeds of the episodes that are run where a policy has to be.
    """

    def __init__(
        self,
        model: GridworldModel,
        dynamics: TabularDynamics,
        expert: TablePolicy | None,
        seeds: dict[Split, NDArray[np.int64]],
    ) -> None:
        self._model, self._dynamics, self._expert, self._seeds = model, dynamics, expert, seeds
        self._discounts = dynamics.discount ** np.arange(dynamics.horizon)
        self._optimal = optimal_return(dynamics, model.rewards)

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        """See `Evaluator.evaluate`. Exact scores do not depend on the split."""
        dynamics = self._dynamics
        known = action_probabilities(policy, dynamics.states, dynamics.actions, dynamics.horizon)
        if known is None:
            return self._sampled(policy, self._seeds[split])
        return self._exact(known)

    def _exact(self, probabilities: NDArray[np.float64]) -> Evaluation:
        occupancy = np.array(list(state_distributions(self._dynamics, probabilities)))
        per_step = occupancy @ self._model.rewards
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

    def _sampled(self, policy: Policy, seeds: NDArray[np.int64]) -> Evaluation:
        rewards = roll_out(self._model, policy, seeds, self._dynamics.horizon).rewards
        returns = rewards.sum(axis=1)
        lengths = np.full(len(seeds), float(rewards.shape[1]))
        return Evaluation(
            {
                "return": float(returns.mean()),
                "length": float(lengths.mean()),
                "regret": self._optimal - float((rewards @ self._discounts).mean()),
            },
            {"return": returns.tolist(), "length": lengths.tolist()},
        )
