"""What the caller of a run asked for, checked before anything runs."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irlbench.errors import UsageError
from irlbench.registry import registry
from irlbench.running import limits, plan
from irlbench.running.limits import Limits
from irlbench.running.plan import Cell, Choices
from irlbench.task import Task, TaskOptions


@dataclass(frozen=True)
class Asked:
    """A run, checked.

    Attributes:
        choices: What determines its trials.
        cells: Its tasks and algorithms.
        options: What tasks are told.
        out: The output directory.
        slots: For each trial at a time, the GPUs that it sees; None leaves them as they are.
        limits: What ends a trial as failed.
        retry_failed: Whether failed and damaged trials are run again.
        rerun: Beginnings of the ids of trials to run again, whatever came of them.
        known: Directories of records, of which none is made again.
        checkpoint_seconds: How often trials keep what they go on from.
    """

    choices: Choices
    cells: Sequence[Cell]
    options: TaskOptions
    out: Path
    slots: Sequence[str | None]
    limits: Limits
    retry_failed: bool
    rerun: tuple[str, ...]
    known: tuple[Path, ...]
    checkpoint_seconds: float

    @property
    def tasks(self) -> dict[str, Task]:
        """Task id to task."""
        return {cell.task.id: cell.task for cell in self.cells}


def check(
    target: Any,
    *,
    algorithms: Any,
    seeds: Any,
    jobs: Any,
    threads: Any,
    device: str,
    settings: Any,
    budget: Any,
    timeout: Any,
    memory: Any,
    gpus_per_trial: Any,
    demos: str | None,
    demonstrations: Any,
    preferences: Any,
    track: str | None,
    data: str | Path | None,
    model: str | None,
    plugins: Any,
    retry_failed: bool,
    rerun: Any,
    known: Any,
    checkpoint_seconds: Any,
    out: str | Path | None,
) -> Asked:
    """Checks the arguments of `irlbench.run`, which says what they are.

    Raises:
        UsageError: For anything unusable.
    """
    for path in _texts("plugins", plugins):
        registry().load_plugin(Path(path))
    targets = _texts("target", target)
    threads = _positive("threads", threads)
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
        threads=threads,
    )
    cells = plan.cells(choices)
    named = Path("runs") / "+".join(targets).replace("/", "-")
    return Asked(
        choices=choices,
        cells=cells,
        options=TaskOptions(None if data is None else str(data), demos, model, choices.device),
        out=Path(out) if out is not None else named,
        slots=_slots(choices.device, threads, jobs, gpus_per_trial),
        limits=Limits(
            seconds=None if timeout is None else _amount("timeout", timeout, "seconds"),
            memory=int(_amount("memory", memory, "bytes"))
            if memory is not None
            else limits.default_memory(),
        ),
        retry_failed=bool(retry_failed),
        rerun=_texts("rerun", rerun),
        known=tuple(Path(folder) for folder in _texts("known", known)),
        checkpoint_seconds=_amount("checkpoint_seconds", checkpoint_seconds, "seconds", least=0.0),
    )


def _slots(device: str, threads: int, jobs: Any, gpus_per_trial: Any) -> list[str | None]:
    """One entry for each trial at a time: as many as were asked for, or as there is room for."""
    if device == "cpu":
        if gpus_per_trial is not None:
            raise UsageError("--gpus-per-trial needs --device cuda")
        wanted = default_jobs(threads) if jobs is None else _positive("jobs", jobs)
        return [None] * wanted
    each = 1.0 if gpus_per_trial is None else gpus_per_trial
    room: list[str | None] = [
        *limits.gpu_slots(_amount("gpus_per_trial", each, "GPUs"), limits.gpus())
    ]
    return room if jobs is None else room[: _positive("jobs", jobs)]


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


def _whole(name: str, given: Any, least: int, most: int = 2**31 - 1) -> tuple[int, ...]:
    """One whole number or several, each in reach."""
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    try:
        numbers = tuple(operator.index(number) for number in several)
    except TypeError:
        numbers = ()
    if not numbers or min(numbers) < least:
        raise UsageError(f"{name} must be one or more whole numbers from {least} on, got {given!r}")
    if max(numbers) > most:
        raise UsageError(f"{name} must be at most {most:,}, got {max(numbers)}")
    return numbers


def _seeds(seeds: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if seeds is None:
        return None
    if isinstance(seeds, int):
        return tuple(range(_positive("seeds", seeds)))
    return _whole("seeds", seeds, 0)


def _counts(name: str, counts: int | Sequence[int] | None) -> tuple[int, ...] | None:
    return None if counts is None else _whole(name, counts, 1)


def _positive(name: str, value: int) -> int:
    return _whole(name, value, 1, most=10**6)[0]


def _amount(name: str, given: Any, unit: str, *, least: float | None = None) -> float:
    """A finite number above 0, or from `least` on."""
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not (given > 0 if least is None else given >= least) or given == float("inf"):
        what = "a positive number" if least is None else f"a number from {least:g} on"
        raise UsageError(f"{name} must be {what} of {unit}, got {given!r}")
    return float(given)


def default_jobs(threads: int) -> int:
    """Trials at a time that the cores of this process allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // threads)
