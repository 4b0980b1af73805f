"""A plug-in file for tests of runs that are killed or divided: trials of a few tens of ms.

Each trial says when it starts, by a line in the file that `SHORT_TRIALS_STARTS` names, and waits
while the file that `SHORT_TRIALS_HOLD` names is there, after as many steps as stand in that file:
the environment, unlike a setting, is no part of a trial's id.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.policies.table import TablePolicy
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem, StepMeter
from irlbench.randomness import generator_state, restore_generator
from irlbench.rewards.table import TableReward
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

STATES, ACTIONS = 3, 2


class ShortEvaluator(Evaluator):
    """Pays 10 times the probability of action 1, averaged over states; takes 10 ms."""

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        time.sleep(0.01)
        states = np.arange(STATES)
        chosen = np.exp(policy.log_prob(states, np.ones(STATES, dtype=np.int64)))
        return Evaluation({"return": 10 * float(chosen.mean())}, {"return": (10 * chosen).tolist()})


class ShortTask(Task):
    """Demonstrations that always take action 1."""

    info = TaskInfo(
        id="gridworld/short-v0",
        summary="for tests",
        environment="CartPole-v1",
        actions="discrete",
        horizon=5,
        discount=1.0,
        supplies=frozenset({"demonstrations"}),
        scores=(Score("return", "10 times the probability of action 1"),),
        low="random",
        high="expert",
        references={"random": {"return": 5.0}, "expert": {"return": 10.0}},
        protocol={"exact": True},
        recipe={"demonstrations": "action 1"},
        demonstrations=2,
        budget=Budget(gradient_steps=1000),
    )

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        self.refuse(options)
        return Prepared(built={"demonstrations": "0" * 64}, available=10)

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        episode = Episode(
            observations=np.zeros(6, dtype=np.int64),
            actions=np.ones(5, dtype=np.int64),
            terminations=np.zeros(5, dtype=bool),
            truncations=np.arange(5) == 4,
        )
        pool = Demonstrations((episode,) * 10)
        return Problem(
            task_id=self.id,
            world=self.world,
            observation_space=gymnasium.spaces.Discrete(STATES),
            action_space=gymnasium.spaces.Discrete(ACTIONS),
            horizon=5,
            discount=1.0,
            track=request.track,
            seed=request.seed,
            needs=request.needs,
            suppliers={"demonstrations": lambda: pool.draw(request.demonstrations, request.seed)},
            meter=StepMeter(request.budget.steps),
        )

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        return ShortEvaluator()


SHORT = ShortTask()


@dataclass(frozen=True)
class ShortConfig:
    """What the trials can be told."""

    steps: int = option(8, "Gradient steps; a policy is handed in at every fourth.")
    nap: float = option(0.02, "Seconds that a step takes.")


def _policy(logits: np.ndarray[Any, Any]) -> TablePolicy:
    return TablePolicy(np.stack([np.zeros(STATES), logits], axis=1))


def _say(name: str, seed: int) -> None:
    starts = os.environ.get("SHORT_TRIALS_STARTS")
    if starts:
        with Path(starts).open("a") as file:
            file.write(f"{name} {seed}\n")


def _wait(step: int) -> None:
    hold = Path(os.environ.get("SHORT_TRIALS_HOLD") or os.devnull)
    while hold.is_file() and hold.read_text() == str(step):
        time.sleep(0.01)


class Walk(Algorithm):
    """A random walk of logits, from the seed; begins anew after a kill."""

    id: ClassVar[str] = "short/walk"
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    Config: ClassVar[type[Any]] = ShortConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        _say(self.id, run.seed)
        generator = run.generator("walk")
        logits, done = np.zeros(STATES), 0
        drawn = sum(float(episode.actions.sum()) for episode in problem.demonstrations)
        kept = run.restored if self.resumable else None
        if kept is not None:
            restore_generator(generator, kept["generator"])
            logits, done = kept["logits"], int(kept["done"][0])
        for step in range(done + 1, self.config.steps + 1):
            time.sleep(self.config.nap)
            logits = logits + 0.01 * drawn + generator.normal(size=STATES)
            run.spend(gradient_steps=1)
            run.log(step, mean=float(logits.mean()))
            if step % 4 == 0:
                run.save(step, _policy(logits))
            if run.checkpoint_due:
                run.checkpoint(_state(logits, generator, step))
            _wait(step)
        reward = TableReward(np.stack([np.zeros(STATES), logits], axis=1))
        return Solution(_policy(logits), reward)


def _state(
    logits: np.ndarray[Any, Any], generator: np.random.Generator, step: int
) -> Mapping[str, np.ndarray[Any, Any]]:
    return {"generator": generator_state(generator), "logits": logits, "done": np.array([step])}


class GoesOn(Walk):
    """The same walk, which goes on from its last checkpoint after a kill."""

    id: ClassVar[str] = "short/goes-on"
    resumable: ClassVar[bool] = True


class Forks(Walk):
    """The same walk beside a child of its own, which would sleep on for ten minutes."""

    id: ClassVar[str] = "short/forks"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        return super().fit(problem, budget, run)


class Fails(Walk):
    """Walks, and then raises."""

    id: ClassVar[str] = "short/fails"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        super().fit(problem, budget, run)
        raise RuntimeError("walked off the edge")
