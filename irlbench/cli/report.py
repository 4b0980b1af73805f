"""`irlbench report`: from records to a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irlbench.cli.options import Quiet, Verbose
from irlbench.cli.output import VERBOSITY, complain, count, heading, say, shown_path, table

if TYPE_CHECKING:
    from irlbench.reporting.rows import Leaderboard, Row

_BAR = 12


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="What `irlbench run` wrote to; several are merged.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where it goes; else `report` in the first DIR.",
            show_default=False,
        ),
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Make the leaderboard, print it, and make the page to open.

    Writes leaderboard.md, leaderboard.csv, leaderboard.json, figures and index.html.
    """
    from irlbench.reporting import report as write

    written = write(folders, out)
    if not VERBOSITY.quiet:
        show_leaderboard(written.board)
    for note in written.notes:
        complain(note)
    if written.failed:
        complain(f"{count(written.failed, 'trial')} failed; each counts as the low reference")
    names = [str(p.relative_to(written.out)) for p in written.files if p != written.page]
    say(f"{count(written.trials, 'trial')} in {shown_path(written.out)}: {', '.join(names)}")
    say(f"The page: {shown_path(written.page)}")


def show_leaderboard(board: Leaderboard) -> None:
    """Prints a leaderboard narrow enough for a terminal, one table per task."""
    from irlbench.reporting.table import anchors, marks_of

    tasks: dict[str, list[Row]] = {}
    for row in board.rows:
        tasks.setdefault(row.task, []).append(row)
    for task, rows in tasks.items():
        heading(task)
        for line in dict.fromkeys(anchors(row) for row in rows):
            say(f"  {line}")
        _show_rows(rows)
        say()
    marks = marks_of(board.rows)
    for mark in marks:
        say(f"{mark.sign} {mark.meaning}")
    if marks:
        say()


def _show_rows(rows: Sequence[Row]) -> None:
    from irlbench.reporting import numbers
    from irlbench.reporting.table import columns, rank, score_parts, signs

    scores, intervals = zip(*(score_parts(row) for row in rows), strict=True)
    several = len({row.track for row in rows if not row.reference}) > 1
    figures = [c for c in columns(rows) if c.key in ("demonstrator", "raw", "seeds", "time")]
    header = ["rank", "algorithm", *(["track"] if several else []), "score", "", "0", ""]
    cells = [
        [
            rank(row),
            f"{row.algorithm} ({row.variant})" if row.variant else row.algorithm,
            *([row.track] if several else []),
            score,
            interval,
            _bar(row.score),
            signs(row),
        ]
        for row, score, interval in zip(rows, numbers.align(scores), intervals, strict=True)
    ]
    first = len(header)
    for column in figures:
        header.append(column.title)
        for cell, row in zip(cells, rows, strict=True):
            cell.append(column.of(row))
    header[first - 2] = "0".ljust(_BAR - 1) + "1"
    table(cells, header, right=[0, *range(first, len(header))])


def _bar(score: float | None) -> str:
    """A score as a bar from 0 to 1; what lies beyond is cut."""
    if score is None:
        return ""
    eighths = round(min(max(score, 0.0), 1.0) * _BAR * 8)
    rest = "▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else ""
    return "█" * (eighths // 8) + rest
