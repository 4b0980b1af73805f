"""From trials to the leaderboard: one row per cell, marked, ranked and in order."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from irlbench.algorithm import TRACKS, WORLDS
from irlbench.metrics.statistics import CONFIDENCE, Interval, t_interval
from irlbench.reporting.cells import Cell, cells
from irlbench.reporting.escape import natural
from irlbench.reporting.facts import FactsOf, installed_facts
from irlbench.reporting.notes import made_with, notes
from irlbench.reporting.rows import Failure, Leaderboard, Row
from irlbench.reporting.trials import Collection, Trial, number

#: Seeds that a cell needs; with fewer its row is marked provisional.
SEEDS = {"gridworld": 10}
USUAL_SEEDS = 5

#: A task on which one of these reaches `SATURATED` tells algorithms apart no longer.
SATURATING = ("bc", "survival", "random")
SATURATED = 0.95


def leaderboard(collection: Collection, facts_of: FactsOf | None = None) -> Leaderboard:
    """Computes the leaderboard.

    Args:
        collection: The trials.
        facts_of: What is known about a task; None asks the registry.
    """
    conflicting = {conflict.trial for conflict in collection.conflicts}
    made = [
        _row(cell, conflicting) for cell in cells(collection.trials, facts_of or installed_facts)
    ]
    rows = _ordered(_ranked(_flagged(made)))
    return Leaderboard(
        rows=rows,
        failures=_failures(rows, {trial.id: trial for trial in collection.trials}),
        notes=notes(collection),
        made_with=made_with(collection.trials),
        trials={trial.id: trial for trial in collection.trials},
    )


def _row(cell: Cell, conflicting: set[str]) -> Row:
    trials, spec, first = cell.trials, cell.spec, cell.trials[0]
    world = first.record.world
    score, raw = _over(t.score for t in trials), _over(t.raw for t in trials)
    best = _over(t.best for t in trials)
    demonstrator = None
    if first.record.primary.get("high") != "demonstrator":
        demonstrator = _over(t.normalised(t.raw, "demonstrator") for t in trials)
    return Row(
        world=world,
        task=spec["task"],
        track=spec["track"],
        algorithm=spec["algorithm"],
        variant=cell.variant,
        n=len(trials),
        failed=sum(t.failed for t in trials),
        score=None if score is None else score.estimate,
        low=None if score is None else score.low,
        high=None if score is None else score.high,
        raw=None if raw is None else raw.estimate,
        raw_name=first.primary,
        provisional=len(trials) < SEEDS.get(world, USUAL_SEEDS),
        reference=spec["track"] == "reference",
        rank=None,
        seconds=_mean(t.cost("seconds") for t in trials),
        steps=_mean(t.cost("steps") for t in trials),
        gradient_steps=_mean(t.cost("gradient_steps") for t in trials),
        demonstrations=_mean(t.cost("demonstrations") for t in trials),
        preferences=_mean(t.cost("preferences") for t in trials),
        raw_low=None if raw is None else raw.low,
        raw_high=None if raw is None else raw.high,
        higher_is_better=first.record.primary.get("higher_is_better") is not False,
        low_anchor={"name": first.record.primary.get("low"), "value": first.anchor("low")},
        high_anchor={"name": first.record.primary.get("high"), "value": first.anchor("high")},
        score_demonstrator=None if demonstrator is None else demonstrator.estimate,
        best_validation=None if best is None else best.estimate,
        rewards=sum(t.record.has_reward and not t.failed for t in trials),
        metrics=_metrics(trials),
        peak_memory_bytes=max(_known(t.cost("peak_memory_bytes") for t in trials), default=None),
        saturated_by=(),
        conflicts=tuple(t.id for t in trials if t.id in conflicting),
        seeds=tuple(t.spec["seed"] for t in trials),
        trials=tuple(t.id for t in trials),
        setting=cell.setting,
        given=cell.given,
        task_hash=str(spec.get("task_hash")),
        summary=None if cell.facts is None else cell.facts.summary,
        note=None
        if cell.facts is None or cell.facts.hash != spec.get("task_hash")
        else cell.facts.note,
    )


def _metrics(trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """Each score of learnt rewards over the trials in which it is defined."""
    found = {}
    for name in sorted({name for trial in trials for name in trial.metrics}):
        known = _known(number(trial.metrics.get(name)) for trial in trials)
        if known:
            over = t_interval(known, CONFIDENCE)
            found[name] = {"mean": over.estimate, "low": over.low, "high": over.high, "n": over.n}
    return found


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return t_interval(known).estimate if known else None


def _over(values: Iterable[float | None]) -> Interval | None:
    """The interval over all trials; None where one of them has no value."""
    found = list(values)
    known = _known(found)
    return t_interval(known, CONFIDENCE) if known and len(known) == len(found) else None


def _flagged(rows: Sequence[Row]) -> list[Row]:
    """Names on each row what solves its task outright.

    What needs nothing (`random`, `survival`) speaks for the task; `bc` for its setting alone,
    since with fewer demonstrations the task may be hard.
    """
    of_task: dict[tuple[str, str], set[str]] = defaultdict(set)
    of_setting: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.algorithm in SATURATING and row.score is not None and row.score >= SATURATED:
            of_setting[row.setting].add(row.algorithm)
            if row.reference:
                of_task[row.task, row.task_hash].add(row.algorithm)
    return [
        dataclasses.replace(
            row,
            saturated_by=tuple(sorted(of_task[row.task, row.task_hash] | of_setting[row.setting])),
        )
        for row in rows
    ]


def _ranked(rows: Sequence[Row]) -> list[Row]:
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if not row.reference and row.score is not None:
            scores[row.setting].append(row.score)
    return [
        row
        if row.reference or row.score is None
        else dataclasses.replace(row, rank=1 + sum(s > row.score for s in scores[row.setting]))
        for row in rows
    ]


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """World, task, reference rows last, setting, rank: the same for the same trials, always."""
    worlds, tracks = _places(WORLDS), _places(TRACKS)

    def place(row: Row) -> tuple[Any, ...]:
        score = float("-inf") if row.score is None else row.score
        return (
            worlds(row.world),
            natural(row.task),
            row.reference,
            tracks(row.track),
            natural(row.given),
            row.setting,
            -score,
            natural(row.algorithm),
            natural(row.variant),
        )

    return sorted(rows, key=place)


def _places(known: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    places = {name: index for index, name in enumerate(known)}
    return lambda name: (places.get(name, len(places)), name)


def _failures(rows: Sequence[Row], trials: Mapping[str, Trial]) -> list[Failure]:
    found = []
    for row in rows:
        for trial in (trials[name] for name in row.trials):
            if trial.failed:
                log = f"trials/{trial.id}/log.txt" if _is_plain(trial.folder / "log.txt") else None
                found.append(
                    Failure(
                        trial=trial.id,
                        task=row.task,
                        algorithm=row.algorithm,
                        variant=row.variant,
                        seed=trial.spec["seed"],
                        error=trial.error,
                        source=trial.source,
                        log=log,
                    )
                )
    return found


def _is_plain(path: Path) -> bool:
    """Whether a page may lead there: a file that is in the record's folder itself."""
    return path.is_file() and not path.is_symlink()
