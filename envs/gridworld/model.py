"""Gridworlds as finite models: from a map to states, moves, probabilities and rewards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.dynamics import TabularDynamics

#: Names of the actions, in order, clockwise.
ACTIONS = ("up", "right", "down", "left")
_STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
_REWARDS = {".": 0.0, "G": 1.0}
WALL = "#"


@dataclass(frozen=True, eq=False)
class GridworldModel:
    """A gridworld of S free cells and four moves.

    With probability 1 - slip the chosen move is made, else one of the four at random. A move into
    a wall, or off the map, stays where it is. Each step pays the reward of the cell it is taken
    from; no cell ends the episode; the first cell is drawn uniformly.

    Attributes:
        layout: Lines of the map.
        slip: Probability that a random move replaces the chosen one.
        cells: Line and column of each state, int64 `[states, 2]`, in reading order.
        successors: `[states, actions, 4]`: where the move turned clockwise by 0, 1, 2, 3 quarters
            from the chosen one leads.
        turns: Probabilities of these turns, float64 `[4]`.
        rewards: float64 `[states]`.
    """

    layout: tuple[str, ...]
    slip: float
    cells: NDArray[np.int64]
    successors: NDArray[np.int32]
    turns: NDArray[np.float64]
    rewards: NDArray[np.float64]

    @property
    def states(self) -> int:
        """Number of states S."""
        return len(self.cells)

    def dynamics(self, horizon: int, discount: float) -> TabularDynamics:
        """The transition probabilities, without the reward.

        Args:
            horizon: Steps after which evaluation ends an episode.
            discount: Of the return.
        """
        return TabularDynamics(
            successors=self.successors,
            probabilities=_frozen(np.broadcast_to(self.turns, self.successors.shape)),
            initial=_frozen(np.full(self.states, 1 / self.states)),
            terminal=_frozen(np.zeros(self.states, dtype=bool)),
            horizon=horizon,
            discount=discount,
        )


@lru_cache(maxsize=32)
def gridworld_model(layout: str, slip: float) -> GridworldModel:
    """Reads a map.

    Args:
        layout: Lines of equal length over `#` (wall), `.` (free) and `G` (free, reward 1).
        slip: Probability that a random move replaces the chosen one.

    Returns:
        The model; equal arguments give the same object, whose arrays are read-only.

    Raises:
        ValueError: If the map is empty, ragged, holds another character or no free cell, or if
            `slip` is no probability.
    """
    if not 0.0 <= slip <= 1.0:
        raise ValueError(f"slip must be a probability, got {slip}")
    lines = tuple(layout.splitlines())
    if not lines or len({len(line) for line in lines}) != 1:
        widths = [len(line) for line in lines]
        raise ValueError(f"a map needs lines of equal length, got lengths {widths}")
    unknown = sorted(set("".join(lines)) - {WALL, *_REWARDS})
    if unknown:
        raise ValueError(f"a map is made of {WALL!r}, '.' and 'G', got {unknown}")
    free = [
        (row, column)
        for row, line in enumerate(lines)
        for column, character in enumerate(line)
        if character != WALL
    ]
    if not free:
        raise ValueError("a map needs a free cell")
    index = {cell: state for state, cell in enumerate(free)}
    moves = np.array(
        [
            [index.get((row + down, column + right), state) for down, right in _STEPS]
            for state, (row, column) in enumerate(free)
        ],
        dtype=np.int32,
    )
    turned = (np.arange(4)[:, None] + np.arange(4)) % 4
    return GridworldModel(
        layout=lines,
        slip=slip,
        cells=_frozen(np.array(free, dtype=np.int64)),
        successors=_frozen(moves[:, turned]),
        turns=_frozen(np.array([1 - slip + slip / 4] + [slip / 4] * 3)),
        rewards=_frozen(np.array([_REWARDS[lines[row][column]] for row, column in free])),
    )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
