"""Learning curves: the validation scores along the way, normalised, one line per seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irlbench.metrics.statistics import normalise
from irlbench.reporting.trials import Trial

#: Points of one line on a page; more cannot be told apart there.
MOST_POINTS = 60
_MOST_ROWS = 5_000_000
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Curve:
    """One trial's learning curve.

    Attributes:
        seed: Of the trial.
        steps: Environment steps or, offline, parameter updates; `[points]`, rising.
        scores: Normalised validation scores, `[points]`.
    """

    seed: int
    steps: NDArray[np.float64]
    scores: NDArray[np.float64]


def read_curves(trials: Iterable[Trial]) -> tuple[list[Curve], list[str]]:
    """The curves of a cell.

    Args:
        trials: Its trials.

    Returns:
        The curves that hold a point, and a sentence for each file that could not be read.
    """
    found, problems = [], []
    for trial in trials:
        low, high = trial.anchor("low"), trial.anchor("high")
        if not trial.record.curve_points or low is None or high is None or low == high:
            continue
        try:
            steps, raw = _read(trial.folder / "curve.parquet", trial.primary)
        except OSError as error:
            problems.append(_problem(trial, error.strerror or "cannot be read"))
            continue
        except (ValueError, TypeError, KeyError, NotImplementedError) as error:
            problems.append(_problem(trial, str(error) or type(error).__name__))
            continue
        if steps.size:
            scores = np.asarray(normalise(raw, low, high))
            kept = thinned(len(steps), MOST_POINTS)
            found.append(Curve(trial.spec["seed"], steps[kept], scores[kept]))
    return found, problems


def _problem(trial: Trial, reason: str) -> str:
    return f"{trial.source}: the curve of trial {trial.id[:12]} is left out: {reason}"


def _read(path: Path, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from pyarrow import BufferReader, compute, parquet

    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"larger than {_MOST_BYTES // 2**20} MiB")
    # Read by ourselves: an error of pyarrow's would name the absolute path.
    with parquet.ParquetFile(BufferReader(path.read_bytes())) as file:
        if file.metadata.num_rows > _MOST_ROWS:
            raise ValueError(f"{file.metadata.num_rows} rows; at most {_MOST_ROWS} are read")
        table = file.read(columns=["step", "kind", "name", "value"], use_threads=False)
    wanted = compute.and_(
        compute.equal(table["kind"], "validation"), compute.equal(table["name"], name)
    )
    table = table.filter(wanted)
    steps = table["step"].to_numpy().astype(np.float64)
    values = table["value"].to_numpy().astype(np.float64)
    usable = np.isfinite(steps) & np.isfinite(values) & (np.abs(values) < 1e100)
    order = np.argsort(steps[usable], kind="stable")
    return steps[usable][order], values[usable][order]


def thinned(points: int, most: int) -> NDArray[np.int64]:
    """Indices of at most so many evenly spaced points, the first and the last among them."""
    if points <= most:
        return np.arange(points)
    return np.unique(np.linspace(0, points - 1, most).round().astype(np.int64))


def longest(curves: Sequence[Curve]) -> float:
    """The last step that any of the curves reaches."""
    return max((float(curve.steps[-1]) for curve in curves), default=0.0)
