"""Drawings as SVG: interval bars and learning curves. They draw numbers and compute none.

Colours come from the style sheet of the page (or of the picture) by class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from irlbench.reporting import numbers
from irlbench.reporting.curves import Curve, longest
from irlbench.reporting.markup import Markup, element, join
from irlbench.reporting.rows import Row

#: Scores beyond these are drawn at the edge.
_LOWEST, _HIGHEST = -0.5, 1.5


@dataclass(frozen=True)
class Axis:
    """A linear scale from scores to pixels.

    Attributes:
        low: Score at the beginning.
        high: Score at the end.
        start: Its pixel.
        end: The end's pixel.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a score, held within the axis."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether a score lies on the axis."""
        return self.low <= value <= self.high


def score_axis(rows: Sequence[Row], start: float, end: float) -> Axis:
    """An axis that shows 0, 1 and the rows' intervals, as far as they are in reach.

    Args:
        rows: The rows that will stand under each other.
        start: Pixel of the beginning.
        end: Pixel of the end.
    """
    values = [v for row in rows for v in (row.score, row.low, row.high) if v is not None]
    low = max(min([0.0, *values]), _LOWEST)
    high = min(max([1.0, *values]), _HIGHEST)
    margin = 0.04 * (high - low)
    return Axis(low - margin, high + margin, start, end)


def interval_marks(row: Row, axis: Axis, y: float) -> Markup:
    """A row's interval as a bar with a dot at the estimate; an empty dot where provisional."""
    if row.score is None:
        return Markup("")
    group = "reference" if row.reference else "ranked"
    parts: list[Markup] = []
    if row.low is not None and row.high is not None:
        left, right = axis.at(row.low), axis.at(row.high)
        parts.append(
            element(
                "rect",
                class_="interval",
                x=round(left, 1),
                y=y - 3,
                width=round(max(right - left, 1.0), 1),
                height=6,
                rx=3,
            )
        )
        parts += [
            _arrow(axis.at(end), y, 1 if end > axis.high else -1)
            for end in (row.low, row.high)
            if not axis.holds(end)
        ]
    dot = "estimate provisional" if row.provisional else "estimate"
    parts.append(element("circle", class_=dot, cx=round(axis.at(row.score), 1), cy=y, r=4))
    return element("g", *parts, class_=group)


def _arrow(x: float, y: float, direction: int) -> Markup:
    """Says that an interval goes on beyond the axis."""
    base, tip = x - 5 * direction, x + 1 * direction
    return element(
        "path", class_="beyond", d=f"M{base:.1f} {y - 5}L{tip:.1f} {y}L{base:.1f} {y + 5}Z"
    )


def anchor_lines(axis: Axis, top: float, bottom: float) -> Markup:
    """Upright lines at scores 0 and 1."""
    return join(
        *(
            element("line", class_="anchor", x1=x, x2=x, y1=top, y2=bottom)
            for x in (round(axis.at(0), 1), round(axis.at(1), 1))
        )
    )


def interval_bar(row: Row, axis: Axis, description: str) -> Markup:
    """One row's interval as a picture of its own, for a cell of a table.

    Args:
        row: The row.
        axis: Shared by the table; its pixels are the picture's.
        description: What the picture shows, for who cannot see it.
    """
    width, height = math.ceil(axis.end + 6), 22
    return element(
        "svg",
        element("title", description),
        anchor_lines(axis, 0, height),
        interval_marks(row, axis, height / 2),
        class_="bar",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
    )


def bar_scale(axis: Axis) -> Markup:
    """The 0 and 1 over a column of interval bars."""
    width = math.ceil(axis.end + 6)
    labels = (
        element("text", str(at), x=round(axis.at(at), 1), y=11, text_anchor="middle")
        for at in (0, 1)
    )
    return element(
        "svg",
        *labels,
        class_="scale",
        viewBox=f"0 0 {width} 14",
        width=width,
        height=14,
        aria_hidden="true",
    )


def curve_axis(curves: Sequence[Curve]) -> Axis:
    """An upright axis for learning curves that stand beside each other."""
    low = max(min([0.0, *(float(curve.scores.min()) for curve in curves)]), _LOWEST)
    high = min(max([1.0, *(float(curve.scores.max()) for curve in curves)]), _HIGHEST)
    margin = 0.06 * (high - low)
    return Axis(low - margin, high + margin, start=112.0, end=6.0)


def learning_curve(curves: Sequence[Curve], axis: Axis, title: str, description: str) -> Markup:
    """One cell's learning curve: a thin line per seed between the two anchors.

    Args:
        curves: One per seed.
        axis: Of scores, in pixels from the bottom up (`start` below `end`).
        title: Names the cell.
        description: What the picture shows, for who cannot see it.
    """
    width, height, left, right = 260, int(axis.start) + 18, 22, 252
    last = longest(curves) or 1.0
    steps = Axis(0.0, last, left, right)
    guides = [
        join(
            element(
                "line", class_="anchor", x1=left, x2=right, y1=round(axis.at(at), 1),
                y2=round(axis.at(at), 1),
            ),
            element("text", str(at), x=left - 6, y=round(axis.at(at) + 4, 1), text_anchor="end"),
        )
        for at in (0, 1)
    ]  # fmt: skip
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *guides,
        *(_line(curve, steps, axis) for curve in curves),
        element("text", "0", x=left, y=height - 4, text_anchor="start"),
        element(
            "text", f"step {numbers.count(last)}", x=right, y=height - 4, text_anchor="end"
        ),
        class_="curve",
        viewBox=f"0 0 {width} {height}",
        role="img",
    )  # fmt: skip


def _line(curve: Curve, steps: Axis, scores: Axis) -> Markup:
    points = [
        f"{steps.at(float(step)):.1f} {scores.at(float(score)):.1f}"
        for step, score in zip(curve.steps, curve.scores, strict=True)
    ]
    line = element("path", class_="line", d="M" + "L".join(points))
    if len(points) > 8:
        return line
    # Few points: show where they are, or a single one would not be seen at all.
    dots = (
        element("circle", class_="point", cx=x, cy=y, r=2)
        for x, y in (point.split() for point in points)
    )
    return join(line, *dots)
