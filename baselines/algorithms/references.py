"""Reference rows: what a score is measured against. Trials like any other, never ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.problem import Budget, Problem


@dataclass(frozen=True)
class NoConfig:
    """A reference row has nothing to set."""


class Random(Algorithm):
    """Acts uniformly at random."""

    id: ClassVar[str] = "random"
    summary: ClassVar[str] = "reference: uniform over actions"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld", "control")
    tracks: ClassVar[tuple[str, ...]] = ("reference",)
    Config: ClassVar[type[Any]] = NoConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        from irlbench.policies.uniform import UniformPolicy

        return Solution(UniformPolicy.over(problem.action_space))


class Expert(Algorithm):
    """The policy that the demonstrations come from."""

    id: ClassVar[str] = "expert"
    summary: ClassVar[str] = "reference: the demonstrator itself"
    tracks: ClassVar[tuple[str, ...]] = ("reference",)
    needs: ClassVar[frozenset[str]] = frozenset({"expert_policy"})
    Config: ClassVar[type[Any]] = NoConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        return Solution(problem.resource("expert_policy"))


class Base(Algorithm):
    """The language model before any learning."""

    id: ClassVar[str] = "base"
    summary: ClassVar[str] = "reference: the untrained base model"
    worlds: ClassVar[tuple[str, ...]] = ("text",)
    tracks: ClassVar[tuple[str, ...]] = ("reference",)
    needs: ClassVar[frozenset[str]] = frozenset({"reference_model"})
    Config: ClassVar[type[Any]] = NoConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        return Solution(problem.resource("reference_model"))


@dataclass(frozen=True)
class SurvivalConfig:
    """Hyperparameters of the survival row."""

    reward: float = option(1.0, "The constant reward per step.")
    solver: str = option("", "Solver to use; empty takes the world's usual one.")


class Survival(Algorithm):
    """A solver on a constant reward: what the horizon gives away for nothing."""

    id: ClassVar[str] = "survival"
    summary: ClassVar[str] = "reference: a solver on a constant reward"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld", "control")
    tracks: ClassVar[tuple[str, ...]] = ("reference",)
    Config: ClassVar[type[Any]] = SurvivalConfig
    resumable: ClassVar[bool] = True  # as far as its solver keeps anything
    usual: ClassVar[Mapping[str, str]] = {"gridworld": "soft-value-iteration", "control": "ppo"}

    @classmethod
    def needs_for(cls, world: str, track: str) -> frozenset[str]:
        """Dynamics where they are known, interaction elsewhere."""
        return frozenset({"dynamics"} if world == "gridworld" else {"interaction"})

    @classmethod
    def solvers_for(
        cls, world: str, track: str, config: SurvivalConfig, actions: str = "discrete"
    ) -> tuple[str, ...]:
        """The one it is told to use, or the world's usual one."""
        return (config.solver or cls.usual[world],)

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        from irlbench.registry import registry
        from irlbench.rewards.linear import LinearReward

        reward = LinearReward.constant(self.config.reward, problem.discount)
        solver = registry().solver(self.solvers_for(problem.world, problem.track, self.config)[0])
        policy = solver.configure(problem.world).solve(problem, reward, budget, run)
        return Solution(policy=policy, reward=reward)
