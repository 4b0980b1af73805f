"""Reading records from one or more output directories into one list of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from irlbench.errors import DataError, UsageError
from irlbench.metrics.statistics import normalise
from irlbench.running.curve import read_curve
from irlbench.running.record import Record
from irlbench.running.record_table import RecordTable, open_results
from irlbench.running.rescoring import Later, all_metrics, read_rescored

#: Scores beyond this are damage, not scores; squaring them would overflow.
_LARGEST = 1e100


@dataclass(frozen=True)
class Trial:
    """One record with where it was read.

    Attributes:
        record: The record.
        source: Short name of its output directory, for people.
        folder: The folder of its files.
        table: What its record was read from where that is an export, which has no such folder.
        later: Scores of the learnt reward that were computed after the trial, if any.
    """

    record: Record
    source: str
    folder: Path
    table: RecordTable | None = None
    later: Later | None = None

    @property
    def id(self) -> str:
        """The trial's id."""
        return self.record.trial

    @property
    def spec(self) -> Mapping[str, Any]:
        """What determined it."""
        return self.record.spec

    @property
    def primary(self) -> str:
        """Name of the score that ranks."""
        return str(self.record.primary.get("name"))

    @cached_property
    def failed(self) -> bool:
        """Whether it failed, or left no score that could be used."""
        return self.record.failed or number(self.record.scores.get(self.primary)) is None

    @cached_property
    def raw(self) -> float | None:
        """The raw primary score; a failed trial has that of the low reference."""
        if self.failed:
            return self.anchor("low")
        return number(self.record.scores.get(self.primary))

    @cached_property
    def score(self) -> float | None:
        """The score between the anchors, or None where the record does not hold both."""
        return self.normalised(self.raw)

    @property
    def best(self) -> float | None:
        """The normalised validation score of the best policy handed in along the way."""
        best = self.record.best
        return None if best is None else self.normalised(number(best["scores"].get(self.primary)))

    def normalised(self, raw: float | None, high: str = "high") -> float | None:
        """A raw score between the low reference and another; None where one is missing."""
        bottom, top = self.anchor("low"), self.anchor(high)
        if raw is None or bottom is None or top is None or bottom == top:
            return None
        return number(float(normalise(raw, bottom, top)))

    def anchor(self, name: str) -> float | None:
        """A reference's raw primary score.

        Args:
            name: "low", "high", or the name of a reference.
        """
        reference = self.record.references.get(str(self.record.primary.get(name, name)))
        return None if reference is None else number(reference.get(self.primary))

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """Scores of the learnt reward, those computed later among them."""
        return all_metrics(self.record, self.later)

    def cost(self, name: str) -> float | None:
        """What was spent of something, or None where that is not known."""
        return number(self.record.costs.get(name))

    def curve(self) -> Any:
        """Its curve, a `pyarrow.Table` as `read_curve` gives it; of an export thinned.

        Raises:
            DataError: If it cannot be read, or is not the one that the record tells of.
        """
        if self.table is not None:
            return self.table.curve(self.id)
        path = self.folder / "curve.parquet"
        if path.name not in self.record.files:
            raise DataError("the record does not name it", file=path.name)
        return read_curve(path, self.record.curve_points, self.record.files[path.name])

    @property
    def error(self) -> str:
        """What went wrong, in one line; empty for a trial that did not fail."""
        if not self.failed:
            return ""
        error = self.record.error
        if error is None:
            return f"no finite {self.primary!r} was recorded"
        return f"{error['type']}: {error['message']}"


@dataclass(frozen=True)
class Conflict:
    """One trial id with different results in two directories; the first one counts.

    Attributes:
        trial: The id.
        sources: The directories, the one that counts first.
    """

    trial: str
    sources: tuple[str, ...]


@dataclass
class Collection:
    """What was read.

    Attributes:
        trials: One per id, in order of id.
        conflicts: Ids with different results.
        unreadable: Records that could not be read, with the reason; nothing rests on them.
        merged: Records that another directory held as well, with equal results.
    """

    trials: list[Trial] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    merged: int = 0


def collect(folders: Sequence[Path]) -> Collection:
    """Reads the records of output directories and merges them.

    Equal results under one id are one trial. Different results under one id are a conflict: the
    directory named first counts.

    Args:
        folders: Output directories of `irlbench run` or `irlbench export`.

    Raises:
        UsageError: If no directory is named, one is none of irlbench's or of a newer schema, or
            none holds a record.
    """
    places = list(dict.fromkeys(folder.resolve() for folder in folders))
    if not places:
        raise UsageError("name a directory that `irlbench run` wrote")
    found: dict[str, list[Trial]] = {}
    collection = Collection()
    for place, source in zip(places, source_names(places), strict=True):
        results = open_results(place)
        table = results if isinstance(results, RecordTable) else None
        later = _later(place, source, collection)
        for trial in results.ids():
            try:
                record = results.read(trial)
            except DataError as error:
                collection.unreadable.append(f"{source}: {error}")
                continue
            found.setdefault(trial, []).append(
                Trial(record, source, place / "trials" / trial, table, later.get(trial))
            )
    if not found:
        damaged = f" ({len(collection.unreadable)} unreadable)" if collection.unreadable else ""
        raise UsageError(
            f"no finished trial in {', '.join(map(str, folders))}{damaged}; "
            "`irlbench run` makes them"
        )
    for trial, copies in sorted(found.items()):
        collection.trials.append(copies[0])
        differing = [c for c in copies if c.record.content_hash != copies[0].record.content_hash]
        collection.merged += len(copies) - 1 - len(differing)
        if differing:
            sources = (copies[0].source, *(copy.source for copy in differing))
            collection.conflicts.append(Conflict(trial, sources))
    return collection


def _later(place: Path, source: str, collection: Collection) -> Mapping[str, Later]:
    try:
        return read_rescored(place)
    except DataError as error:
        collection.unreadable.append(f"{source}: {error}")
        return {}


def source_names(places: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart."""
    depth = 1
    names = [place.name or str(place) for place in places]
    while len(set(names)) < len(names) and depth < max(len(p.parts) for p in places):
        depth += 1
        names = ["/".join(place.parts[-depth:]) for place in places]
    return names


def number(value: Any) -> float | None:
    """A finite number of bearable size, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not abs(value) <= _LARGEST:  # NaN among them; whole numbers may be too large for a float
        return None
    return float(value)
