"""Soft value iteration on known finite dynamics: exact maximum-entropy control.

The mathematics is `irlbench.tabular.planning`'s (Ziebart, Bagnell and Dey, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from irlbench.algorithm import Run, Solver, option
from irlbench.errors import UsageError
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem
from irlbench.reward import RewardFunction
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.planning import (
    finite_horizon_value_iteration,
    policy_logits,
    value_iteration,
)
from irlbench.tabular.rewards import transition_rewards


@dataclass(frozen=True)
class SoftValueIterationConfig:
    """Hyperparameters of soft value iteration."""

    temperature: float = option(1.0, "Weight tau of the entropy; 0 gives an optimal policy.")
    finite_horizon: bool = option(
        False, "Plan for the problem's horizon (a time-dependent policy), not for ever."
    )
    tolerance: float = option(
        1e-10, "Largest error of a value, relative to the largest that the reward allows."
    )

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must not be negative, got {self.temperature}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must lie between 0 and 1, got {self.tolerance}")


class SoftValueIteration(Solver):
    """Exact soft (or, at temperature 0, optimal) control of known finite dynamics."""

    id: ClassVar[str] = "soft-value-iteration"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "exact soft value iteration on known finite dynamics"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    actions: ClassVar[tuple[str, ...]] = ("discrete",)
    needs: ClassVar[frozenset[str]] = frozenset({"dynamics"})
    Config: ClassVar[type[Any]] = SoftValueIterationConfig

    def solve(
        self, problem: Problem, reward: RewardFunction | None, budget: Budget, run: Run
    ) -> Policy:
        """See `Solver.solve`.

        Returns:
            A `TablePolicy`, or for a finite horizon a `TimeDependentTablePolicy`.

        Raises:
            UsageError: If there is no reward function, it is one of whole trajectories or not
                finite, or the discount is 1 without a finite horizon.
        """
        from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy

        if reward is None:
            raise UsageError(f"{self.id} needs a reward function: it never steps an environment")
        config: SoftValueIterationConfig = self.config
        dynamics: TabularDynamics = problem.resource("dynamics")
        rewards, tau = transition_rewards(reward, dynamics), config.temperature
        if config.finite_horizon:
            plan = finite_horizon_value_iteration(dynamics, rewards, tau, ordered=True)
            return TimeDependentTablePolicy(policy_logits(plan.Q, tau))
        plan = value_iteration(dynamics, rewards, tau, config.tolerance, ordered=True)
        return TablePolicy(policy_logits(plan.Q, tau))
