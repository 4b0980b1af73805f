"""A plug-in file for the tests: a small task and algorithms that behave, and misbehave."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import UsageError
from irlbench.policies.table import TablePolicy
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem, StepMeter
from irlbench.reward import RewardFunction
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


class ToyEvaluator(Evaluator):
    """Pays 10 times the probability of action 1, averaged over states."""

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        states = np.arange(STATES)
        chosen = np.exp(policy.log_prob(states, np.ones(STATES, dtype=np.int64)))
        value = 10 * float(chosen.mean())
        return Evaluation({"return": value, "split_is_test": float(split == "test")})

    def evaluate_reward(self, reward: RewardFunction) -> Mapping[str, float]:
        states, flags = np.arange(STATES), np.zeros(STATES, dtype=bool)
        paid = [reward(states, np.full(STATES, a), states, flags) for a in range(ACTIONS)]
        return {"gap": float((paid[1] - paid[0]).mean())}


class ToyTask(Task):
    """Demonstrations that always take action 1."""

    info = TaskInfo(
        id="gridworld/toy-v0",
        summary="for tests",
        environment="CartPole-v1",
        actions="discrete",
        horizon=5,
        discount=1.0,
        supplies=frozenset({"demonstrations", "interaction"}),
        scores=(Score("return", "10 times the probability of action 1"),),
        reward_scores=(Score("gap", "how much more action 1 pays than action 0"),),
        low="random",
        high="expert",
        references={"random": {"return": 5.0}, "expert": {"return": 10.0}},
        protocol={"exact": True},
        recipe={"demonstrations": "action 1"},
        demonstrations=2,
        budget=Budget(steps=100),
    )

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        self.refuse(options, "data")
        if options.data == "bad":
            raise UsageError("that file is bad")
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
            suppliers={
                "demonstrations": lambda: pool.draw(request.demonstrations, request.seed),
                "interaction": lambda n: gymnasium.make_vec("CartPole-v1", num_envs=n),
            },
            meter=StepMeter(request.budget.steps),
        )

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        return ToyEvaluator()


TOY = ToyTask()


@dataclass(frozen=True)
class ToyConfig:
    """What the toys can be told."""

    strength: float = option(1.0, "Logit of action 1 at the end.")
    steps: int = option(3, "Policies handed in.")
    where: str = option("", "A folder that the algorithm may use.")


def _policy(strength: float) -> TablePolicy:
    return TablePolicy(np.tile([0.0, strength], (STATES, 1)))


class Toy(Algorithm):
    """Moves towards action 1, with a little of the seed in it."""

    id: ClassVar[str] = "toy/good"
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    Config: ClassVar[type[Any]] = ToyConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        assert len(problem.demonstrations) == 2
        noise = float(run.generator("noise").normal())
        for step in range(1, self.config.steps + 1):
            run.log(step, loss=1.0 / step)
            run.spend(gradient_steps=1)
            run.save(step, _policy(self.config.strength * step + 0.1 * noise))
        print("the toy is done")
        strength = self.config.strength + 0.1 * noise
        return Solution(_policy(strength), TableReward(np.array([[0.0, strength]] * STATES)))


class Raises(Toy):
    """Raises after it has logged something."""

    id: ClassVar[str] = "toy/raises"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        run.log(1, loss=1.0)
        raise RuntimeError(f"lost {Path(__file__).resolve()}")


class NotANumber(Toy):
    """Returns NaN."""

    id: ClassVar[str] = "toy/nan"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        return Solution(TablePolicy(np.full((STATES, ACTIONS), np.nan)))


class Dies(Toy):
    """Is killed as by the system."""

    id: ClassVar[str] = "toy/dies"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Hangs(Toy):
    """Never comes back, after saying that it is there."""

    id: ClassVar[str] = "toy/hangs"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        if self.config.where:
            (Path(self.config.where) / "hanging").write_text(str(os.getpid()))
        time.sleep(600)
        raise AssertionError


class Overspends(Toy):
    """Steps the environment past its budget."""

    id: ClassVar[str] = "toy/overspends"
    needs: ClassVar[frozenset[str]] = frozenset({"interaction"})
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations+interaction",)

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        environment = problem.make_environment(4)
        environment.reset()
        while True:
            environment.step(environment.action_space.sample())


class OwnKind(TablePolicy):
    """A policy whose kind nobody knows."""

    kind: ClassVar[str] = "toy"


class OwnPolicy(Toy):
    """Hands back a policy of its own kind."""

    id: ClassVar[str] = "toy/own-policy"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        return Solution(OwnKind(np.zeros((STATES, ACTIONS))))


class SmallReward(Toy):
    """Learns a reward of one state where there are three."""

    id: ClassVar[str] = "toy/small-reward"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        return Solution(_policy(1.0), TableReward(np.zeros(1)))


class EndlessReward(Toy):
    """Learns a reward whose numbers are finite, and their differences not."""

    id: ClassVar[str] = "toy/endless-reward"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        return Solution(_policy(1.0), TableReward(np.array([[-1e308, 1e308]] * STATES)))


class Resumes(Toy):
    """Counts how often it was started, over kills."""

    id: ClassVar[str] = "toy/resumes"
    resumable: ClassVar[bool] = True

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        state: Mapping[str, Any] = run.restored or {"starts": np.zeros(1)}
        starts = state["starts"] + 1
        run.spend(gradient_steps=1)
        run.checkpoint({"starts": starts})
        if starts[0] < 2:
            sys.stdout.flush()
            (Path(self.config.where) / "hanging").write_text(str(os.getpid()))
            time.sleep(600)
        run.log(1, starts=float(starts[0]))
        return Solution(_policy(1.0))


class Floods(Toy):
    """Hands in large policies of an own kind faster than anyone judges them."""

    id: ClassVar[str] = "toy/floods"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        for step in range(30):
            policy = OwnKind(np.zeros((STATES, ACTIONS)))
            policy.ballast = np.zeros(200_000)  # type: ignore[attr-defined]
            run.save(step // 2, policy)  # two for each step
        return Solution(_policy(1.0))


class Orphans(Toy):
    """Is killed while a child of its own lives on and holds its pipe."""

    id: ClassVar[str] = "toy/orphans"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        if os.fork() == 0:
            (Path(self.config.where) / "orphan").write_text(str(os.getpid()))
            time.sleep(600)
        while not (Path(self.config.where) / "orphan").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class OddSteps(Toy):
    """Counts its steps with NumPy, as many do."""

    id: ClassVar[str] = "toy/odd-steps"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        run.log(np.int64(1), loss=1.0)  # type: ignore[arg-type]
        run.save(np.int64(1), _policy(1.0))  # type: ignore[arg-type]
        return Solution(_policy(1.0))


class HalfSteps(Toy):
    """Logs at a step that is no whole number."""

    id: ClassVar[str] = "toy/half-steps"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        run.log(1.5, loss=1.0)  # type: ignore[arg-type]
        return Solution(_policy(1.0))


class Unspeakable(Toy):
    """Raises with a message that is no valid text."""

    id: ClassVar[str] = "toy/unspeakable"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        raise RuntimeError("half a character: \ud800")


class Peeks(Toy):
    """Takes interaction, but claims to be offline."""

    id: ClassVar[str] = "toy/peeks"
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations", "interaction"})
