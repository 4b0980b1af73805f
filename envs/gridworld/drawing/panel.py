"""One picture of a world: its cells in colours, arrows and letters on them."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.drawing import palette
from irlbench.envs.gridworld.tabular_model import TabularModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Where cells are smaller, one arrow stands for several, and there are no letters.
_ROOM = 12.0
# Moves that are less likely are not drawn; ones as close as this are equally likely.
_LEAST_SHOWN, _TIE = 0.02, 1e-6
# Shorter arrows would be dots, as a share of the longest.
_LEAST_LENGTH = 0.12
# A world of so few states has its true rewards written into it.
_FEW = 12


class Panel:
    """Draws a world in a rectangle. Coordinates are points, y downwards.

    Args:
        model: The world.
        width: Of the rectangle.
        height: Of the rectangle.
    """

    def __init__(self, model: TabularModel, width: float, height: float) -> None:
        self._model, self.width, self.height = model, width, height
        self._lines, self._places = len(model.layout), max(map(len, model.layout))
        self._cell = np.array([width / self._places, height / self._lines])
        #: Cells along each side that one arrow stands for.
        self._together = ceil(_ROOM / float(self._cell.min()))

    @property
    def how_to_read(self) -> str:
        """What the strips or arrows mean."""
        if self._model.moves is None:
            return "a strip per action, the first on top"
        if self._together > 1:
            return f"arrows: mean move of {self._together} x {self._together} cells"
        return "arrows: moves; the likeliest black"

    def fill(self, axes: Axes, x: float, y: float, colours: NDArray[np.float64]) -> None:
        """Fills the cells.

        Args:
            axes: Where.
            x: Left.
            y: Top.
            colours: `[states, 4]`, or `[states, actions, 4]` for strips, the first on top.
        """
        strips = colours if colours.ndim == 3 else colours[:, None]
        parts = strips.shape[1]
        cells = np.ones((self._lines, parts, self._places, 4))
        for row, line in enumerate(self._model.layout):
            for column, letter in enumerate(line):
                if letter == "#":
                    cells[row, :, column] = palette.WALL
        rows, columns = self._model.cells.T
        cells[rows, :, columns] = strips
        image = cells.reshape(self._lines * parts, self._places, 4)
        # A pixel is about a point: some viewers blur what they enlarge, and lines stay visible.
        sizes = zip((self.height, self.width), image.shape, strict=False)
        times = [max(1, round(size / count)) for size, count in sizes]
        image = image.repeat(times[0], axis=0).repeat(times[1], axis=1)
        if self._model.moves is None:
            self._border(image.reshape(self._lines, -1, self._places, times[1], 4))
        axes.imshow(
            (image * 255).round().astype(np.uint8),
            extent=(x, x + self.width, y + self.height, y),
            interpolation="none",
            aspect="auto",
        )
        self._frame(axes, x, y)

    def blank(self, axes: Axes, x: float, y: float, text: str) -> None:
        """Says why there is nothing to see."""
        self._frame(axes, x, y)
        middle = (x + self.width / 2, y + self.height / 2)
        axes.text(*middle, text, size=9, color=palette.QUIET, ha="center", va="center")

    def letters(
        self,
        axes: Axes,
        x: float,
        y: float,
        values: NDArray[np.float64],
        shares: NDArray[np.float64],
    ) -> None:
        """Writes the letters of the map, and of few states their values.

        Args:
            axes: Where.
            x: Left.
            y: Top.
            values: `[states]`.
            shares: Of the largest value, from -1 to 1: the cells' colours, `[states]`.
        """
        if self._together > 1:
            return
        middles = self._middles(x, y)
        for state, (row, column) in enumerate(self._model.cells):
            letter = self._model.layout[row][column].strip(".")
            if self._model.states <= _FEW:
                letter = f"{letter} {values[state]:.3g}"
            axes.text(
                middles[state, 0],
                middles[state, 1],
                letter,
                size=min(9.0, 0.8 * self._cell[1]),
                color=palette.INK if abs(shares[state]) < 0.6 else "white",
                ha="center",
                va="center_baseline",
            )

    def arrows(self, axes: Axes, x: float, y: float, policy: NDArray[np.float64]) -> None:
        """Draws moves, as long as the square root of their probability; the likeliest black.

        Args:
            axes: Where.
            x: Left.
            y: Top.
            policy: `[states, actions]`.
        """
        model = self._model
        if model.moves is None:
            return
        ways = np.array(model.moves, dtype=np.float64)[:, ::-1]
        middles = self._middles(x, y)
        half = 0.46 * self._together * float(self._cell.min())
        if self._together > 1:
            middles, mean = self._blocks(middles, policy @ ways)
            self._lay(axes, _arrows(middles, half * mean, head=half), palette.LIKELIEST, 0.8)
            return
        likeliest = policy >= policy.max(axis=1, keepdims=True) - _TIE
        likeliest &= ~likeliest.all(axis=1, keepdims=True)
        lengths = half * np.sqrt(policy)
        for chosen, colour, line, head in (
            (~likeliest & (policy >= _LEAST_SHOWN), palette.LIKELY, 0.6, 0.0),
            (likeliest, palette.LIKELIEST, 0.9, half),
        ):
            state, action = np.nonzero(chosen & ways.any(axis=1))
            steps = lengths[state, action, None] * ways[action]
            self._lay(axes, _arrows(middles[state], steps, head=head), colour, line)

    def _border(self, pixels: NDArray[np.float64]) -> None:
        """Draws the edges of the cells into an image, `[lines, height, places, width, 4]`."""
        rows, columns = self._model.cells.T
        for step in (0, 1):
            below, right = rows + step < self._lines, columns + step < self._places
            pixels[rows[below] + step, 0, columns[below]] = palette.GRID
            pixels[rows[right], :, columns[right] + step, 0] = palette.GRID

    def _middles(self, x: float, y: float) -> NDArray[np.float64]:
        return np.array([x, y]) + (self._model.cells[:, ::-1] + 0.5) * self._cell

    def _blocks(
        self, middles: NDArray[np.float64], moves: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Middles and mean moves of blocks of cells, `[blocks, 2]` each."""
        _, block = np.unique(self._model.cells // self._together, axis=0, return_inverse=True)
        block = block.ravel()
        found = [
            np.stack([np.bincount(block, column) for column in array.T], axis=1)
            for array in (middles, moves)
        ]
        cells = np.bincount(block)[:, None]
        return found[0] / cells, found[1] / cells

    def _frame(self, axes: Axes, x: float, y: float) -> None:
        around = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
        outline = np.array([x, y]) + around * [self.width, self.height]
        self._lay(axes, [outline], palette.EDGE, 0.8)

    def _lay(self, axes: Axes, lines: list[NDArray[np.float64]], colour: str, width: float) -> None:
        """Draws many lines as one path, which keeps the file small."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        if not lines:
            return
        points = np.round(np.concatenate(lines), 1)
        codes = np.full(len(points), Path.LINETO)
        codes[np.cumsum([0, *map(len, lines[:-1])])] = Path.MOVETO
        axes.add_patch(
            PathPatch(Path(points, codes), fill=False, edgecolor=colour, linewidth=width)
        )


def _arrows(
    origins: NDArray[np.float64], steps: NDArray[np.float64], head: float
) -> list[NDArray[np.float64]]:
    """Lines from origins; with a head, a stroke that comes back on either side of the tip.

    Args:
        origins: `[arrows, 2]`.
        steps: From there to the tips, `[arrows, 2]`.
        head: Length of an arrow that a head belongs on; 0 for none.
    """
    found = []
    for origin, step in zip(origins, steps, strict=True):
        length, tip = float(np.hypot(*step)), origin + step
        if length <= _LEAST_LENGTH * head:
            continue
        found.append(np.array([origin, tip]))
        if head:
            along = step / length * min(0.36 * head, 0.7 * length)
            across = 0.85 * np.array([-along[1], along[0]])
            found.append(np.array([tip - along + across, tip, tip - along - across]))
    return found
