"""The local executor: a learner and an evaluator for each trial under way."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from irlbench.registry import registry
from irlbench.running import processes, provenance
from irlbench.running.child import FINAL, evaluator_main, learner_main
from irlbench.running.progress import Progress
from irlbench.running.provenance import describe_error
from irlbench.running.record import Record
from irlbench.running.store import CurveRow, Store
from irlbench.running.trial import Job
from irlbench.task import Prepared, Task


@dataclass
class Running:
    """A trial under way.

    Attributes:
        job: The trial.
        learner: Its learner's process.
        evaluator: Its evaluator's process.
        deadline: When it is cut off, on the monotonic clock; None: never.
        curve: Logged scalars and validation scores so far.
        handed: Step and seconds of every policy handed in along the way, in order.
        queue: Policies that wait for the evaluator, the one it has first: their place in
            `handed`, or `FINAL`, and their bytes where they are on no disk.
        outcome: What the learner reported at its end.
        final: The final evaluation.
        error: Why it failed.
    """

    job: Job
    learner: processes.Child
    evaluator: processes.Child
    deadline: float | None
    curve: list[CurveRow] = field(default_factory=list)
    handed: list[tuple[int, float]] = field(default_factory=list)
    queue: deque[tuple[int, bytes | None]] = field(default_factory=deque)
    outcome: dict[str, Any] | None = None
    final: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    evaluation_seconds: float = 0.0
    best: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more is to come."""
        return self.error is not None or self.final is not None

    def kill(self) -> None:
        """Ends both processes."""
        self.learner.kill()
        self.evaluator.kill()


