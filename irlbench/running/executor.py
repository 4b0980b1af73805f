"""The local executor: trials side by side on this machine, and with other runs.

Several runs on one output directory divide the trials among themselves: each takes what nobody has
taken, and at the end waits for what the others have, in case one of them is killed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from irlbench.errors import StorageError
from irlbench.registry import registry
from irlbench.running import processes, provenance
from irlbench.running.claims import Claim
from irlbench.running.interrupts import uninterrupted
from irlbench.running.limits import Limits
from irlbench.running.progress import Progress
from irlbench.running.provenance import describe_error
from irlbench.running.record import Record
from irlbench.running.store import Published, Store
from irlbench.running.trial import Job
from irlbench.running.underway import Underway
from irlbench.task import Prepared, Task

#: Seconds between two looks at what trials take, and at what other runs have done. Looking takes
#: at most a twentieth of the time.
_LOOK, _SHARE = 0.25, 20
#: A run whose look comes so many seconds late was itself stopped, as by Ctrl-Z.
_STOPPED = 2.0


@dataclass(frozen=True)
class Work:
    """A trial to run.

    Attributes:
        job: The trial.
        seen: What stands under its id and is to be superseded, or None.
    """

    job: Job
    seen: Published | None = None


class LocalExecutor:
    """Runs trials side by side on this machine.

    Args:
        store: Where records go.
        tasks: Task id to the task and what preparing it found.
        slots: For each trial at a time, the GPUs that it sees; None leaves them as they are.
        limits: What ends a trial as failed.
        progress: Told what happens.
        on_record: Called with each record once it is on disk; no Ctrl-C comes between.
        on_other: Called with a trial's id and what another run has published of it.
    """

    def __init__(
        self,
        store: Store,
        tasks: dict[str, tuple[Task, Prepared]],
        *,
        slots: Sequence[str | None],
        limits: Limits,
        progress: Progress,
        on_record: Callable[[Record], None],
        on_other: Callable[[str, Published], None],
    ) -> None:
        self._store, self._tasks = store, tasks
        self._slots, self._limits, self._progress = list(slots), limits, progress
        self._on_record, self._on_other = on_record, on_other
        self._running: list[Underway] = []
        self._next_look = 0.0

    def execute(self, work: Iterable[Work]) -> None:
        """Runs trials in order, several at a time.

        Whatever ends this early (an error, Ctrl-C) ends the trials under way.

        Raises:
            StorageError: If the disk is full or cannot be written.
        """
        todo, elsewhere = deque(work), deque[Work]()
        next_sweep, waiting = 0.0, False
        try:
            while todo or elsewhere or self._running:
                if not todo and elsewhere and time.monotonic() >= next_sweep:
                    todo, elsewhere = elsewhere, todo
                began = time.monotonic()
                if todo and self._slots:
                    while todo and self._slots:
                        self._begin(todo.popleft(), elsewhere)
                    took = time.monotonic() - began
                    next_sweep = began + max(_LOOK, _SHARE * took)
                if self._running:
                    self._listen()
                elif elsewhere:
                    if not waiting:
                        trials = f"{len(elsewhere)} trial{'' if len(elsewhere) == 1 else 's'}"
                        self._progress.note(f"waiting for {trials} of another run")
                        waiting = True
                    time.sleep(max(0.0, next_sweep - time.monotonic()))
                for trial in [t for t in self._running if t.finished]:
                    self._publish(trial)
        finally:
            with uninterrupted():
                processes.end(child for trial in self._running for child in trial.children)
                for trial in self._running:
                    resumable = registry().algorithm(trial.job.spec.algorithm).resumable
                    (trial.claim.release if resumable else trial.claim.discard)()

    def _begin(self, work: Work, elsewhere: deque[Work]) -> None:
        """Starts a trial, unless another run has taken or finished it."""
        spec = work.job.spec
        resumable = registry().algorithm(spec.algorithm).resumable
        with uninterrupted():  # nobody would let go of the claim
            claim = self._store.claim(spec.id, resumable=resumable, seen=work.seen)
            if isinstance(claim, Claim):
                self._start(work, claim)
        if claim is None:
            elsewhere.append(work)
        elif isinstance(claim, Published):
            self._on_other(spec.id, claim)
            if claim.record is not None:
                self._progress.found(spec, claim.record)
        else:
            self._progress.started(spec)

    def _start(self, work: Work, claim: Claim) -> None:
        primary = self._tasks[work.job.spec.task][0].info.primary
        job = work.job.on(self._slots[0])
        try:
            trial = Underway.start(job, claim, work.seen, self._limits, primary)
        except BaseException:
            claim.release()
            raise
        self._running.append(trial)
        del self._slots[0]

    def _listen(self) -> None:
        """Waits for messages and ended processes, takes them in, and looks at the limits."""
        places: dict[Any, tuple[Underway, processes.Child]] = {}
        for trial in self._running:
            for child in trial.listened_to:
                places[child.connection] = (trial, child)
        # A dead process whose own children still hold its pipe would never be heard of otherwise.
        sentinels = {child.process.sentinel: (t, child) for t, child in places.values()}
        ready = wait([*places, *sentinels], timeout=max(0.0, self._next_look - time.monotonic()))
        for trial, child in [places[r] for r in ready if r in places]:
            if trial.error is None:
                trial.take(child, self._progress)
        for trial, child in [sentinels[r] for r in ready if r in sentinels]:
            if trial.error is None and child in trial.listened_to and not child.connection.poll():
                trial.died(child)
        began = time.monotonic()
        if began >= self._next_look:
            late = began - self._next_look
            found = processes.memory([t.children for t in self._running], self._limits.memory)
            for trial, memory in zip(self._running, found, strict=True):
                if late > _STOPPED:  # no fault of the trial's
                    trial.began = min(began, trial.began + late)
                trial.check(memory)
            self._next_look = began + max(_LOOK, _SHARE * (time.monotonic() - began))

    def _publish(self, trial: Underway) -> None:
        processes.end(trial.children)
        trial.check_log()
        spec = trial.job.spec
        with uninterrupted():
            try:
                trial.curve.sort(key=lambda row: (row[0], row[2], row[3]))
                record = self._record(trial)
                published = self._store.publish(record, trial.curve, trial.claim, trial.seen)
            except StorageError:
                raise
            except Exception as error:  # something that no record can hold
                trial.error, trial.best, trial.outcome = describe_error(error), None, None
                record = self._record(trial)
                published = self._store.publish(record, [], trial.claim, trial.seen)
            self._running.remove(trial)
            self._slots.insert(0, trial.job.gpu)
            if published is not None:
                self._on_record(published)
                self._progress.finished(spec, published)
                return
        other = self._store.published(spec.id)
        if other is not None:
            self._progress.note(
                f"{spec.label}: another run published it first; this one is dropped"
            )
            self._on_other(spec.id, other)

    def _record(self, trial: Underway) -> Record:
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
        hardware = {"processor": provenance.processor(), "device": spec.device}
        if outcome.get("accelerator"):
            hardware["accelerator"] = outcome["accelerator"]
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
            metrics=final.get("metrics", {}),
            best=trial.best,
            episodes=final.get("episodes", {}),
            samples=final.get("samples", []),
            verifiable=bool(outcome["verifiable"]) and not failed,
            has_reward=bool(outcome["has_reward"]),
            costs=costs,
            error=trial.error,
            versions=provenance.versions(),
            irlbench=provenance.code(),
            hardware=hardware,
            data={"built": dict(prepared.built)},
        )
