"""Boltzmann-rational control: noisy choice among optimal action values, on known dynamics.

pi(a|s) is proportional to exp(Q*(s, a) / tau), Q* the values of optimal control: the demonstrator of
Bayesian inverse reinforcement learning (Ramachandran and Amir, 2007). Unlike the soft-optimal policy
it does not expect its own noise.
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
from irlbench.tabular.planning import value_iteration
from irlbench.tabular.rewards import transition_rewards


@dataclass(frozen=True)
class BoltzmannConfig:
    """Hyperparameters of Boltzmann-rational control."""

    temperature: float = option(1.0, "tau: how far below the best an action may be.")
    tolerance: float = option(
        1e-10, "Largest error of a value, relative to the largest that the reward allows."
    )

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must lie between 0 and 1, got {self.tolerance}")


class Boltzmann(Solver):
    """Noisy choice among optimal action values of known finite dynamics."""

    id: ClassVar[str] = "boltzmann"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "exp(Q*/tau): noisy choice among exact optimal values, known dynamics"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    actions: ClassVar[tuple[str, ...]] = ("discrete",)
    needs: ClassVar[frozenset[str]] = frozenset({"dynamics"})
    Config: ClassVar[type[Any]] = BoltzmannConfig

    def solve(
        self, problem: Problem, reward: RewardFunction | None, budget: Budget, run: Run
    ) -> Policy:
        """See `Solver.solve`.

        Returns:
            A `TablePolicy`.

        Raises:
            UsageError: If there is no reward function, it is one of whole trajectories or not
                finite, or the discount is 1.
        """
        from irlbench.policies.table import TablePolicy

        if reward is None:
            raise UsageError(f"{self.id} needs a reward function: it never steps an environment")
        config: BoltzmannConfig = self.config
        dynamics: TabularDynamics = problem.resource("dynamics")
        rewards = transition_rewards(reward, dynamics)
        plan = value_iteration(dynamics, rewards, temperature=0.0, tolerance=config.tolerance)
        return TablePolicy(plan.Q / config.temperature)
