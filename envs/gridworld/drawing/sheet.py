"""Draws a gridworld task beside what algorithms found in it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.drawing import palette
from irlbench.envs.gridworld.drawing.panel import Panel
from irlbench.envs.gridworld.drawing.shown import Shown
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.tabular.rewards import expected_reward

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Points, which are pixels on a page at its full width.
_PANEL, _GAP, _BETWEEN, _MARGIN = 172.0, 16.0, 6.0, 8.0
# Of a strip, and of the strips of all cells above each other.
_STRIP, _STRIPS = 20.0, 190.0
_LEGEND = 96.0
_MOST_IN_A_LINE = 6


@dataclass(frozen=True, eq=False)
class Card:
    """One column of the figure: a head of two or three lines, and two panels below it.

    Attributes:
        label: The first line.
        detail: The last line.
        shown: What is drawn.
        note: The line between, where there is something to say.
    """

    label: str
    detail: str
    shown: Shown
    note: str = ""


def draw(model: TabularModel, title: str, expert: Card, cards: Sequence[Card]) -> str:
    """Draws the true reward, the expert, and each solution.

    Args:
        model: The world.
        title: Of the file, for those who do not see it.
        expert: The expert's policy and the true reward, canonical; its colours are the scale.
        cards: The solutions.

    Returns:
        The text of an SVG file; the same for the same arguments.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.hashsalt": "irlbench",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Arial"],
        "image.composite_image": False,
        "text.parse_math": False,
        "text.usetex": False,
    }
    with matplotlib.rc_context(style):
        sheet = _Sheet(model, expert, cards)
        figure = Figure(figsize=(sheet.width / 72, sheet.height / 72), dpi=72, facecolor="white")
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        sheet.draw(axes)
        axes.set(xlim=(0, sheet.width), ylim=(sheet.height, 0))
        written = io.StringIO()
        described = {"Date": None, "Creator": None, "Title": title}
        with warnings.catch_warnings():
            # Letters are measured here, and drawn by whoever shows the file, with more fonts.
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure.savefig(written, format="svg", metadata=described)
    return _compact(written.getvalue())


class _Sheet:
    """Where everything stands. Coordinates are points from the upper left corner."""

    def __init__(self, model: TabularModel, expert: Card, cards: Sequence[Card]) -> None:
        self._model, self._expert, self._cards = model, expert, cards
        lines, places = len(model.layout), max(map(len, model.layout))
        # Cells that one moves between are square; others hold a strip per action.
        strips = min(_STRIPS, _STRIP * model.actions * lines)
        height = strips if model.moves is None else _PANEL * lines / places
        self._panel = Panel(model, _PANEL, height)
        columns = 2 + len(cards)
        self._in_a_line = ceil(columns / ceil(columns / _MOST_IN_A_LINE))
        self._head = 47.0 if any(card.note for card in cards) else 34.0
        line = self._head + 2 * height + _BETWEEN + _GAP
        self._step = (_PANEL + _GAP, line)
        # The first line is as high as what stands in its first column, the legend, needs.
        self._more = max(0.0, _LEGEND - height)
        lines_of_columns = ceil(columns / self._in_a_line)
        self.width = 2 * _MARGIN + self._in_a_line * self._step[0] - _GAP
        self.height = 2 * _MARGIN + self._more + lines_of_columns * line - _GAP

    def draw(self, axes: Axes) -> None:
        """Draws everything."""
        truth = self._expert.shown
        assert truth.reward is not None
        scale = (float(np.nanmax(np.abs(truth.reward))) or 1.0, float(self._visits(truth).max()))
        self._truth(axes)
        for index, card in enumerate([self._expert, *self._cards], start=1):
            self._column(axes, index, card, *scale)

    def _column(self, axes: Axes, index: int, card: Card, most: float, often: float) -> None:
        """The expert or a solution: reward above, occupancy and policy below.

        Args:
            axes: Where.
            index: Which column.
            card: What it shows.
            most: The reward that has the full colour.
            often: The occupancy that has it.
        """
        panel, shown = self._panel, card.shown
        x, y = self._heading(axes, index, card.label, card.note, card.detail)
        if shown.reward is None:
            panel.blank(axes, x, y, "no reward learnt")
        else:
            panel.fill(axes, x, y, palette.signed(shown.reward / most))
            if not np.nan_to_num(shown.reward).any():
                panel.blank(axes, x, y, "constant")
        y += panel.height + _BETWEEN
        panel.fill(axes, x, y, palette.amounts(self._visits(shown) / often))
        panel.arrows(axes, x, y, shown.policy)

    def _visits(self, shown: Shown) -> NDArray[np.float64]:
        by_action = self._model.moves is None
        return shown.occupancy if by_action else shown.occupancy.sum(axis=1)

    def _heading(
        self, axes: Axes, index: int, label: str, note: str, detail: str
    ) -> tuple[float, float]:
        """Writes the head of a column, and says where its panels begin."""
        line, column = divmod(index, self._in_a_line)
        x, y = _MARGIN + column * self._step[0], _MARGIN + line * self._step[1]
        y += self._more if line else 0.0
        axes.text(x, y + 12, _short(label, 22), size=11, color=palette.INK, weight="bold")
        axes.text(x, y + 26, _short(note or detail, 34), size=9, color=palette.QUIET)
        if note:
            axes.text(x, y + 39, _short(detail, 34), size=9, color=palette.QUIET)
        return x, y + self._head

    def _truth(self, axes: Axes) -> None:
        """The first column: the true reward as it is, and how to read the others."""
        model, panel = self._model, self._panel
        values = model.rewards
        if values.ndim == 3 or (values.ndim == 2 and model.moves is not None):
            values = expected_reward(model.dynamics(1, 1.0), model.rewards)
            values = values if model.moves is None else values.mean(axis=1)
        low, high = float(values.min()), float(values.max())
        detail = f"from {low:.3g} to {high:.3g}" if low < high else f"{low:.3g} everywhere"
        x, y = self._heading(axes, 0, "true reward", "", detail)
        shares = values / (float(np.abs(values).max()) or 1.0)
        panel.fill(axes, x, y, palette.signed(shares))
        if values.ndim == 1:
            panel.letters(axes, x, y, values, shares)
        self._legend(axes, x, y + panel.height + _BETWEEN)

    def _legend(self, axes: Axes, x: float, y: float) -> None:
        ramp = np.linspace(0, 1, 64)[None]
        for words, colours, ends in (
            ("upper: canonical reward", palette.signed(2 * ramp - 1), ("bad", "0", "good")),
            ("lower: occupancy", palette.amounts(ramp), ("never", "", "often")),
        ):
            axes.text(x, y + 9, words, size=9, color=palette.INK)
            extent = (x, x + _PANEL, y + 22, y + 13)
            axes.imshow(colours, extent=extent, interpolation="none", aspect="auto")
            aligned: tuple[tuple[float, Any], ...] = ((0, "left"), (0.5, "center"), (1, "right"))
            for (share, align), end in zip(aligned, ends, strict=True):
                at = (x + share * _PANEL, y + 31)
                axes.text(*at, end, size=8, color=palette.QUIET, ha=align)
            y += 38
        axes.text(x, y + 9, self._panel.how_to_read, size=9, color=palette.INK)


def _compact(svg: str) -> str:
    """The same picture with paths on one line, which is a quarter less to write."""
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"\s*([ML])\s+", r"\1", path[0]), svg)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
