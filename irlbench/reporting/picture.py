"""The leaderboard as one picture, for a README: an SVG that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from irlbench.reporting import figures, table
from irlbench.reporting.escape import shorten
from irlbench.reporting.markup import Markup, element, join
from irlbench.reporting.rows import Leaderboard, Row

_WIDTH, _MARGIN, _LINE = 900, 28, 24
_NAME, _BARS, _BARS_END, _SCORE, _INTERVAL = 44, 344, 640, 676, 724
_MOST_ROWS = 60
_LEGEND = (
    "Dot: mean score over seeds, hollow where provisional; bar: its 95% interval. "
    "0: random or the base model; 1: the expert."
)
_STYLE = """
svg{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-size:14px;font-variant-numeric:tabular-nums}
text{fill:#1d2329}.quiet{fill:#656d76}.world{font-size:17px;font-weight:650}.task{font-weight:600}
.small{font-size:12px}.rule{stroke:#d8dee4}.anchor{stroke:#c3cad1}
.interval{fill:#0f6fa8;opacity:.32}.estimate{fill:#0f6fa8;stroke:#0f6fa8;stroke-width:1.5}
.provisional{fill:#fff}.beyond{fill:#0f6fa8;opacity:.6}
.reference .interval,.reference .beyond{fill:#656d76}
.reference .estimate{fill:#656d76;stroke:#656d76}.reference .provisional{fill:#fff}
"""


def picture(board: Leaderboard) -> str:
    """Draws the leaderboard: per world and task each row's name, interval and score.

    Args:
        board: The leaderboard; of very long ones the first rows are drawn, and it says so.

    Returns:
        The text of an SVG file.
    """
    parts: list[Markup] = []
    y = 30.0
    shown = board.rows[:_MOST_ROWS]
    for world, in_world in groupby(shown, key=lambda row: row.world):
        rows = list(in_world)
        drawn, y = _world(world, rows, y)
        parts.append(drawn)
    notes = [f"{mark.sign} {mark.meaning}" for mark in table.marks_of(shown)]
    if len(board.rows) > len(shown):
        notes.append(f"{len(board.rows) - len(shown)} more rows in leaderboard.md")
    notes.insert(0, _LEGEND)
    for note in notes:
        parts.append(_text(_MARGIN, y, note, "quiet small"))
        y += 18
    height = int(y + 8)
    svg = element(
        "svg",
        element("title", "irlbench leaderboard"),
        element("desc", f"{len(board.rows)} rows over {', '.join(board.worlds)}"),
        Markup(f"<style>{_STYLE}</style>"),
        element("rect", width=_WIDTH, height=height, rx=8, fill="#ffffff"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
    )
    return f"{svg}\n"


def _world(world: str, rows: Sequence[Row], y: float) -> tuple[Markup, float]:
    axis = figures.score_axis(rows, _BARS, _BARS_END)
    parts = [_text(_MARGIN, y + 6, world, "world")]
    parts += [_text(axis.at(at), y + 6, str(at), "quiet small", "middle") for at in (0, 1)]
    parts.append(_text(_SCORE - 8, y + 6, "score", "quiet small"))
    parts.append(_text(_INTERVAL, y + 6, "95% interval", "quiet small"))
    parts.append(_rule(y + 15))
    y += 38
    for task, of_task in groupby(rows, key=lambda row: row.name):
        parts.append(_text(_MARGIN, y, shorten(task, 44), "task"))
        y += _LINE
        top = y
        for row in of_task:
            parts.append(_row(row, axis, y))
            y += _LINE
        parts.insert(0, figures.anchor_lines(axis, top - 18, y - 14))
        y += 6
    return join(*parts), y + 14


def _row(row: Row, axis: figures.Axis, y: float) -> Markup:
    name = shorten(f"{row.algorithm} · {row.variant}" if row.variant else row.algorithm, 36)
    score, interval = table.score_parts(row)
    whole, point, fraction = score.partition(".")
    quiet = "quiet" if row.reference else ""
    signs = table.signs(row)
    return join(
        _text(_NAME, y, table.rank(row), "quiet small") if row.rank is not None else None,
        _text(_NAME + 22, y, name, quiet),
        figures.interval_marks(row, axis, y - 5),
        # The two halves of the number meet at its point, so that points stand in line.
        _text(_SCORE, y, whole, quiet, "end"),
        _text(_SCORE, y, point + fraction, quiet),
        _text(_INTERVAL, y, f"{interval} {signs}".strip(), "quiet"),
    )


def _text(x: float, y: float, content: str, class_: str = "", anchor: str | None = None) -> Markup:
    return element(
        "text", content, x=round(x, 1), y=round(y, 1), class_=class_ or None, text_anchor=anchor
    )


def _rule(y: float) -> Markup:
    return element("line", class_="rule", x1=_MARGIN, x2=_WIDTH - _MARGIN, y1=y, y2=y)
