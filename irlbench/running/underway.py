"""A trial under way: what its learner and its evaluator say, until there is something to record."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irlbench.errors import StorageError
from irlbench.running import processes
from irlbench.running.child import FINAL, evaluator_main, learner_main
from irlbench.running.claims import Claim
from irlbench.running.journal import Logged
from irlbench.running.limits import Limits
from irlbench.running.progress import Progress
from irlbench.running.provenance import describe_error
from irlbench.running.store import LOG, CurveRow, Published
from irlbench.running.trial import Job
from irlbench.task import Score


@dataclass
class Underway:
    """A trial under way.

    Attributes:
        job: The trial.
        claim: The right to work on it.
        seen: What it will supersede, if anything.
        learner: Its learner's process.
        evaluator: Its evaluator's process.
        limits: What ends it.
        primary: The score that says which policy is best.
        curve: Logged scalars and validation scores so far.
        handed: Step and seconds of every policy handed in along the way, in order.
        queue: Policies that wait for the evaluator, the one it has first: their place in
            `handed`, or `FINAL`, and their bytes where they are on no disk.
        outcome: What the learner reported at its end.
        final: The final evaluation.
        best: Step and scores of the best policy handed in along the way.
        error: Why it failed.
    """

    job: Job
    claim: Claim
    seen: Published | None
    learner: processes.Child
    evaluator: processes.Child
    limits: Limits
    primary: Score
    curve: list[CurveRow] = field(default_factory=list)
    handed: list[tuple[int, float]] = field(default_factory=list)
    queue: deque[tuple[int, bytes | None]] = field(default_factory=deque)
    outcome: dict[str, Any] | None = None
    final: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    evaluation_seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls, job: Job, claim: Claim, seen: Published | None, limits: Limits, primary: Score
    ) -> Underway:
        """Starts both processes."""
        learner = processes.start(learner_main, job, claim)
        try:
            evaluator = processes.start(evaluator_main, job, claim)
        except BaseException:
            processes.end([learner])
            raise
        return cls(job, claim, seen, learner, evaluator, limits, primary)

    @property
    def children(self) -> tuple[processes.Child, processes.Child]:
        """Both processes."""
        return self.learner, self.evaluator

    @property
    def finished(self) -> bool:
        """Whether nothing more is to come."""
        return self.error is not None or self.final is not None

    @property
    def listened_to(self) -> list[processes.Child]:
        """The processes from which something may come."""
        return [self.evaluator] if self.outcome is not None else [self.learner, self.evaluator]

    def take(self, child: processes.Child, progress: Progress) -> None:
        """Takes in what a process has said by now.

        Raises:
            StorageError: If the disk failed the child.
        """
        news: list[int | str] = []
        try:
            for message in child.received():
                if child in self.listened_to and self.error is None:
                    news += self._hear(child, *message)
        except (EOFError, ConnectionError):
            self.died(child)
        except StorageError:
            raise
        except Exception as error:  # a trial can do anything to its end of the pipe
            self.error = self.error or describe_error(error)
            told = f"{self._who(child)} said what makes no sense: {self.error['message']}"
            self.error |= {"type": "BadMessage", "message": told}
        for note in [what for what in news if isinstance(what, str)]:
            progress.note(f"{self.job.spec.label}: {note}")
        for step in [what for what in news if isinstance(what, int)][-1:]:
            progress.advanced(self.job.spec, step, None)

    def _hear(self, child: processes.Child, kind: str, *told: Any) -> list[int | str]:
        """Takes in one message; see `child`.

        Returns:
            What the user is to know: the step that the trial has come to, or a note.
        """
        if kind == "storage":
            folders = f"{Path(self.job.folder).parents[1]} or the cache folder {self.job.home}"
            raise StorageError(f"{self.job.spec.label} could not write to {folders}: {told[0]}")
        if kind == "failed":
            self.error = {name: str(told[0][name]) for name in ("type", "message", "traceback")}
        elif child is self.evaluator:
            self._evaluated(*told)
        elif kind == "log":
            self._log(told[0])
            return [self.curve[-1][0]] if told[0] else []
        elif kind == "save":
            step, seconds, policy = told
            self.handed.append((step, seconds))
            self._judge(len(self.handed) - 1, policy)
            return [step]
        elif kind == "resumed":
            rows, self.handed = told
            self._log(rows)
            for place in range(len(self.handed)):
                self._judge(place, None)
            return ["goes on from its checkpoint"]
        elif kind == "done":
            policy, outcome = told
            self.outcome = {**outcome, "costs": dict(outcome["costs"])}
            self._judge(FINAL, policy)
        else:
            raise ValueError(f"a message of kind {kind!r}")
        return []

    def died(self, child: processes.Child) -> None:
        """Takes in that a process has ended without a last word."""
        self.error = self.error or failure("ProcessDied", f"{self._who(child)} {child.ended}")

    def _who(self, child: processes.Child) -> str:
        return f"the {'learner' if child is self.learner else 'evaluator'}'s process"

    def check(self, memory: int | None) -> None:
        """Fails the trial if it takes more than it may.

        Args:
            memory: Bytes that its processes take, where that is more than they may.
        """
        limits, took = self.limits, time.monotonic() - self.began
        if self.finished:
            return
        if limits.seconds is not None and took >= limits.seconds:
            message = f"the trial took longer than the {limits.seconds:g} s it was given"
            self.error = failure("Timeout", message)
        elif memory is not None:
            message = (
                f"the trial took {memory / 2**30:.2f} GiB of memory, more than the "
                f"{limits.memory / 2**30:.2f} GiB it was given"
            )
            self.error = failure("MemoryLimit", message)
        self.check_log()

    def check_log(self) -> None:
        """Fails the trial if it has printed more than it may; looked at in the end too."""
        with suppress(OSError):
            if (Path(self.job.folder) / LOG).lstat().st_size > self.limits.log:
                message = (
                    f"the trial printed more than the {self.limits.log / 2**20:.0f} MiB it may"
                )
                self.error = self.error or failure("OutputLimit", message)

    def _log(self, rows: Sequence[Logged]) -> None:
        self.curve += [(step, seconds, "log", name, value) for step, seconds, name, value in rows]
        if len(self.curve) > self.limits.values:
            message = f"the trial logged more than the {self.limits.values:,} values it may"
            self.error = failure("OutputLimit", message)

    def _judge(self, place: int, policy: bytes | None) -> None:
        self.queue.append((place, policy))
        if len(self.queue) == 1:
            self._send_next()

    def _send_next(self) -> None:
        """Sends one policy to an evaluator that waits for it: neither side can block the other."""
        place, policy = self.queue[0]
        rewarded = place == FINAL and self.outcome is not None and bool(self.outcome["has_reward"])
        try:
            self.evaluator.send((place, policy, rewarded))
        except (BrokenPipeError, ConnectionResetError):
            self.died(self.evaluator)

    def _evaluated(self, place: int, found: dict[str, Any], took: float) -> None:
        self.queue.popleft()
        self.evaluation_seconds += took
        if place == FINAL:
            self.final = found
            return
        if self.queue:
            self._send_next()
        step, seconds = self.handed[place]
        shutil.rmtree(Path(self.job.folder) / "saves" / str(place), ignore_errors=True)
        scores = found["scores"]
        self.curve += [(step, seconds, "validation", k, v) for k, v in sorted(scores.items())]
        sign, name = 1 if self.primary.higher_is_better else -1, self.primary.name
        if self.best is None or sign * (scores[name] - self.best["scores"][name]) > 0:
            self.best = {"step": step, "scores": scores}


def failure(kind: str, message: str) -> dict[str, str]:
    """An error as a record keeps it, of something that no exception told."""
    return {"type": kind, "message": message, "traceback": f"{kind}: {message}"}
