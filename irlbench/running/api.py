"""Running and reading back, from Python. The command line calls these."""

from __future__ import annotations

import operator
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from irlbench.errors import IrlbenchError, UsageError
from irlbench.home import home
from irlbench.policy import Policy, load_policy
from irlbench.registry import registry
from irlbench.reward import RewardFunction, load_reward
from irlbench.running import plan, processes
from irlbench.running.child import prepare_main
from irlbench.running.executor import LocalExecutor
from irlbench.running.progress import PlainProgress, Progress
from irlbench.running.record import Record
from irlbench.running.store import Store
from irlbench.running.trial import Job, TrialSpec
from irlbench.serialisation import canonical_json
from irlbench.task import Prepared, Task, TaskOptions


@dataclass
class RunSummary:
    """What a run did.

    Attributes:
        out: The output directory.
        planned: Trials asked for.
        done: Trials finished now.
        failed: Trials that failed, now or when they were run before.
        reused: Trials that were there already.
        interrupted: Whether Ctrl-C ended it.
        failures: Id and error of each failed trial.
    """

    out: Path
    planned: int = 0
    done: int = 0
    failed: int = 0
    reused: int = 0
    interrupted: bool = False
    failures: list[tuple[str, str]] = field(default_factory=list)

    def count(self, record: Record) -> None:
        """Takes in a trial that finished now."""
        self.done += not record.failed
        self.count_failure(record)

    def count_failure(self, record: Record) -> None:
        """Takes in a trial if it failed, now or when it was run before."""
        if record.failed and record.error is not None:
            self.failed += 1
            message = f"{record.error['type']}: {record.error['message']}"
            self.failures.append((record.trial, message))


@dataclass(frozen=True)
class LoadedTrial:
    """A finished trial, read back.

    Attributes:
        record: Its record.
        policy: Its final policy, or None where its kind cannot be loaded or it failed.
        reward: Its learnt reward, or None.
        curve: A polars data frame: step, seconds, kind, name, value.
    """

    record: Record
    policy: Policy | None
    reward: RewardFunction | None
    curve: Any


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
    demos: str | None = None,
    demonstrations: int | Sequence[int] | None = None,
    preferences: int | Sequence[int] | None = None,
    track: str | None = None,
    data: str | Path | None = None,
    model: str | None = None,
    plugins: str | Path | Sequence[str | Path] = (),
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Runs a suite or tasks. What is there already is not run again.

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
        demos: Name of imported demonstrations.
        demonstrations: Numbers of demonstrations, a trial for each.
        preferences: Numbers of preferences, a trial for each.
        track: Only algorithms of this track, and reference rows.
        data: Path of a task's data.
        model: Path or `hub-id@revision` of the language model.
        plugins: Python files that define algorithms, solvers or tasks.
        out: Output directory; None: `runs/<suite or task>`.
        progress: Told what happens; None prints plain lines.

    Returns:
        What was done. Failed trials are counted, not raised.

    Raises:
        UsageError: For anything unusable, before any trial starts.
    """
    for path in _texts("plugins", plugins):
        registry().load_plugin(Path(path))
    targets = _texts("target", target)
    choices = plan.Choices(
        targets=targets,
        algorithms=_texts("algorithms", algorithms) if algorithms is not None else None,
        seeds=_seeds(seeds),
        settings=_mapping("settings", settings),
        budget=_mapping("budget", budget),
        demonstrations=_counts("demonstrations", demonstrations),
        preferences=_counts("preferences", preferences),
        track=track,
        demos=demos,
        device=plan.resolve_device(device),
        threads=_positive("threads", threads),
    )
    planned = plan.cells(choices)
    jobs = _positive("jobs", jobs) if jobs is not None else default_jobs(threads)
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise UsageError(f"timeout must be a positive number of seconds, got {timeout!r}")
    store = Store(
        Path(out) if out is not None else Path("runs") / "+".join(targets).replace("/", "-")
    )
    store.open_for_writing()
    progress = progress or PlainProgress(sys.stdout)
    tasks = {cell.task.id: cell.task for cell in planned}
    options = TaskOptions(None if data is None else str(data), demos, model, choices.device)
    summary = RunSummary(store.out)
    try:
        preload = {name for task in tasks.values() for name in task.info.preload}
        with store.alone(), _terminates_like_ctrl_c():
            processes.start_server(threads, preload)
            prepared = _prepare(tasks, options, jobs, progress)
            specs = plan.trials(planned, prepared, choices)
            summary.planned = len(specs)
            todo = _pending(specs, store, summary)
            progress.planned(todo)
            made = [_job(spec, options, store) for spec in todo]
            ready = {name: (task, prepared[name]) for name, task in tasks.items()}
            executor = LocalExecutor(
                store, ready, jobs=jobs, timeout=timeout, progress=progress, on_record=summary.count
            )
            executor.execute(made)
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        progress.close()
    return summary


@contextmanager
def _terminates_like_ctrl_c() -> Iterator[None]:
    """Lets SIGTERM, which schedulers send, end a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _texts(name: str, given: Any) -> tuple[str, ...]:
    """One text or path, or several, as a tuple."""
    several = (given,) if isinstance(given, str | Path) else given
    try:
        texts = tuple(several)
    except TypeError:
        texts = (given,)
    if not all(isinstance(text, str | Path) for text in texts):
        raise UsageError(f"{name} must be text, or several, got {given!r}")
    return tuple(str(text) for text in texts)


