"""What a run would take, judged by earlier records: time and disk.

A trial's seconds are those of learning plus those of evaluation, as its record gives them. The
two go on side by side, so the sum is what a trial takes where every core is busy, and an upper
bound where cores are idle. Starting processes and loading the problem are not in it.
"""

from __future__ import annotations

import heapq
import os
import shutil
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from irlbench.errors import DataError
from irlbench.running.record import Record
from irlbench.running.store import Store
from irlbench.running.trial import TrialSpec, in_words
from irlbench.serialisation import canonical_json

#: Records read at most, so that a plan is quick to make: of one directory, and in all.
MOST_OF_ONE, MOST_IN_ALL = 1000, 3000

#: Bytes that a file system gives out at a time; small files take a whole one.
BLOCK = 4096

_CENTURY = 3.2e9


@dataclass(frozen=True)
class Basis:
    """What earlier records say of one trial.

    Attributes:
        records: How many finished records this rests on.
        same: Whether they differ from the trial by the seed alone. Else they are of the same
            task, algorithm, device and model, with other settings.
        seconds: Median seconds of a trial, or None where no record tells.
        bytes: Median bytes on disk of a trial, or None where no record has all its files.
    """

    records: int = 0
    same: bool = False
    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class PlannedCell:
    """Planned trials that differ by the seed alone.

    Attributes:
        task: Task id.
        algorithm: Algorithm id.
        given: What sets them apart from others of the task and algorithm, in words.
        to_run: Trials that the run would start.
        retried: Those of `to_run` that failed when they were run before.
        there: Trials that are there already and would not be run again.
        failed: Those of `there` that failed.
        basis: What earlier records say of one trial.
    """

    task: str
    algorithm: str
    given: str
    to_run: int
    retried: int
    there: int
    failed: int
    basis: Basis


@dataclass(frozen=True)
class Plan:
    """What a run would do and take; what no earlier record tells counts as nothing.

    Attributes:
        out: The output directory, which need not exist.
        jobs: Trials at a time.
        cells: The planned trials, in the order of the plan.
        wall_seconds: From the first start to the last end: each trial starts, in the order of the
            plan, as soon as one of the `jobs` places is free.
        free_bytes: Free on the file system of the output directory.
    """

    out: Path
    jobs: int
    cells: tuple[PlannedCell, ...]
    wall_seconds: float
    free_bytes: int

    @property
    def to_run(self) -> int:
        """Trials that the run would start."""
        return sum(cell.to_run for cell in self.cells)

    @property
    def there(self) -> int:
        """Trials that are there already and would not be run again."""
        return sum(cell.there for cell in self.cells)

    @property
    def untimed(self) -> int:
        """Trials to run that no earlier record tells the time of."""
        return sum(cell.to_run for cell in self.cells if cell.basis.seconds is None)

    @property
    def unsized(self) -> int:
        """Trials to run that no earlier record tells the size of."""
        return sum(cell.to_run for cell in self.cells if cell.basis.bytes is None)

    @property
    def trial_seconds(self) -> float:
        """Seconds of all trials to run, one after the other."""
        return sum(cell.to_run * (cell.basis.seconds or 0.0) for cell in self.cells)

    @property
    def bytes(self) -> int:
        """Bytes on disk of the records to come."""
        return sum(cell.to_run * (cell.basis.bytes or 0) for cell in self.cells)


def estimate(
    specs: Sequence[TrialSpec],
    done: Container[str],
    failed: Container[str],
    *,
    out: Path,
    jobs: int,
) -> Plan:
    """What running trials would take. Writes nothing.

    Args:
        specs: The planned trials, in the order in which they would start.
        done: Ids of those that are there already and would not be run again, failed or not.
        failed: Ids of those that failed when they were run before.
        out: The output directory, which need not exist.
        jobs: Trials at a time.
    """
    groups: dict[str, list[TrialSpec]] = {}
    order: list[str] = []
    for spec in specs:
        key = _apart_from_the_seed(spec.to_json())
        groups.setdefault(key, []).append(spec)
        if spec.id not in done:
            order.append(key)
    bases = _bases({key: group[0] for key, group in groups.items()}, out) if order else {}
    cells = [_cell(group, done, failed, bases.get(key, Basis())) for key, group in groups.items()]
    times = (bases[key].seconds or 0.0 for key in order)
    return Plan(out, jobs, tuple(cells), makespan(times, jobs), free_bytes(out))


def _cell(
    group: Sequence[TrialSpec], done: Container[str], failed: Container[str], basis: Basis
) -> PlannedCell:
    first = group[0]
    there = [spec for spec in group if spec.id in done]
    lost = sum(spec.id in failed for spec in there)
    return PlannedCell(
        task=first.task,
        algorithm=first.algorithm,
        given=in_words(first.to_json()),
        to_run=len(group) - len(there),
        retried=sum(spec.id in failed for spec in group) - lost,
        there=len(there),
        failed=lost,
        basis=basis,
    )


