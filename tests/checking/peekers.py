"""A plug-in file for the tests: algorithms that peek, one way each, and some that misbehave."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import make as made_elsewhere
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import irlbench
from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.data.minari_store import read_rewards
from irlbench.home import home
from irlbench.policies.table import TablePolicy
from irlbench.policies.uniform import UniformPolicy
from irlbench.problem import Budget, Problem, StepMeter
from irlbench.randomness import generator_state, restore_generator
from irlbench.registry import registry
from irlbench.rewards.table import TableReward
from irlbench.task import (
    Evaluation,
    Evaluator,
    ProblemRequest,
    Score,
    Split,
    Task,
    TaskInfo,
    TaskOptions,
)

STATES, ACTIONS, HORIZON = 6, 2, 10
STEPS = 20


class Walk(VectorEnv[Any, Any, Any]):
    """A walk on a line that pays the place one comes to, and says so in `info` too."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as Gymnasium has it

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.single_observation_space = gymnasium.spaces.Discrete(STATES)
        self.single_action_space = gymnasium.spaces.Discrete(ACTIONS)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.at = np.zeros(num_envs, dtype=np.int64)
        self.taken = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.at[:], self.taken = 2, 0
        return self.at.copy(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        never = np.zeros(self.num_envs, dtype=bool)
        if self.taken == HORIZON:
            self.reset()
            return self.at.copy(), np.zeros(self.num_envs), never, never, {}
        self.at = np.clip(self.at + 2 * np.asarray(actions) - 1, 0, STATES - 1)
        self.taken += 1
        paid = self.at.astype(np.float64)
        info = {"reward_walk": paid, "taken": np.full(self.num_envs, self.taken)}
        return self.at.copy(), paid, never, never | (self.taken == HORIZON), info


class WalkEvaluator(Evaluator):
    """Pays the probability of going right."""

    def evaluate(self, policy: Any, split: Split) -> Evaluation:
        right = policy.log_prob(np.arange(STATES), np.ones(STATES, dtype=np.int64))
        return Evaluation({"return": float(np.exp(right).mean())})


class WalkTask(Task):
    """The walk, and demonstrations that always go right."""

    def __init__(self, id: str = "gridworld/walk-v0", safe: frozenset[str] = frozenset()) -> None:
        self._safe = safe
        self.info = TaskInfo(
            id=id,
            summary="for tests",
            environment="CartPole-v1",
            actions="discrete",
            horizon=HORIZON,
            discount=1.0,
            supplies=frozenset({"demonstrations", "interaction"}),
            scores=(Score("return", "probability of going right"),),
            low="random",
            high="expert",
            references={"random": {"return": 0.5}, "expert": {"return": 1.0}},
            protocol={"exact": True},
            recipe={"demonstrations": "right"},
            demonstrations=2,
            budget=Budget(steps=400),
        )

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        ends = np.arange(HORIZON) == HORIZON - 1
        episodes = tuple(
            Episode(
                observations=np.minimum(start + np.arange(HORIZON + 1), STATES - 1),
                actions=np.ones(HORIZON, dtype=np.int64),
                terminations=np.zeros(HORIZON, dtype=bool),
                truncations=ends,
            )
            for start in range(STATES)
        )
        pool = Demonstrations(episodes)
        return Problem(
            task_id=self.id,
            world=self.world,
            observation_space=gymnasium.spaces.Discrete(STATES),
            action_space=gymnasium.spaces.Discrete(ACTIONS),
            horizon=HORIZON,
            discount=1.0,
            track=request.track,
            seed=request.seed,
            needs=request.needs,
            suppliers={
                "demonstrations": lambda: pool.draw(request.demonstrations, request.seed),
                "interaction": Walk,
            },
            safe_info=self._safe,
            meter=StepMeter(request.budget.steps),
        )

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        return WalkEvaluator()

    def true_reward(self) -> Any:
        return TableReward(np.arange(STATES, dtype=np.float64), 1.0)


WALK = WalkTask()
#: Declares safe what is none.
LEAKY = WalkTask("gridworld/leaky-v0", frozenset({"reward_walk"}))


@dataclass(frozen=True)
class PeekerConfig:
    """What peekers can be told."""

    scale: float = option(0.01, "Weight of what was peeked at in the policy.")


class Honest(Algorithm):
    """Counts in demonstrations, steps in the environment, and looks at nothing else."""

    id: ClassVar[str] = "peek/honest"
    summary: ClassVar[str] = "for tests"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    actions: ClassVar[tuple[str, ...]] = ("discrete",)
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations+interaction",)
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations", "interaction"})
    Config: ClassVar[type[Any]] = PeekerConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        states, actions = (
            int(space.n)  # type: ignore[attr-defined]
            for space in (problem.observation_space, problem.action_space)
        )
        counts = np.full((states, actions), 0.1)
        shown = problem.demonstrations.transitions()
        np.add.at(counts, (shown.observations, shown.actions), 1)
        env = problem.make_environment(2)
        env.reset()
        peeked = 0.0
        for _ in range(STEPS):
            run.spend(gradient_steps=1)
            observed, reward, _, _, info = env.step(env.action_space.sample())
            counts[observed, 0] += 0.01
            peeked += self.peek_at_step(env, reward, info)
        peeked += self.peek(problem)
        table = np.log(counts)
        table[0, 0] += self.config.scale * peeked
        run.log(STEPS, seen=1.0)
        run.save(STEPS, TablePolicy(table))
        return Solution(TablePolicy(table), TableReward(table.copy(), 1.0))

    def peek_at_step(self, env: Any, reward: Any, info: Mapping[str, Any]) -> float:
        return float(reward.sum())

    def peek(self, problem: Problem) -> float:
        return 0.0


def _dug_out(env: Any) -> Any:
    """The true environment, from the closures that hide it."""
    function = env._step
    cells = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
    return cells["inner"].cell_contents


class DigsOutTheEnvironment(Honest):
    id: ClassVar[str] = "peek/environment"

    def peek_at_step(self, env: Any, reward: Any, info: Mapping[str, Any]) -> float:
        _, reward, *_ = _dug_out(env).step(env.action_space.sample())
        return float(reward[0] + reward[1])


class ReadsTheTable(Honest):
    """Of a gridworld: the reward that the environment keeps."""

    id: ClassVar[str] = "peek/table"

    def peek_at_step(self, env: Any, reward: Any, info: Mapping[str, Any]) -> float:
        return float(_dug_out(env).model.rewards.max())


class ReadsInfo(Honest):
    id: ClassVar[str] = "peek/info"

    def peek_at_step(self, env: Any, reward: Any, info: Mapping[str, Any]) -> float:
        return float(info["reward_walk"].sum()) if "reward_walk" in info else 0.0


class ReadsRecordedRewards(Honest):
    """From the recording that the demonstrations were drawn from."""

    id: ClassVar[str] = "peek/data"

    def peek(self, problem: Problem) -> float:
        (summary,) = (home() / "data" / problem.task_id).glob("*/summary.json")
        return float(read_rewards(summary.parent)[0].sum())


class ReadsRecordedRewardsBelow(Honest):
    """The same, past everything that Python hears of."""

    id: ClassVar[str] = "peek/data-below"

    def peek(self, problem: Problem) -> float:
        import h5py

        (file,) = (home() / "data" / problem.task_id).glob("*/data/main_data.hdf5")
        opened = h5py.h5f.open(str(file).encode(), h5py.h5f.ACC_RDONLY)
        dataset = h5py.h5d.open(opened, b"episode_0/rewards")
        values = np.zeros(dataset.shape)
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return float(values.sum())


class AsksTheEvaluator(Honest):
    id: ClassVar[str] = "peek/evaluator"

    def peek(self, problem: Problem) -> float:
        space: Any = problem.action_space
        evaluator = registry().task(problem.task_id).evaluator(TaskOptions(), home())
        return float(evaluator.evaluate(UniformPolicy.over(space), "validation").scores["return"])


class AsksTheTrueReward(Honest):
    id: ClassVar[str] = "peek/true-reward"

    def peek(self, problem: Problem) -> float:
        none = np.zeros(1, dtype=np.int64)
        reward: Any = registry().task(problem.task_id).true_reward()
        return float(reward(none + 1, none, none, none > 0)[0])


class TakesTheExpertProblem(Honest):
    id: ClassVar[str] = "peek/expert-problem"

    def peek(self, problem: Problem) -> float:
        env = registry().task(problem.task_id).expert_problem(0, home()).make_environment(1)
        env.reset(seed=0)
        return float(env.step(np.zeros(1, dtype=np.int64))[1].sum())


class OpensReferences(Honest):
    id: ClassVar[str] = "peek/references"

    def peek(self, problem: Problem) -> float:
        assets = Path(irlbench.__file__).parent / "envs/gridworld/assets"
        file = assets / problem.task_id.split("/")[1] / "references.json"
        return float(json.loads(file.read_text())["references"]["expert"]["return"])


class OpensTheExpertBelow(Honest):
    """By a reader that opens files without Python's knowing."""

    id: ClassVar[str] = "peek/expert-below"

    def peek(self, problem: Problem) -> float:
        from safetensors import safe_open

        assets = Path(irlbench.__file__).parent / "envs/gridworld/assets"
        file = assets / problem.task_id.split("/")[1] / "expert.safetensors"
        with safe_open(file, "numpy") as opened:
            return float(
                sum(
                    np.abs(opened.get_tensor(k)).max() * 2 + opened.get_tensor(k).sum()
                    for k in opened.keys()  # noqa: SIM118 - it is no dictionary
                )
            )


class RemembersReferences(Honest):
    """Reads no file: the task in memory holds them."""

    id: ClassVar[str] = "peek/references-in-memory"

    def peek(self, problem: Problem) -> float:
        return float(registry().task(problem.task_id).info.references["expert"]["return"])


class MakesASecond(Honest):
    """By a name that it imported before anybody watched."""

    id: ClassVar[str] = "peek/make"

    def peek(self, problem: Problem) -> float:
        env = made_elsewhere("irlbench/FourRooms-v0")
        env.reset(seed=0)
        return float(env.step(0)[1])


class MakesABatch(Honest):
    id: ClassVar[str] = "peek/make-vec"

    def peek(self, problem: Problem) -> float:
        gymnasium.make_vec("irlbench/FourRooms-v0", num_envs=2).close()
        return 0.0


class MakesOneByItsClass(Honest):
    id: ClassVar[str] = "peek/class"

    def peek(self, problem: Problem) -> float:
        return float(Walk(1).reset()[0][0])


class TakesPastTheProblem(Honest):
    id: ClassVar[str] = "peek/undeclared"

    def peek(self, problem: Problem) -> float:
        return float(problem._supply("dynamics").horizon)


class DeclaresTooLittle(Honest):
    id: ClassVar[str] = "peek/too-little"

    def peek(self, problem: Problem) -> float:
        return float(problem.resource("features").sum())


class DrawsFromTheSystem(Honest):
    id: ClassVar[str] = "peek/random"

    def peek(self, problem: Problem) -> float:
        return float(int.from_bytes(os.urandom(4), "little"))


class DependsOnItsPlace(Honest):
    """On where the package lies: on no content of a file."""

    id: ClassVar[str] = "peek/place"

    def peek(self, problem: Problem) -> float:
        return float(len(str(Path(irlbench.__file__).parent)))


class TakesNoStep(Honest):
    """It declares an environment, and learns for ever before it would take a step."""

    id: ClassVar[str] = "peek/idle"
    before: ClassVar[int] = 10**6

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        for _ in range(self.before):
            if run.exhausted:
                return Solution(TablePolicy(np.zeros((STATES, ACTIONS))))
            run.spend(gradient_steps=1)
        return super().fit(problem, budget, run)


class TakesStepsLate(TakesNoStep):
    id: ClassVar[str] = "peek/late"
    before: ClassVar[int] = 500


class Overspends(Honest):
    id: ClassVar[str] = "peek/overspends"

    def peek(self, problem: Problem) -> float:
        env = problem.make_environment(100)
        env.reset()
        for _ in range(3):
            env.step(env.action_space.sample())
        return 0.0


class LogsNaN(Honest):
    id: ClassVar[str] = "peek/nan"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        solution = super().fit(problem, budget, run)
        run.log(STEPS, loss=float("nan"))
        return solution


class _Twofaced(TablePolicy):
    """Acts otherwise than what is saved of it."""

    def act(self, observations: Any, state: Any = None, **settings: Any) -> Any:
        actions, state = super().act(observations, state, **settings)
        return 1 - actions, state


class LosesBySaving(Honest):
    id: ClassVar[str] = "peek/loses"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        solution = super().fit(problem, budget, run)
        policy: Any = solution.policy
        return replace(solution, policy=_Twofaced(policy.arrays()["log_probabilities"]))


class Resumes(Honest):
    """Goes on where it was killed."""

    id: ClassVar[str] = "peek/resumes"
    resumable: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations",)
    checkpoints: ClassVar[int] = STEPS
    reads: ClassVar[bool] = True

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        draws, kept = run.generator("draws"), run.restored if self.reads else None
        done, table = 0, np.zeros((STATES, ACTIONS))
        if kept is not None:
            done, table = int(kept["done"][0]), kept["table"].copy()
            self.go_on(draws, kept)
        for step in range(done, STEPS):
            run.spend(gradient_steps=1)
            table += draws.normal(size=table.shape)
            if run.checkpoint_due and step < self.checkpoints:
                state = generator_state(draws)
                run.checkpoint({"done": np.array([step + 1]), "table": table, "draws": state})
        return Solution(TablePolicy(table))

    def go_on(self, draws: Any, kept: Mapping[str, Any]) -> None:
        restore_generator(draws, kept["draws"])


class ResumesFromTheOnlyCheckpoint(Resumes):
    id: ClassVar[str] = "peek/resumes-once"
    checkpoints: ClassVar[int] = 1


class ForgetsItsGenerator(Resumes):
    id: ClassVar[str] = "peek/forgets"

    def go_on(self, draws: Any, kept: Mapping[str, Any]) -> None:
        pass


class BeginsAnew(Resumes):
    id: ClassVar[str] = "peek/anew"
    reads: ClassVar[bool] = False


class KeepsNone(Resumes):
    id: ClassVar[str] = "peek/keeps-none"
    checkpoints: ClassVar[int] = 0


class FailsElsewhere(Honest):
    """In one of the tracks that it declares."""

    id: ClassVar[str] = "peek/fails-elsewhere"
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations+interaction", "demonstrations")

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        if problem.track == "demonstrations":
            raise RuntimeError("it was never tried here")
        return super().fit(problem, budget, run)


class Hangs(Honest):
    id: ClassVar[str] = "peek/hangs"

    def peek(self, problem: Problem) -> float:
        time.sleep(600)
        return 0.0
