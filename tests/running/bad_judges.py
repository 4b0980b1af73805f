"""A plug-in file for the tests: trials that fill the disk, and that misbehave where they are judged.

It is loaded after `toy_plugin.py`, whose task it borrows.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from irlbench.algorithm import Run, Solution
from irlbench.policies.table import TablePolicy
from irlbench.policy import Policy
from irlbench.problem import Problem
from irlbench.registry import registry
from irlbench.rewards.table import TableReward
from irlbench.task import Evaluation, Evaluator, Prepared, ProblemRequest, Split, Task, TaskOptions

sys.path.append(str(Path(__file__).parent))  # a plug-in file is in no package

from misbehaving import ACTIONS, EVER, STATES, Bad, bad, forever, other, plain  # type: ignore[import-not-found]

# --- behaves


def _good(number: int) -> type[Bad]:
    """One of several that do nothing wrong, to run among the others."""

    def good(self: Bad, run: Run) -> TablePolicy:
        strength = number + float(run.generator("noise").normal())
        for step in range(3):
            run.log(step, loss=strength / (step + 1))
            run.save(step, TablePolicy(np.tile([0.0, strength * step], (STATES, 1))))
        return TablePolicy(np.tile([0.0, strength], (STATES, 1)))

    good.__name__ = f"good_{number}"
    good.__doc__ = "Does nothing wrong."
    return bad(good)


good_1, good_2, good_3, good_4 = (_good(number) for number in (1, 2, 3, 4))


# --- fills the disk


def _fill(where: Path) -> None:
    """Leaves no room on the disk that the file `full` names, or lets no file be written at all.

    Without that file nothing happens: the same trial can be run again.
    """
    if not (where / "full").exists():
        return
    disk = (where / "full").read_text()
    if disk == "simulated":
        vars(os)["fsync"] = _no_room
        return
    with (Path(disk) / f"ballast-{os.getpid()}").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
        except OSError:
            pass


def _no_room(descriptor: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@bad
def fills_before_its_policy(self: Bad, run: Run) -> None:
    """Fills the disk before its final policy is written."""
    _fill(self.where)


@bad
def fills_before_a_save(self: Bad, run: Run) -> None:
    """Fills the disk before a policy along the way is written."""
    _fill(self.where)
    run.save(1, other())


@bad
def fills_before_it_prints(self: Bad, run: Run) -> None:
    """Fills the disk, and prints."""
    _fill(self.where)
    print("x" * 2**14)


@bad
def fills_before_a_checkpoint(self: Bad, run: Run) -> None:
    """Fills the disk before a checkpoint is written, and would go on from the one before."""
    if run.restored is None:
        run.log(1, loss=1.0)
        run.checkpoint({"numbers": np.arange(100)})
    _fill(self.where)
    run.checkpoint({"numbers": np.arange(100_000)})


fills_before_a_checkpoint.resumable = True


@bad
def fills_where_judged_along_the_way(self: Bad, run: Run) -> None:
    """Has the evaluator fill the disk before it keeps what it has found."""
    run.save(1, BadPolicy("fills", self.where))


@bad
def fills_where_judged_in_the_end(self: Bad, run: Run) -> BadPolicy:
    """Has the evaluator fill the disk just before the record is written."""
    return BadPolicy("fills", self.where)


@bad
def takes_its_time(self: Bad, run: Run) -> None:
    """Counts to ten, and keeps its state after each; a file `stop` has it hang after the fifth."""
    state = run.restored or {"count": np.zeros(1), "all": np.arange(5000)}
    count = int(state["count"][0])
    while count < 10:
        count += 1
        run.log(count, loss=float(count), total=float(state["all"].sum()))
        run.checkpoint({**state, "count": np.full(1, float(count))})
        if count == 5 and (self.where / "stop").exists():
            (self.where / "hanging").write_text(str(os.getpid()))
            forever()


takes_its_time.resumable = True


# --- policies that misbehave where they are judged


class BadPolicy(TablePolicy):
    """A policy that misbehaves when it is asked for a probability, in the evaluator's process."""

    kind: ClassVar[str] = "bad"

    def __init__(self, how: str, where: Path, ballast: int = 0) -> None:
        super().__init__(np.zeros((STATES, ACTIONS)))
        self.how, self.where, self.ballast = how, where, b"x" * ballast

    def log_prob(self, observations: Any, actions: Any) -> Any:
        """See above."""
        if self.how == "hangs":
            forever()
        if self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exits":
            os._exit(0)
        if self.how == "raises":
            raise RuntimeError("lost in the evaluator")
        if self.how == "raises_in_a_thread":
            threading.Thread(target=lambda: 1 / 0).start()
            forever()
        if self.how == "eats":
            held = np.ones(2**27)
            time.sleep(EVER + held[0])
        if self.how == "prints":
            for _ in range(1024):
                os.write(2, b"x" * 2**20)
            forever()
        if self.how == "fills":
            _fill(self.where)
        if self.how == "is_nan":
            return np.full(len(actions), np.nan)
        if self.how == "leaves_a_child" and os.fork() == 0:
            (self.where / f"child-{os.getpid()}.pid").write_text(str(os.getpid()))
            forever()
        return super().log_prob(observations, actions)


