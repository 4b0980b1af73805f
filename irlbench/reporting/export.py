"""Exports: the records of runs as one table, small enough to be committed and handed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from irlbench.errors import DataError
from irlbench.reporting.curves import MOST_POINTS, thinned
from irlbench.reporting.notes import notes
from irlbench.reporting.trials import Trial, collect
from irlbench.running.record_table import CURVES, write_records
from irlbench.running.rescoring import write_rescored
from irlbench.running.store import TABLE, CurveRow

#: Points that are kept of what no page draws: logged values, and other scores than the primary.
_FEW_POINTS = 10


@dataclass(frozen=True)
class ExportSummary:
    """What was exported.

    Attributes:
        out: The directory.
        trials: How many.
        files: Name to bytes.
        notes: What a reader should know about the records, in sentences.
    """

    out: Path
    trials: int
    files: dict[str, int]
    notes: tuple[str, ...]


def export(folders: Sequence[str | Path], out: str | Path) -> ExportSummary:
    """Writes the records of one or more output directories, merged, as one table.

    Args:
        folders: Output directories of `irlbench run`, or other exports.
        out: Where to write; an export that is there is replaced.

    Raises:
        UsageError: If there is nothing to export, or `out` cannot be written.
        DataError: If a record or a curve cannot be read: nothing is left out silently.
    """
    collection = collect([Path(folder) for folder in folders])
    if collection.unreadable:
        raise DataError(f"{len(collection.unreadable)} unreadable: {collection.unreadable[0]}")
    target = Path(out)
    write_records((trial.record for trial in collection.trials), _curves(collection.trials), target)
    later = {trial.id: trial.later for trial in collection.trials if trial.later is not None}
    write_rescored(later, target)
    return ExportSummary(
        out=target,
        trials=len(collection.trials),
        files={name: (target / name).stat().st_size for name in (TABLE, CURVES)},
        notes=tuple(notes(collection)),
    )


def _curves(trials: Sequence[Trial]) -> Iterator[tuple[str, list[CurveRow]]]:
    for trial in trials:
        if trial.record.curve_points:
            yield trial.id, _thin(trial)


def _thin(trial: Trial) -> list[CurveRow]:
    """Some points of each series, evenly over its rows, in the order of the curve."""
    table = trial.curve()
    columns: list[list[Any]] = [table[name].to_pylist() for name in table.column_names]
    rows: list[CurveRow] = list(zip(*columns, strict=True))
    series: dict[tuple[str, str], list[int]] = {}
    for place, (_, _, kind, name, _) in enumerate(rows):
        series.setdefault((kind, name), []).append(place)
    kept: list[int] = []
    for key, places in series.items():
        most = MOST_POINTS if key == ("validation", trial.primary) else _FEW_POINTS
        kept += np.asarray(places)[thinned(len(places), most)].tolist()
    # Times are no results; in full they would take up as much room as these.
    return [
        (step, round(seconds, 2), kind, name, value)
        for step, seconds, kind, name, value in (rows[place] for place in sorted(kept))
    ]
