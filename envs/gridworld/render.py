"""Gridworlds drawn: as text, and as small images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.model import WALL, GridworldModel

Frame = str | NDArray[np.uint8]

_PIXELS = 16
_COLOURS = {WALL: (60, 60, 60), ".": (245, 245, 245), "G": (46, 160, 67)}
_AGENT = (31, 111, 235)


def render(model: GridworldModel, state: int, mode: str) -> Frame:
    """Draws the map with the agent on it.

    Args:
        model: The gridworld.
        state: Where the agent is.
        mode: "ansi" or "rgb_array".

    Returns:
        Text, one line per line of the map, the agent an `A`; or an image, uint8
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
    small = np.array([[_COLOURS[c] for c in line] for line in model.layout], dtype=np.uint8)
    image = small.repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)
    margin = _PIXELS // 4
    top, left = row * _PIXELS + margin, column * _PIXELS + margin
    image[top : top + 2 * margin, left : left + 2 * margin] = _AGENT
    return image
