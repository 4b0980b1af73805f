"""Gridworlds as finite models: from a map to states, moves, probabilities and rewards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.tabular_model import TabularModel

#: Names of the actions, in order, clockwise.
ACTIONS = ("up", "right", "down", "left")
STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
WALL, START, GOAL, CLIFF = "#SGC"
#: Free cells with wind, and which way it blows, as an action.
WIND = {"^": 0, ">": 1, "v": 2, "<": 3}
#: Every letter of a map but the wall, and what a step made from there pays.
REWARDS = {".": 0.0, START: 0.0, GOAL: 1.0, CLIFF: -10.0, **dict.fromkeys(WIND, 0.0)}


@dataclass(frozen=True, eq=False, kw_only=True)
class GridworldModel(TabularModel):
    """A gridworld of S free cells and four moves.

    With probability 1 - slip the chosen move is made, else one of the four at random. From a cell
    with wind, with probability `wind`, a gust then pushes one cell further its way. A move or a
    push into a wall, or off the map, stays where it is. From a cliff every action leads back to a
    start. Each step pays the reward of the cell it is made from; no cell ends the episode.

    Attributes:
        slip: Probability that a random move replaces the chosen one.
        turns: Probabilities that the move made is turned clockwise by 0, 1, 2, 3 quarters from
            the chosen one, float64 `[4]`. Without wind these are the K = 4 successors, in order.
    """

    slip: float
    turns: NDArray[np.float64]


@lru_cache(maxsize=32)
def gridworld_model(layout: str, slip: float = 0.0, wind: float = 0.0) -> GridworldModel:
    """Reads a map.

    Args:
        layout: Lines of equal length over `#` (wall), `.` (free), `S` (start), `G` (goal, pays 1),
            `C` (cliff, pays -10 and leads back to a start) and `^`, `>`, `v`, `<` (free, with wind
            that way). Episodes start in an `S`; where there is none, in any cell.
        slip: Probability that a random move replaces the chosen one.
        wind: Probability of a gust in cells that have wind.

    Returns:
        The model; equal arguments give the same object, whose arrays are read-only.

    Raises:
        ValueError: If the map is empty, ragged, holds another letter, no cell to start in, or a
            goal that no start leads to; or if `slip` or `wind` is no probability.
    """
    for name, value in (("slip", slip), ("wind", wind)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be a probability, got {value}")
    lines = _checked(layout)
    cells = [
        (r, c) for r, line in enumerate(lines) for c, letter in enumerate(line) if letter != WALL
    ]
    letters = np.array([lines[row][column] for row, column in cells])
    starts = np.flatnonzero(letters == START)
    cliffs = np.flatnonzero(letters == CLIFF)
    if cliffs.size and not starts.size:
        raise ValueError(
            f"{_place(cells[cliffs[0]], CLIFF)} leads back to a start, and the map has no {START!r}"
        )
    if not starts.size:
        starts = np.arange(len(cells))
    moves = _moves(cells)
    turns = np.array([1 - slip + slip / 4] + [slip / 4] * 3)
    successors, probabilities = _turned(moves, turns)
    if np.isin(letters, list(WIND)).any():
        successors, probabilities = _blown(successors, probabilities, moves, letters, wind)
    successors, probabilities = _fallen(successors, probabilities, cliffs, starts)
    _require_reachable(cells, letters, starts, successors, probabilities)
    return GridworldModel(
        layout=lines,
        cells=np.array(cells, dtype=np.int64),
        successors=successors.astype(np.int32),
        probabilities=probabilities,
        starts=starts,
        terminal=np.zeros(len(cells), dtype=bool),
        rewards=np.array([REWARDS[letter] for letter in letters]),
        moves=STEPS,
        slip=slip,
        turns=turns,
    )


def _checked(layout: str) -> tuple[str, ...]:
    """The lines of a map that is a rectangle of known letters, with a cell to start in."""
    lines = tuple(layout.splitlines())
    widths = [len(line) for line in lines]
    if len(set(widths)) != 1:
        odd = next((row for row, width in enumerate(widths) if width != widths[0]), None)
        where = "" if odd is None else f": row {odd + 1} is {lines[odd]!r}"
        raise ValueError(f"a map needs lines of equal length, got lengths {widths}{where}")
    unknown = [
        (row, column)
        for row, line in enumerate(lines)
        for column, letter in enumerate(line)
        if letter != WALL and letter not in REWARDS
    ]
    if unknown:
        found = sorted({lines[row][column] for row, column in unknown})
        known = " ".join((WALL, *REWARDS))
        row, column = unknown[0]
        raise ValueError(
            f"a map is made of {known}, got {found}: {_place((row, column), lines[row][column])}"
        )
    if set("".join(lines)) <= {WALL, CLIFF}:
        raise ValueError("a map needs a free cell to start in ('S' or '.'), this one has no start")
    return lines


def _place(cell: tuple[int, int], letter: str) -> str:
    return f"{letter!r} in row {cell[0] + 1}, column {cell[1] + 1}"


def _moves(cells: list[tuple[int, int]]) -> NDArray[np.int64]:
    """Where each of the four moves leads from each cell, `[states, 4]`."""
    index = {cell: state for state, cell in enumerate(cells)}
    return np.array(
        [
            [index.get((row + down, column + right), state) for down, right in STEPS]
            for state, (row, column) in enumerate(cells)
        ]
    )


def _turned(
    moves: NDArray[np.int64], turns: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Successors and probabilities of moves that slip, `[states, actions, 4]`."""
    successors = moves[:, (np.arange(4)[:, None] + np.arange(4)) % 4]
    return successors, np.broadcast_to(turns, successors.shape)


