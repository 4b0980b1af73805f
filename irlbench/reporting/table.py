"""What the tables say, in words and digits, before any file format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from irlbench.reporting import numbers
from irlbench.reporting.escape import shorten
from irlbench.reporting.leaderboard import SATURATED, SATURATING, SEEDS, USUAL_SEEDS
from irlbench.reporting.rows import Row

HOW_TO_READ = (
    "A score of 0 is the task's low reference (random, or the untrained base model), 1 its "
    "expert; the interval holds the true mean over seeds in 95 of 100 repetitions (Student's t). "
    "Ranks compare only algorithms that were given the same: one task, one track, one budget. A row "
    "that names no settings ran with the algorithm's default configuration, one for the whole world, "
    "tuned by no protocol."
)


@dataclass(frozen=True)
class Mark:
    """A sign beside a number and what it means.

    Attributes:
        sign: What is printed.
        name: In a word.
        meaning: The footnote.
        of: Whether a row bears it.
    """

    sign: str
    name: str
    meaning: str
    of: Callable[[Row], bool]


MARKS = (
    Mark(
        "†",
        "provisional",
        f"provisional: fewer than {USUAL_SEEDS} seeds ("
        + ", ".join(f"{n} in {world}" for world, n in SEEDS.items())
        + ")",
        lambda row: row.provisional,
    ),
    Mark(
        "‡",
        "failed trials",
        "some trials failed; each counts as the low reference",
        lambda row: row.failed > 0,
    ),
    Mark(
        "§",
        "saturated",
        f"saturated: {', '.join(SATURATING[:-1])} or {SATURATING[-1]} reaches {SATURATED} on "
        "this task, which tells algorithms apart no longer",
        lambda row: bool(row.saturated_by),
    ),
    Mark(
        "¶",
        "conflict",
        "two directories hold different results of one trial; the first one counts",
        lambda row: bool(row.conflicts),
    ),
)


def signs(row: Row) -> str:
    """The signs of a row's marks, in order."""
    return "".join(mark.sign for mark in MARKS if mark.of(row))


def marks_of(rows: Sequence[Row]) -> list[Mark]:
    """The marks that any of the rows bears."""
    return [mark for mark in MARKS if any(mark.of(row) for row in rows)]


@dataclass(frozen=True)
class Column:
    """A column of figures beside the score.

    Attributes:
        key: Its short name, for styles.
        title: Its heading.
        help: What it holds.
        of: A row's figure as text; empty where there is none.
    """

    key: str
    title: str
    help: str
    of: Callable[[Row], str]


def _optional(value: float | None, write: Callable[[float], str]) -> str:
    return "" if value is None else write(value)


def _positive(value: float | None) -> str:
    return numbers.count(value) if value else ""


def _raw(row: Row) -> str:
    return _optional(row.raw, lambda value: numbers.raw(value, row.raw_low, row.raw_high))


def _seeds(row: Row) -> str:
    return f"{row.n} ({row.failed} failed)" if row.failed else str(row.n)


_COLUMNS = (
    Column(
        "demonstrator",
        "vs demonstrator",
        "score where the demonstrator of the imported demonstrations is 1",
        lambda row: _optional(row.score_demonstrator, lambda v: numbers.fixed(v, 2)),
    ),
    Column("raw", "raw score", "mean of the task's own measure", _raw),
    Column("seeds", "seeds", "trials, one per seed", _seeds),
    Column("demos", "demos", "demonstrations given", lambda row: _positive(row.demonstrations)),
    Column("pairs", "pairs", "preferences given", lambda row: _positive(row.preferences)),
    Column("steps", "steps", "environment steps; on text, tokens", lambda r: _positive(r.steps)),
    Column("updates", "updates", "parameter updates", lambda row: _positive(row.gradient_steps)),
    Column(
        "time",
        "time",
        "wall-clock time of learning, mean over trials",
        lambda row: _optional(row.seconds, numbers.duration),
    ),
)


def columns(rows: Sequence[Row]) -> list[Column]:
    """The columns in which at least one of the rows has a figure.

    Where all rows have the same measure, its column bears the measure's name.
    """
    found = [column for column in _COLUMNS if any(column.of(row) for row in rows)]
    measures = {row.raw_name for row in rows}
    if len(measures) != 1:
        return found
    title = f"mean {shorten(measures.pop(), 40)}"
    return [dataclasses.replace(c, title=title) if c.key == "raw" else c for c in found]


def score_parts(row: Row) -> tuple[str, str]:
    """The score and its interval as text; `("n/a", "")` where the anchors are not known."""
    if row.score is None:
        return "n/a", ""
    return numbers.with_interval(row.score, row.low, row.high)


def anchors(row: Row) -> str:
    """How the row's raw score is normalised, in words."""
    ends = [
        f"{at} = {shorten(anchor.get('name'), 40)} ({value})"
        for at, anchor in (("0", row.low_anchor), ("1", row.high_anchor))
        if (value := _optional(anchor.get("value"), lambda v: f"{v:.4g}"))
    ]
    better = "" if row.higher_is_better else ", lower is better"
    return f"scored by {shorten(row.raw_name, 40)}{better}" + "".join(f"; {end}" for end in ends)


def rank(row: Row) -> str:
    """The rank, "ref" for a reference row, "-" where nothing can be ranked."""
    if row.reference:
        return "ref"
    return "-" if row.rank is None else str(row.rank)
