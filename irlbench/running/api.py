"""Running, from Python. The command line calls this."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irlbench.errors import UsageError
from irlbench.home import home
from irlbench.registry import registry
from irlbench.running import asked, plan, processes, provenance
from irlbench.running.asked import Asked
from irlbench.running.executor import LocalExecutor, Work
from irlbench.running.interrupts import interruptible
from irlbench.running.preparation import prepare
from irlbench.running.progress import PlainProgress, Progress
from irlbench.running.record import Record
from irlbench.running.record_table import open_results
from irlbench.running.store import Published, Store
from irlbench.running.trial import Job, TrialSpec
from irlbench.serialisation import sha256_json
from irlbench.task import Prepared, TaskOptions

if TYPE_CHECKING:
    from irlbench.running.estimates import Plan


@dataclass
class RunSummary:
    """What a run did.

    Attributes:
        out: The output directory.
        planned: Trials asked for.
        done: Trials finished now.
        failed: Trials that failed, now or when they were run before.
        reused: Trials that were there already.
        retried: Of those to run, how many supersede a record that was there.
        interrupted: Whether Ctrl-C ended it.
        failures: Id and error of each failed trial.
        damaged: Id and fault of each record that was there and cannot be used; such a trial is
            neither counted as reused nor run again, unless that was asked for.
    """

    out: Path
    planned: int = 0
    done: int = 0
    failed: int = 0
    reused: int = 0
    retried: int = 0
    interrupted: bool = False
    failures: list[tuple[str, str]] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)

    def count(self, record: Record) -> None:
        """Takes in a trial that finished now."""
        self.done += not record.failed
        self.count_failure(record)

    def count_found(self, trial: str, published: Published) -> None:
        """Takes in what stands under a trial's id and is not run again."""
        if published.record is None:
            self.damaged.append((trial, published.damage or ""))
            return
        self.reused += 1
        self.count_failure(published.record)

    def count_failure(self, record: Record) -> None:
        """Takes in a trial if it failed, now or when it was run before."""
        if record.failed and record.error is not None:
            self.failed += 1
            message = f"{record.error['type']}: {record.error['message']}"
            self.failures.append((record.trial, message))


