"""Learning curves: the validation scores along the way, normalised, one line per seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import DataError
from irlbench.metrics.statistics import normalise
from irlbench.reporting.trials import Trial

#: Points of one line on a page; more cannot be told apart there.
MOST_POINTS = 60


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
            steps, raw = _read(trial)
        except DataError as error:
            problems.append(
                f"{trial.source}: the curve of trial {trial.id[:12]} is left out: {error}"
            )
            continue
        if steps.size:
            scores = np.asarray(normalise(raw, low, high))
            kept = thinned(len(steps), MOST_POINTS)
            found.append(Curve(trial.spec["seed"], steps[kept], scores[kept]))
    return found, problems


def _read(trial: Trial) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and raw primary scores of the validations, in order of steps."""
    table = trial.curve()
    wanted = _equal(table["kind"], "validation") & _equal(table["name"], trial.primary)
    steps = table["step"].to_numpy()[wanted].astype(np.float64)
    values = table["value"].to_numpy()[wanted]
    usable = np.isfinite(values) & (np.abs(values) < 1e100)
    order = np.argsort(steps[usable], kind="stable")
    return steps[usable][order], values[usable][order]


def _equal(column: Any, text: str) -> NDArray[np.bool_]:
    """Where a dictionary encoded column holds a text; the texts are not written out for it."""
    from pyarrow import scalar

    rows = [
        chunk.indices.to_numpy()
        == chunk.dictionary.index(scalar(text, chunk.dictionary.type)).as_py()
        for chunk in column.chunks
    ]
    return np.concatenate([np.zeros(0, dtype=bool), *rows])


def thinned(points: int, most: int) -> NDArray[np.int64]:
    """Indices of at most so many evenly spaced points, the first and the last among them."""
    if points <= most:
        return np.arange(points)
    return np.unique(np.linspace(0, points - 1, most).round().astype(np.int64))


def longest(curves: Sequence[Curve]) -> float:
    """The last step that any of the curves reaches."""
    return max((float(curve.steps[-1]) for curve in curves), default=0.0)