def _judged(how: str) -> type[Bad]:
    def hand_in(self: Bad, run: Run) -> BadPolicy:
        return BadPolicy(how, self.where)

    hand_in.__name__ = f"judging_{how}"
    hand_in.__doc__ = f"Hands in a policy; judging it: {how}."
    return bad(hand_in)


judging_hangs = _judged("hangs")
judging_dies = _judged("dies")
judging_exits = _judged("exits")
judging_raises = _judged("raises")
judging_raises_in_a_thread = _judged("raises_in_a_thread")
judging_eats = _judged("eats")
judging_prints = _judged("prints")
judging_is_nan = _judged("is_nan")
judging_leaves_a_child = _judged("leaves_a_child")


@bad
def hands_in_much(self: Bad, run: Run) -> BadPolicy:
    """Hands in a policy of an own kind that is larger than any pipe holds."""
    return BadPolicy("", self.where, ballast=2**25)


@bad
def hands_in_the_unpicklable(self: Bad, run: Run) -> BadPolicy:
    """Hands in a policy that cannot travel."""
    policy = BadPolicy("", self.where)
    policy.secret = lambda: None  # type: ignore[attr-defined]
    return policy


@bad
def hands_in_and_hangs(self: Bad, run: Run) -> None:
    """Hands in a policy that cannot be judged, and stays."""
    run.save(1, BadPolicy("raises", self.where))
    forever()


@bad
def learns_nan(self: Bad, run: Run) -> Solution:
    """Learns a reward that is not finite."""
    return Solution(plain(), TableReward(np.full((STATES, ACTIONS), np.nan)))


# --- tasks that misbehave


class BadEvaluator(Evaluator):
    """Gives what it was made with."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        """See above."""
        return self._evaluation


class BadTask(Task):
    """The toy task with another evaluator.

    Args:
        name: Its name.
        evaluator: Makes the evaluator.
    """

    def __init__(self, name: str, evaluator: Callable[[], Evaluator]) -> None:
        toy = registry().task("gridworld/toy-v0")
        self.info = dataclasses.replace(toy.info, id=f"gridworld/{name}-v0")
        self._toy, self._make = toy, evaluator

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`."""
        return self._toy.prepare(options, home)

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """See `Task.problem`."""
        return self._toy.problem(request, home)

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        """See `Task.evaluator`."""
        return self._make()


class Unprepared(BadTask):
    """Dies while it is prepared, and leaves a child that holds its pipe."""

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`."""
        if os.fork() == 0:
            (Path(str(options.data)) / f"child-{os.getpid()}.pid").write_text(str(os.getpid()))
            forever()
        while not list(Path(str(options.data)).glob("*.pid")):
            time.sleep(0.01)
        os._exit(9)


def _giving(scores: dict[str, Any] | None = None, **more: Any) -> Callable[[], Evaluator]:
    evaluation = Evaluation({"return": 5.0} if scores is None else scores, **more)
    return lambda: BadEvaluator(evaluation)


def _nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"deeper": found}
    return found


UNPREPARED = Unprepared("unprepared", forever)
HANGS_AT_FIRST = BadTask("hangs-at-first", forever)
EXITS_AT_FIRST = BadTask("exits-at-first", lambda: os._exit(0))
NO_SCORE = BadTask("no-score", _giving({"length": 1.0}))
TEXT_SCORE = BadTask("text-score", _giving({"return": "much"}))
HUGE_SCORE = BadTask("huge-score", _giving({"return": 10**400}))
NESTED_SAMPLES = BadTask("nested-samples", _giving(samples=[_nested(80)]))
LARGE_SAMPLES = BadTask("large-samples", _giving(samples=[{"text": "x" * 2**24}]))
ODD_SAMPLES = BadTask("odd-samples", _giving(samples=["no object"]))
UNSPEAKABLE_SAMPLES = BadTask("unspeakable-samples", _giving(samples=[{"text": "\ud800"}]))