def _mapping(name: str, given: Any) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(f"{name} must map names to values, got {given!r}")
    return dict(given or {})


def _whole(name: str, given: Any, least: int) -> tuple[int, ...]:
    """One whole number or several, each at least so large."""
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    try:
        numbers = tuple(operator.index(number) for number in several)
    except TypeError:
        numbers = ()
    if not numbers or min(numbers) < least:
        raise UsageError(f"{name} must be one or more whole numbers from {least} on, got {given!r}")
    return numbers


def _seeds(seeds: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if seeds is None:
        return None
    if isinstance(seeds, int):
        return tuple(range(_whole("seeds", seeds, 1)[0]))
    return _whole("seeds", seeds, 0)


def _counts(name: str, counts: int | Sequence[int] | None) -> tuple[int, ...] | None:
    return None if counts is None else _whole(name, counts, 1)


def _positive(name: str, value: int) -> int:
    return _whole(name, value, 1)[0]


def default_jobs(threads: int) -> int:
    """Trials at a time that the cores of this process allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // threads)


def _prepare(
    tasks: Mapping[str, Task], options: TaskOptions, jobs: int, progress: Progress
) -> dict[str, Prepared]:
    """Prepares tasks in processes of their own, several at a time."""
    cache = str(home())
    plugins = registry().plugins
    found: dict[str, Prepared] = {}
    queue = list(tasks)[::-1]
    children: dict[Any, tuple[str, processes.Child]] = {}
    try:
        while queue or children:
            while queue and len(children) < jobs:
                name = queue.pop()
                child = processes.start(prepare_main, name, options, plugins, cache)
                children[child.connection] = (name, child)
            for ready in wait(list(children)):
                name, child = children.pop(ready)
                found[name] = _prepared(name, child)
                child.kill()
    finally:
        for _, child in children.values():
            child.kill()
    return found


def _prepared(name: str, child: processes.Child) -> Prepared:
    try:
        kind, value = child.connection.recv()
    except EOFError:
        raise IrlbenchError(f"preparing {name}: the process {child.ended}") from None
    if kind == "usage":
        raise UsageError(value)
    if kind == "failed":
        raise IrlbenchError(f"preparing {name} failed\n{value['traceback']}")
    prepared: Prepared = value
    return prepared


def _pending(specs: Sequence[TrialSpec], store: Store, summary: RunSummary) -> list[TrialSpec]:
    there = set(store.ids())
    todo = []
    for spec in specs:
        if spec.id in there:
            summary.reused += 1
            summary.count_failure(store.read(spec.id))
        else:
            todo.append(spec)
    return todo


def _job(spec: TrialSpec, options: TaskOptions, store: Store) -> Job:
    return Job(
        spec=spec,
        options=options if spec.demos else _without_demos(options),
        plugins=registry().plugins,
        home=str(home()),
        folder=str((store.working / spec.id).resolve()),
    )


def _without_demos(options: TaskOptions) -> TaskOptions:
    return TaskOptions(options.data, None, options.model, options.device)


def load_results(folder: str | Path) -> Any:
    """Every trial of an output directory as a polars data frame, one row each.

    Columns: trial, status, world; task, track, algorithm, seed, demonstrations, preferences,
    demos, model, device, threads; changed (settings that differ from the defaults) and budget, as
    JSON; plugin (its hash); error; score (the raw primary score, null when failed), normalised,
    and each further score and cost under "score.<name>" and "cost.<name>".

    Raises:
        UsageError: If the directory holds no records.
    """
    import polars

    store = Store(Path(folder))
    store.open_for_reading()
    return polars.DataFrame([_row(record) for record in store.records()], infer_schema_length=None)


def _row(record: Record) -> dict[str, Any]:
    primary, spec = record.primary, record.spec
    low, high = (record.references[primary[end]][primary["name"]] for end in ("low", "high"))
    score = record.scores.get(primary["name"])
    return {
        "trial": record.trial,
        "status": record.status,
        "world": record.world,
        **{name: spec[name] for name in ("task", "track", "algorithm", "seed", "demonstrations")},
        **{name: spec[name] for name in ("preferences", "demos", "model", "device", "threads")},
        **{name: canonical_json(spec[name]) for name in ("changed", "budget")},
        "plugin": spec["plugin_hash"],
        "error": None if record.error is None else record.error["message"],
        "score": score,
        "normalised": None if score is None else (score - low) / (high - low),
        **{f"score.{name}": value for name, value in record.scores.items()},
        **{f"cost.{name}": float(value) for name, value in record.costs.items()},
    }


def load_trial(folder: str | Path, trial: str) -> LoadedTrial:
    """A finished trial with its policy, reward and curve.

    Args:
        folder: The output directory.
        trial: The trial's id, or the beginning of it.

    Raises:
        UsageError: If there is no such trial, or more than one.
        DataError: If its files are damaged.
    """
    store = Store(Path(folder))
    store.open_for_reading()
    found = store.find(trial)
    record = store.read(found)
    place = store.verified_folder(record)
    policy = load_policy(place) if record.verifiable else None
    reward = load_reward(place) if record.has_reward else None
    return LoadedTrial(record, policy, reward, store.curve(found))
