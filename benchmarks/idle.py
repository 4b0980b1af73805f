"""A plug-in file for benchmarks/executor.py: a task without content, and algorithms that do little.

What a trial of `idle/nothing` takes is what the executor takes; `idle/counts` keeps one core busy
with a fixed amount of work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.policies.table import TablePolicy
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem, StepMeter
from irlbench.task import (
    Evaluation,
    Evaluator,
    Prepared,
    ProblemRequest,
    Score,
    Split,
    Task,
    TaskInfo,
    TaskOptions,
)


class IdleEvaluator(Evaluator):
    """Gives every policy the same score."""

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        """See `Evaluator.evaluate`."""
        return Evaluation({"return": 1.0})


class IdleTask(Task):
    """Nothing to learn."""

    info = TaskInfo(
        id="gridworld/idle-v0",
        summary="nothing to learn",
        environment="CartPole-v1",
        actions="discrete",
        horizon=1,
        discount=1.0,
        supplies=frozenset(),
        scores=(Score("return", "always 1"),),
        low="random",
        high="expert",
        references={"random": {"return": 0.0}, "expert": {"return": 1.0}},
        protocol={},
        recipe={},
        demonstrations=None,
        budget=Budget(),
    )

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`."""
        return Prepared()

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """See `Task.problem`."""
        return Problem(
            task_id=self.id,
            world=self.world,
            observation_space=gymnasium.spaces.Discrete(1),
            action_space=gymnasium.spaces.Discrete(2),
            horizon=1,
            discount=1.0,
            track=request.track,
            seed=request.seed,
            needs=request.needs,
            suppliers={},
            meter=StepMeter(),
        )

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        """See `Task.evaluator`."""
        return IdleEvaluator()


IDLE = IdleTask()


@dataclass(frozen=True)
class IdleConfig:
    """What there is to do."""

    rounds: int = option(0, "Additions of a small array.")


class Nothing(Algorithm):
    """Returns at once."""

    id: ClassVar[str] = "idle/nothing"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    tracks: ClassVar[tuple[str, ...]] = ("reference",)
    Config: ClassVar[type[Any]] = IdleConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        total = np.zeros(1000)
        for _ in range(self.config.rounds):
            total += 1.0
        return Solution(TablePolicy(np.zeros((1, 2))))


class Counts(Nothing):
    """Keeps a core busy."""

    id: ClassVar[str] = "idle/counts"