def makespan(seconds: Iterable[float], jobs: int) -> float:
    """Seconds until the last of several trials ends, each started where a place is free first.

    Args:
        seconds: Of each trial, in the order in which they start.
        jobs: Places.
    """
    ends: list[float] = []
    for taken in seconds:
        if len(ends) < jobs:
            heapq.heappush(ends, taken)
        else:
            heapq.heapreplace(ends, ends[0] + taken)
    return max(ends, default=0.0)


def free_bytes(out: Path) -> int:
    """Bytes free on the file system that holds a directory, or will hold it."""
    place = out.resolve()
    while True:
        try:
            return shutil.disk_usage(place).free
        except OSError:
            if place == place.parent:
                raise
            place = place.parent


def record_folders(out: Path) -> list[Path]:
    """An output directory, then the directories of records beside it, the last changed first."""
    out = out.resolve()
    try:
        beside = [folder for folder in out.parent.iterdir() if folder != out]
    except OSError:
        beside = []
    changed = [(_changed(folder), folder) for folder in beside]
    dated = sorted(((when, folder) for when, folder in changed if when is not None), reverse=True)
    return [out, *(folder for _, folder in dated)]


def _changed(folder: Path) -> float | None:
    """When a directory of records got its last record, or None where it is no such directory."""
    try:
        (folder / "irlbench.json").stat()
        return (folder / "trials").stat().st_mtime
    except OSError:
        return None


@dataclass(frozen=True)
class _Past:
    """What one earlier record tells."""

    seconds: float
    bytes: int | None


def _bases(firsts: Mapping[str, TrialSpec], out: Path) -> dict[str, Basis]:
    """What earlier records tell of each configuration, by the key of `_apart_from_the_seed`."""
    same: dict[str, list[_Past]] = defaultdict(list)
    alike: dict[str, list[_Past]] = defaultdict(list)
    for record, past in _past(out):
        same[_apart_from_the_seed(record.spec)].append(past)
        alike[_kind(record.spec)].append(past)
    return {
        key: _basis(same[key], same=True)
        if key in same
        else _basis(alike.get(_kind(first.to_json()), []), same=False)
        for key, first in firsts.items()
    }


def _basis(found: Sequence[_Past], *, same: bool) -> Basis:
    if not found:
        return Basis()
    sizes = [past.bytes for past in found if past.bytes is not None]
    seconds = median(past.seconds for past in found)
    return Basis(len(found), same, seconds, round(median(sizes)) if sizes else None)


def _apart_from_the_seed(spec: Mapping[str, Any]) -> str:
    """Equal for trials whose ids differ by the seed alone."""
    aside = ("seed", "changed", "demos")
    return canonical_json({name: value for name, value in spec.items() if name not in aside})


def _kind(spec: Mapping[str, Any]) -> str:
    """Equal for trials that may take a comparable time."""
    return canonical_json([spec.get(name) for name in ("task", "algorithm", "device", "model")])


def _past(out: Path) -> Iterator[tuple[Record, _Past]]:
    """Finished records near an output directory, each trial once; damaged ones are passed over.

    Ids are hashes: the first of a directory are as good as drawn at random.
    """
    seen: set[str] = set()
    for folder in record_folders(out):
        store = Store(folder)
        try:
            trials = store.ids()
        except OSError:
            continue
        for trial in trials[: min(MOST_OF_ONE, MOST_IN_ALL - len(seen))]:
            if trial in seen:
                continue
            seen.add(trial)
            try:
                record, sizes = store.read(trial), _sizes(store.folder(trial))
            except (DataError, OSError):
                continue
            if (seconds := _seconds(record)) is not None:
                # Where files were taken out (policies, to save space), no one can tell their size.
                whole = record.files.keys() <= sizes.keys()
                yield record, _Past(seconds, _on_disk(sizes.values()) if whole else None)


def _seconds(record: Record) -> float | None:
    """Of learning and evaluation; None where the trial failed, or no times are told."""
    if record.failed:
        return None
    total = 0.0
    for seconds in (record.costs.get("seconds"), record.costs.get("evaluation_seconds", 0.0)):
        # A record of another hand may hold anything that JSON can.
        if type(seconds) is not int and type(seconds) is not float:
            return None
        if not 0 <= seconds < _CENTURY:
            return None
        total += seconds
    return total


def _sizes(folder: Path) -> dict[str, int]:
    """File name to bytes."""
    with os.scandir(folder) as entries:
        files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        return {file.name: file.stat(follow_symlinks=False).st_size for file in files}


def _on_disk(sizes: Iterable[int]) -> int:
    """Bytes that files and the folder around them take, in whole blocks."""
    return BLOCK * (1 + sum(-(-size // BLOCK) for size in sizes))
