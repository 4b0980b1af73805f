"""Worlds drawn: as text, and as small images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.tabular_model import TabularModel

Frame = str | NDArray[np.uint8]

_PIXELS = 16
_COLOURS = {"#": (60, 60, 60), "G": (46, 160, 67), "C": (207, 34, 46), " ": (255, 255, 255)}
_FREE = (245, 245, 245)
_MARKED = (218, 222, 228)
_AGENT = (31, 111, 235)


def render(model: TabularModel, state: int, mode: str) -> Frame:
    """Draws a world's picture with the agent in it.

    Args:
        model: The world.
        state: Where the agent is.
        mode: "ansi" or "rgb_array".

    Returns:
        Text, one line per line of the picture, the agent an `A`; or an image, uint8
        `[height, width, 3]`.

    Raises:
        ValueError: If the mode is another.
    """
    row, column = model.cells[state]
    if mode == "ansi":
        lines = list(model.layout)
        lines[row] = lines[row][:column] + "A" + lines[row][column + 1 :]
        return "\n".join(lines) + "\n"
    if mode != "rgb_array":
        raise ValueError(f"render_mode is 'ansi' or 'rgb_array', got {mode!r}")
    small = np.array([[_colour(c) for c in line] for line in model.layout], dtype=np.uint8)
    image = small.repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)
    margin = _PIXELS // 4
    top, left = row * _PIXELS + margin, column * _PIXELS + margin
    image[top : top + 2 * margin, left : left + 2 * margin] = _AGENT
    return image


def _colour(letter: str) -> tuple[int, int, int]:
    """Letters with a meaning of their own in colours of their own, all others a shade darker."""
    return _COLOURS.get(letter, _FREE if letter == "." else _MARKED)