def _blown(
    successors: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    moves: NDArray[np.int64],
    letters: NDArray[np.str_],
    wind: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The same after gusts, `[states, actions, 8]`: the calm successors, then the blown ones."""
    ways = np.array([WIND.get(letter, -1) for letter in letters])[:, None, None]
    blown = np.where(ways < 0, successors, moves[successors, ways])
    gust = np.where(ways < 0, 0.0, wind)
    return (
        np.concatenate([successors, blown], axis=2),
        np.concatenate([probabilities * (1 - gust), probabilities * gust], axis=2),
    )


def _fallen(
    successors: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    cliffs: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The same with every action from a cliff leading to one of the starts."""
    if not cliffs.size:
        return successors, probabilities
    more = ((0, 0), (0, 0), (0, max(0, len(starts) - successors.shape[2])))
    successors, probabilities = np.pad(successors, more, mode="edge"), np.pad(probabilities, more)
    successors[cliffs], probabilities[cliffs] = starts[0], 0.0
    successors[cliffs, :, : len(starts)] = starts
    probabilities[cliffs, :, : len(starts)] = 1 / len(starts)
    return successors, probabilities


def _require_reachable(
    cells: list[tuple[int, int]],
    letters: NDArray[np.str_],
    starts: NDArray[np.int64],
    successors: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> None:
    """Refuses goals that no start leads to, and starts that lead to no goal."""
    goals = np.flatnonzero(letters == GOAL)
    if not goals.size:
        return
    possible = probabilities > 0
    edges = np.broadcast_to(np.arange(len(cells))[:, None, None], successors.shape)[possible]
    led = successors[possible]
    for sources, targets, wanted, told in (
        (starts, goals, (edges, led), "can be reached from no start"),
        (goals, starts, (led, edges), "leads to no goal"),
    ):
        reached = _reached(sources, *wanted, states=len(cells))
        missed = targets[~reached[targets]]
        if missed.size:
            state = missed[0]
            raise ValueError(f"{_place(cells[state], str(letters[state]))} {told}")


def _reached(
    sources: NDArray[np.int64], edges: NDArray[Any], led: NDArray[Any], *, states: int
) -> NDArray[np.bool_]:
    """The states that steps along edges lead to from sources, bool `[states]`."""
    reached = np.zeros(states, dtype=bool)
    reached[sources] = True
    count = 0
    while (found := int(reached.sum())) > count:
        count = found
        reached[led[reached[edges]]] = True
    return reached