def run(
    target: str | Sequence[str],
    *,
    algorithms: str | Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    jobs: int | None = None,
    threads: int = 1,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    budget: Mapping[str, float | None] | None = None,
    timeout: float | None = None,
    memory: float | None = None,
    gpus_per_trial: float | None = None,
    demos: str | None = None,
    demonstrations: int | Sequence[int] | None = None,
    preferences: int | Sequence[int] | None = None,
    track: str | None = None,
    data: str | Path | None = None,
    model: str | None = None,
    plugins: str | Path | Sequence[str | Path] = (),
    retry_failed: bool = False,
    rerun: str | Sequence[str] = (),
    known: str | Path | Sequence[str | Path] = (),
    checkpoint_seconds: float = 60.0,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Runs a suite or tasks. What is there already is not run again.

    Several runs on one output directory divide the trials among themselves.

    Args:
        target: A suite, a task, or several.
        algorithms: Algorithm ids; None takes the suite's, or all that can run on the task.
        seeds: A number of seeds (0 to N - 1) or the seeds; None takes the suite's, or three.
        jobs: Trials at a time; None takes as many as the cores and `threads` allow.
        threads: Threads of numerical libraries per trial; part of what determines a result.
        device: "auto", "cpu" or "cuda".
        settings: `algorithm.field` to value.
        budget: "steps", "gradient_steps", "seconds" to a limit.
        timeout: Seconds after which a trial fails.
        memory: Bytes of memory, its evaluation's included, above which a trial fails; None: nine
            tenths of what there is.
        gpus_per_trial: GPUs for each trial, a part of one or several; None: one. On "cuda" only.
        demos: Name of imported demonstrations.
        demonstrations: Numbers of demonstrations, a trial for each.
        preferences: Numbers of preferences, a trial for each.
        track: Only algorithms of this track, and reference rows.
        data: Path of a task's data.
        model: Path or `hub-id@revision` of the language model.
        plugins: Python files that define algorithms, solvers or tasks.
        retry_failed: Run trials again that failed, or whose record is damaged.
        rerun: Beginnings of the ids of trials to run again, whatever came of them. What stood there
            stays beside the new record, under `<id>.superseded-<n>`.
        known: Other directories of records, run or exported: trials that are there are not run.
        checkpoint_seconds: How often an algorithm that can go on after a kill keeps its state.
        out: Output directory; None: `runs/<suite or task>`.
        progress: Told what happens; None prints plain lines.

    Returns:
        What was done. Failed trials are counted, not raised.

    Raises:
        UsageError: For anything unusable, before any trial starts.
        StorageError: If the disk is full or cannot be written; what is finished is kept.
    """
    request = asked.check(
        target,
        algorithms=algorithms,
        seeds=seeds,
        jobs=jobs,
        threads=threads,
        device=device,
        settings=settings,
        budget=budget,
        timeout=timeout,
        memory=memory,
        gpus_per_trial=gpus_per_trial,
        demos=demos,
        demonstrations=demonstrations,
        preferences=preferences,
        track=track,
        data=data,
        model=model,
        plugins=plugins,
        retry_failed=retry_failed,
        rerun=rerun,
        known=known,
        checkpoint_seconds=checkpoint_seconds,
        out=out,
    )
    store = Store(request.out)
    store.open_for_writing()
    progress = progress or PlainProgress(sys.stdout)
    summary = RunSummary(store.out)
    try:
        with interruptible():
            specs, prepared = _planned(request)
            summary.planned = len(specs)
            found = _found(specs, store, request.known)
            _tell_versions(found, progress)
            todo = list(_todo(specs, found, request, summary))
            progress.planned([spec for spec, _ in todo])
            made_with = sha256_json([provenance.versions(), provenance.code()])
            executor = LocalExecutor(
                store,
                {name: (task, prepared[name]) for name, task in request.tasks.items()},
                slots=request.slots,
                limits=request.limits,
                progress=progress,
                on_record=summary.count,
                on_other=summary.count_found,
            )
            executor.execute(
                Work(_job(spec, request, store, made_with), seen) for spec, seen in todo
            )
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        progress.close()
    return summary


def dry_run(target: str | Sequence[str], **choices: Any) -> Plan:
    """What `run` would do with the same arguments, with estimates from earlier records.

    Tasks are prepared, so that data may be built in the cache; nothing else is written.

    Raises:
        UsageError: For anything unusable.
    """
    import inspect

    from irlbench.running.estimates import estimate

    choices.pop("progress", None)
    usual = {
        name: parameter.default
        for name, parameter in inspect.signature(run).parameters.items()
        if name not in ("target", "progress")
    }
    request = asked.check(target, **{**usual, **choices})
    store = Store(request.out)
    if store.out.is_dir() and any(store.out.iterdir()):
        store.open_for_reading()
    with interruptible():
        specs, _ = _planned(request)
    summary = RunSummary(store.out)
    found = _found(specs, store, request.known)
    again = {spec.id for spec, _ in _todo(specs, found, request, summary)}
    done = {trial for trial in found if trial not in again}
    failed = {t for t, p in found.items() if p.record is None or p.record.failed}
    return estimate(specs, done, failed, out=store.out, jobs=len(request.slots))


def _planned(request: Asked) -> tuple[list[TrialSpec], dict[str, Prepared]]:
    preload = {name for task in request.tasks.values() for name in task.info.preload}
    processes.start_server(request.choices.threads, preload)
    prepared = prepare(request.tasks, request.options, len(request.slots))
    return plan.trials(request.cells, prepared, request.choices), prepared


def _found(specs: Sequence[TrialSpec], store: Store, known: Sequence[Path]) -> dict[str, Published]:
    """What stands under the ids of trials, where anything does; else in other directories."""
    there = set(store.ids())
    found = {spec.id: store.published(spec.id) for spec in specs if spec.id in there}
    own = {trial: published for trial, published in found.items() if published is not None}
    elsewhere: dict[str, Published] = {}
    for held in map(open_results, known):
        ids = set(held.ids()) - elsewhere.keys() - own.keys()
        for spec in specs:
            if spec.id in ids:
                elsewhere[spec.id] = Published(held.read(spec.id), None, None)
    return elsewhere | own


def _todo(
    specs: Sequence[TrialSpec],
    found: Mapping[str, Published],
    request: Asked,
    summary: RunSummary,
) -> Iterator[tuple[TrialSpec, Published | None]]:
    """The trials to run, each with what it supersedes; the others are counted."""
    for prefix in request.rerun:
        named = [spec.id for spec in specs if prefix and spec.id.startswith(prefix)]
        if len(named) != 1:
            raise UsageError(
                f"--rerun {prefix}: {len(named) or 'none'} of the {len(specs)} trials of this run "
                f"{'begin' if len(named) > 1 else 'begins'} so; `irlbench status -v "
                f"{request.out}` lists ids"
            )
    for spec in specs:
        there = found.get(spec.id)
        failed = there is not None and (there.record is None or there.record.failed)
        again = spec.id.startswith(request.rerun) or (request.retry_failed and failed)
        if there is None or again:
            summary.retried += there is not None and there.identity is not None
            yield spec, there if there is not None and there.identity is not None else None
        else:
            summary.count_found(spec.id, there)


def _tell_versions(found: Mapping[str, Published], progress: Progress) -> None:
    """Says once which of the records were made with other versions of packages."""
    now, others, records = provenance.versions(), Counter[tuple[str, str, str]](), 0
    for record in [p.record for p in found.values() if p.record is not None]:
        differing = [
            (name, then, now.get(name, "none"))
            for name, then in record.versions.items()
            if now.get(name) != then
        ]
        records += bool(differing)
        others.update(differing)
    if records:
        told = ", ".join(f"{name} {then} (now {here})" for name, then, here in sorted(others))
        progress.note(f"{records} of the trials there were made with other versions: {told}")


def _job(spec: TrialSpec, request: Asked, store: Store, made_with: str) -> Job:
    options = request.options
    return Job(
        spec=spec,
        options=options if spec.demos else _without_demos(options),
        plugins=registry().plugins,
        home=str(home()),
        folder=str((store.working / spec.id).resolve()),
        made_with=made_with,
        checkpoint_seconds=request.checkpoint_seconds,
    )


def _without_demos(options: TaskOptions) -> TaskOptions:
    return TaskOptions(options.data, None, options.model, options.device)