class LocalExecutor:
    """Runs trials side by side on this machine.

    Args:
        store: Where records go.
        tasks: Task id to the task and what preparing it found.
        jobs: Trials at a time.
        timeout: Seconds after which a trial fails, or None.
        progress: Told what happens.
        on_record: Called with each record once it is on disk; no Ctrl-C comes between.
    """

    def __init__(
        self,
        store: Store,
        tasks: dict[str, tuple[Task, Prepared]],
        *,
        jobs: int,
        timeout: float | None,
        progress: Progress,
        on_record: Callable[[Record], None],
    ) -> None:
        self._store, self._tasks, self._on_record = store, tasks, on_record
        self._jobs, self._timeout, self._progress = jobs, timeout, progress
        self._running: list[Running] = []

    def execute(self, jobs: Sequence[Job]) -> None:
        """Runs trials in order, several at a time.

        Whatever ends this early (an error, Ctrl-C) ends the trials under way.
        """
        queue = list(reversed(jobs))
        try:
            while queue or self._running:
                while queue and len(self._running) < self._jobs:
                    self._start(queue.pop())
                self._listen()
                for trial in [t for t in self._running if t.finished]:
                    self._publish(trial)
                    self._running.remove(trial)
        finally:
            for trial in self._running:
                trial.kill()

    def _start(self, job: Job) -> None:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        resumable = registry().algorithm(job.spec.algorithm).resumable
        self._store.work_folder(job.spec.id, keep=resumable)
        with _uninterrupted():
            learner = processes.start(learner_main, job)
            evaluator = processes.start(evaluator_main, job)
            self._running.append(Running(job, learner, evaluator, deadline))
        self._progress.started(job.spec)

    def _listen(self) -> None:
        """Waits for messages, ended processes and deadlines, and takes them in."""
        places: dict[Any, tuple[Running, processes.Child]] = {}
        for trial in self._running:
            places[trial.evaluator.connection] = (trial, trial.evaluator)
            if trial.outcome is None:
                places[trial.learner.connection] = (trial, trial.learner)
        # A dead process whose own children still hold its pipe would never be heard of otherwise.
        sentinels = {child.process.sentinel: (t, child) for t, child in places.values()}
        deadlines = [t.deadline for t in self._running if t.deadline is not None]
        patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        ready = wait([*places, *sentinels], timeout=patience)
        for trial, child in [places[r] for r in ready if r in places]:
            if trial.error is None:
                self._take(trial, child)
        for trial, child in [sentinels[r] for r in ready if r in sentinels]:
            said_all = child is trial.learner and trial.outcome is not None
            if trial.error is None and not said_all and not child.connection.poll():
                trial.error = self._died(trial, child)
        for trial in self._running:
            if trial.deadline is not None and time.monotonic() >= trial.deadline:
                if not trial.finished:
                    message = f"the trial took longer than the {self._timeout:g} s it was given"
                    trial.error = _error("Timeout", message)

    def _take(self, trial: Running, child: processes.Child) -> None:
        try:
            message = child.connection.recv()
        except (EOFError, ConnectionResetError):
            trial.error = self._died(trial, child)
            return
        kind = message[0]
        if kind == "log":
            _, step, scalars, seconds = message
            trial.curve += [(step, seconds, "log", k, v) for k, v in sorted(scalars.items())]
            self._progress.advanced(trial.job.spec, step, None)
        elif kind == "save":
            _, step, policy, seconds = message
            trial.handed.append((step, seconds))
            self._judge(trial, len(trial.handed) - 1, policy)
            self._progress.advanced(trial.job.spec, step, None)
        elif kind == "done":
            _, policy, trial.outcome = message
            trial.learner.end()
            self._judge(trial, FINAL, policy)
        elif kind == "evaluated":
            self._evaluated(trial, *message[1:])
        else:
            trial.error = message[1]

    def _died(self, trial: Running, child: processes.Child) -> dict[str, str]:
        who = "learner" if child is trial.learner else "evaluator"
        return _error("ProcessDied", f"the {who}'s process {child.ended}")

    def _judge(self, trial: Running, place: int, policy: bytes | None) -> None:
        trial.queue.append((place, policy))
        if len(trial.queue) == 1:
            self._send_next(trial)

    def _send_next(self, trial: Running) -> None:
        """Sends one policy to an evaluator that waits for it: neither side can block the other."""
        try:
            trial.evaluator.connection.send(trial.queue[0])
        except (BrokenPipeError, ConnectionResetError):
            trial.error = trial.error or self._died(trial, trial.evaluator)

    def _evaluated(self, trial: Running, place: int, found: dict[str, Any], took: float) -> None:
        trial.queue.popleft()
        trial.evaluation_seconds += took
        if place == FINAL:
            trial.final = found
            return
        if trial.queue:
            self._send_next(trial)
        step, seconds = trial.handed[place]
        shutil.rmtree(Path(trial.job.folder) / "saves" / str(place), ignore_errors=True)
        scores = found["scores"]
        trial.curve += [(step, seconds, "validation", k, v) for k, v in sorted(scores.items())]
        primary = self._tasks[trial.job.spec.task][0].info.primary
        sign = 1 if primary.higher_is_better else -1
        if (
            trial.best is None
            or sign * (scores[primary.name] - trial.best["scores"][primary.name]) > 0
        ):
            trial.best = {"step": step, "scores": scores}

    def _publish(self, trial: Running) -> None:
        trial.kill()
        if trial.error is not None:
            with (Path(trial.job.folder) / "log.txt").open("a", encoding="utf-8") as log:
                log.write(trial.error["traceback"] + "\n")
        record = self._record(trial)
        trial.curve.sort(key=lambda row: (row[0], row[2], row[3]))
        with _uninterrupted():
            work = Path(trial.job.folder)
            try:
                published = self._store.publish(record, trial.curve, work)
            except (TypeError, ValueError) as error:  # something that no record can hold
                trial.error, trial.best, trial.outcome = describe_error(error), None, None
                published = self._store.publish(self._record(trial), [], work)
            if published is None:
                self._progress.note(f"{trial.job.spec.label}: another process published it first")
                return
            self._on_record(published)
            self._progress.finished(trial.job.spec, published)

    def _record(self, trial: Running) -> Record:
        spec = trial.job.spec
        task, prepared = self._tasks[spec.task]
        info = task.info
        # An anchor that imported demonstrations bring belongs to the trials that used them.
        brought = {k: v for k, v in prepared.anchors.items() if k in info.references or spec.demos}
        references = {k: dict(v) for k, v in {**info.references, **brought}.items()}
        outcome = trial.outcome or {"costs": {}, "verifiable": False, "has_reward": False}
        failed = trial.error is not None
        final = {} if failed or trial.final is None else trial.final
        costs = {**outcome["costs"], "evaluation_seconds": trial.evaluation_seconds}
        return Record(
            trial=spec.id,
            status="failed" if failed else "done",
            spec=spec.to_json(),
            world=info.world,
            environment=info.environment,
            primary={
                "name": info.primary.name,
                "higher_is_better": info.primary.higher_is_better,
                "low": info.low,
                "high": info.high,
            },
            references=references,
            scores=final.get("scores", {}),
            best=trial.best,
            episodes=final.get("episodes", {}),
            samples=final.get("samples", []),
            verifiable=bool(outcome["verifiable"]) and not failed,
            has_reward=bool(outcome["has_reward"]),
            costs=costs,
            error=trial.error,
            versions=provenance.versions(),
            irlbench=provenance.code(),
            hardware={"processor": provenance.processor(), "device": spec.device},
            data={"built": dict(prepared.built)},
        )


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back until the end of the block, so that no finished trial is lost."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python interrupts the main thread only
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def _error(kind: str, message: str) -> dict[str, str]:
    return {"type": kind, "message": message, "traceback": f"{kind}: {message}"}
