"""Colours of figures: readable in print, on any page, and to the colour-blind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INK, QUIET, EDGE = "#1d2329", "#5c656f", "#c3cad1"
#: Between cells; of walls; of what has no value.
GRID = (0.76, 0.79, 0.82, 1.0)
WALL, UNKNOWN = (0.70, 0.73, 0.76, 1.0), (0.9, 0.9, 0.9, 1.0)
#: Of the likeliest move, and of others.
LIKELIEST, LIKELY = "#111111", "#6b7680"

# Power that rewards are coloured by. Below one, one large reward does not pale all others; at a half
# noise looks like reward.
_CONTRAST = 0.7


def signed(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours of numbers from -1 (red) over 0 (white) to 1 (blue), small ones raised.

    Args:
        shares: `[...]`; what lies beyond is cut, NaN is grey.

    Returns:
        float64 `[..., 4]`.
    """
    from matplotlib import colormaps

    roots = np.sign(shares) * np.abs(shares) ** _CONTRAST
    colours = np.asarray(colormaps["RdBu"](np.clip(0.5 + roots / 2, 0, 1)))
    # Its middle is a light grey, which would tell 0 from a cell without a state.
    colours = np.minimum(colours / np.array(colormaps["RdBu"](0.5)), 1.0)
    colours[np.isnan(shares)] = UNKNOWN
    return colours


def amounts(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours of numbers from 0 (white) to 1 (green), by their square roots.

    Args:
        shares: `[...]`; what lies above 1 is cut.

    Returns:
        float64 `[..., 4]`.
    """
    from matplotlib import colormaps

    # The darkest quarter is left out: black arrows stand on it.
    colours = np.asarray(colormaps["YlGn"](0.75 * np.sqrt(np.clip(shares, 0, 1))))
    colours[shares <= 0] = 1.0
    return colours
