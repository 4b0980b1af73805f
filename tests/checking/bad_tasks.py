"""A plug-in file for the tests: tasks that break the contract, one way each."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.data.preferences import Preference, Preferences
from irlbench.problem import Problem, StepMeter, surround
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

_INFO = TaskInfo(
    id="gridworld/fine-v0",
    summary="for tests",
    environment="FrozenLake-v1",
    actions="discrete",
    horizon=100,
    discount=1.0,
    supplies=frozenset({"demonstrations", "interaction"}),
    scores=(Score("return", "anything"),),
    low="random",
    high="expert",
    references={"random": {"return": 0.0}, "expert": {"return": 1.0}},
    protocol={},
    recipe={},
    demonstrations=2,
)


def _episode(start: int) -> Episode:
    return Episode(
        observations=start + np.arange(3),
        actions=np.ones(2, dtype=np.int64),
        terminations=np.zeros(2, dtype=bool),
        truncations=np.arange(2) == 1,
    )


class _Constant(Evaluator):
    def evaluate(self, policy: Any, split: Split) -> Evaluation:
        return Evaluation({"return": 0.25})


class Fine(Task):
    """Keeps the contract."""

    safe: frozenset[str] = frozenset()

    def __init__(self, name: str = "fine", **changed: Any) -> None:
        self.info = replace(_INFO, id=f"gridworld/{name}-v0", **changed)

    def draw(self, request: ProblemRequest) -> Demonstrations[Episode]:
        pool = Demonstrations(tuple(map(_episode, range(10))))
        return pool.draw(request.demonstrations, request.seed)

    def environment(self, rows: int) -> Any:
        return gymnasium.make_vec("FrozenLake-v1", num_envs=rows)

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        return Problem(
            task_id=self.id,
            world=self.world,
            observation_space=gymnasium.spaces.Discrete(16),
            action_space=gymnasium.spaces.Discrete(4),
            horizon=100,
            discount=1.0,
            track=request.track,
            seed=request.seed,
            needs=request.needs,
            suppliers={
                "demonstrations": lambda: self.draw(request),
                "interaction": self.environment,
            },
            safe_info=self.safe,
            meter=StepMeter(request.budget.steps),
        )

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        return _Constant()


class Leaking(Fine):
    safe = frozenset({"reward_of_step"})


class Paying(Fine):
    """Hands out the true environment."""

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        made = super().problem(request, home)
        made.make_environment = self._pay  # type: ignore[assignment, method-assign]
        return made

    def _pay(self, rows: int) -> Any:
        return _AlwaysPays(self.environment(rows))


class _AlwaysPays(gymnasium.vector.VectorWrapper):
    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards + 1, *rest


class _Goaded(gymnasium.vector.VectorWrapper):
    """What it shows depends on what the environment within it pays."""

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return np.where(rewards > 0.5, 15, observations), rewards, *rest


class Goaded(Fine):
    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        made = super().problem(request, home)
        make = made.make_environment

        def goaded(rows: int) -> Any:
            surround(
                made, lambda name, inner: _Goaded(inner()) if name == "interaction" else inner()
            )
            return make(rows)

        made.make_environment = goaded  # type: ignore[assignment, method-assign]
        return made


class Misfitting(Fine):
    def draw(self, request: ProblemRequest) -> Demonstrations[Episode]:
        pool = Demonstrations(tuple(map(_episode, range(10, 20))))  # there are 16 states
        return pool.draw(request.demonstrations, request.seed)


class Deaf(Fine):
    """Draws the same demonstrations at every seed."""

    def draw(self, request: ProblemRequest) -> Demonstrations[Episode]:
        return super().draw(replace(request, seed=0))


class Fickle(Fine):
    """Draws others whenever it is asked."""

    count = itertools.count()

    def draw(self, request: ProblemRequest) -> Demonstrations[Episode]:
        return super().draw(replace(request, seed=next(self.count)))


class Capricious(Fine):
    """Draws other comparisons whenever it is asked."""

    count = itertools.count()

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        made = super().problem(request, home)
        surround(made, lambda name, inner: self.compare() if name == "preferences" else inner())
        made._supplied |= {"preferences"}
        return made

    def compare(self) -> Preferences:
        pair = (_episode(next(self.count)), _episode(0))
        return Preferences((Preference(pair, (0, 1), "nobody"),))


class _Drifting(Evaluator):
    count = itertools.count()

    def evaluate(self, policy: Any, split: Split) -> Evaluation:
        return Evaluation({"return": float(next(self.count))})


class Drifting(Fine):
    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        return _Drifting()


class _Wordless(Evaluator):
    def evaluate(self, policy: Any, split: Split) -> Evaluation:
        return Evaluation({"length": 1.0})


class Wordless(Fine):
    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        return _Wordless()


class Yielding(Fine):
    """Refuses no choice of the user's, and bills nothing."""

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        return Prepared()

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        made = super().problem(request, home)
        made.meter = StepMeter()
        return made


FINE = Fine()
LEAKING = Leaking("leaking")
PAYING = Paying("paying")
GOADED = Goaded("goaded")
MISFITTING = Misfitting("misfitting")
DEAF = Deaf("deaf")
FICKLE = Fickle("fickle")
CAPRICIOUS = Capricious("capricious", supplies=_INFO.supplies | {"preferences"})
DRIFTING = Drifting("drifting")
WORDLESS = Wordless("wordless")
YIELDING = Yielding("yielding")
RESTLESS = Fine("restless", recipe={"made by": os.getpid()})
UPSIDE_DOWN = Fine("upside-down", references={"random": {"return": 1.0}, "expert": {"return": 0.5}})
UNMEASURED = Fine("unmeasured", references={"random": {"return": 1.0}})
GENEROUS = Fine("generous", supplies=_INFO.supplies | {"answers"})
NO_ENVIRONMENT = Fine("no-environment", environment="irlbench-tests/Nothing-v0")
