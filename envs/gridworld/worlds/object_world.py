"""A grid scattered with coloured objects: a reward that is not linear in its features."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.model import STEPS
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.envs.gridworld.worlds.random_numbers import drawn

_PLACES, _OUTER, _INNER = range(3)
_MOVES = (*STEPS, (0, 0))
_EAST = 1


@lru_cache(maxsize=32)
def object_world(
    size: int = 32,
    objects: int = 50,
    colours: int = 2,
    slip: float = 0.3,
    wind: float = 0.0,
    seed: int = 0,
) -> TabularModel:
    """The object world of Levine, Popovic and Koltun (2011, section 6.1), five actions.

    Actions are the four moves, clockwise from up, and staying; with probability `slip` one of the
    other four replaces the chosen one. Each object has an outer and an inner colour. A step made
    from a cell within 3 of an object of outer colour 0 pays 1 if one of outer colour 1 is within 2
    also, else -1; everywhere else 0. Inner colours, and outer ones from the third on, only
    distract. Distances are Euclidean. Features are, for each of the 2 x colours, whether the nearest
    such object is within d = 1, ..., size (less than d away in the paper): the reward is a product
    of two of them, and not linear.

    Args:
        size: Cells per side.
        objects: How many.
        colours: Kinds of outer, and kinds of inner colours.
        slip: Probability that another action replaces the chosen one.
        wind: Probability that after it a gust pushes one cell to the right.
        seed: Of places and colours.

    Raises:
        ValueError: If a number or probability cannot be.
    """
    for name, value in (("slip", slip), ("wind", wind)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be a probability, got {value}")
    if size < 1 or not 0 <= objects <= size**2:
        raise ValueError(f"{objects} objects do not fit in {size} x {size} cells")
    if colours < 2:
        raise ValueError(f"colours must be at least 2, got {colours}")
    states = size**2
    cells = np.stack(np.divmod(np.arange(states), size), axis=1)
    places = np.argsort(drawn(seed, _PLACES, states), kind="stable")[:objects]
    outer, inner = ((drawn(seed, c, objects) * colours).astype(int) for c in (_OUTER, _INNER))
    # One column per outer colour, then one per inner: squares of distances are whole numbers.
    squares = np.stack(
        [
            _nearest(cells, cells[places[kinds == colour]])
            for kinds in (outer, inner)
            for colour in range(colours)
        ],
        axis=1,
    )
    near = np.where(squares[:, 1] <= 2**2, 1.0, -1.0)
    successors, probabilities = _transitions(size, slip, wind)
    return TabularModel(
        layout=_picture(size, places, outer),
        cells=cells,
        successors=successors,
        probabilities=probabilities,
        starts=np.arange(states),
        terminal=np.zeros(states, dtype=bool),
        rewards=np.where(squares[:, 0] <= 3**2, near, 0.0),
        moves=_MOVES,
        features=(squares[:, :, None] <= np.arange(1, size + 1) ** 2)
        .reshape(states, -1)
        .astype(np.float64),
    )


def _nearest(cells: NDArray[np.int64], objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared distance of each cell to the nearest of some objects; infinite where there is none."""
    away = cells[:, None].astype(np.float64) - objects
    return (away**2).sum(axis=2).min(axis=1, initial=np.inf)


def _transitions(
    size: int, slip: float, wind: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Successors and probabilities, `[size^2, 5, 5]`; with wind `[size^2, 5, 10]`."""
    row, column = np.divmod(np.arange(size**2), size)
    led = np.stack(
        [
            np.clip(row + down, 0, size - 1) * size + np.clip(column + right, 0, size - 1)
            for down, right in _MOVES
        ],
        axis=1,
    ).astype(np.int32)
    actions = len(_MOVES)
    made = np.full((actions, actions), slip / (actions - 1))
    np.fill_diagonal(made, 1 - slip)
    if wind > 0:
        led = np.concatenate([led, led[led, _EAST]], axis=1)
        made = np.concatenate([made * (1 - wind), made * wind], axis=1)
    shape = (size**2, actions, led.shape[1])
    return (
        np.ascontiguousarray(np.broadcast_to(led[:, None], shape)),
        np.ascontiguousarray(np.broadcast_to(made, shape)),
    )


def _picture(size: int, places: NDArray[np.int64], outer: NDArray[np.int64]) -> tuple[str, ...]:
    """The grid with the outer colour of each object as a digit, from the eleventh on a `+`."""
    letters = np.full(size**2, ".")
    letters[places] = ["0123456789+"[min(colour, 10)] for colour in outer]
    return tuple("".join(line) for line in letters.reshape(size, size))
