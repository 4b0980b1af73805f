"""Maps with wind, starts and cliffs, row by row; and the windy cliff."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.envs.gridworld.environment import GridworldEnv, GridworldVectorEnv
from irlbench.envs.gridworld.maps import (
    FOUR_ROOMS,
    FOUR_ROOMS_ONE_WAY,
    WINDY_CLIFF,
    WINDY_CLIFF_TOWARDS,
)
from irlbench.envs.gridworld.model import gridworld_model
from irlbench.tabular.planning import value_iteration

UP, RIGHT, DOWN, LEFT = range(4)


def row(model, state, action):
    """Where an action leads, and how likely: {state: probability}, nothing impossible."""
    found: dict[int, float] = defaultdict(float)
    for led, chance in zip(
        model.successors[state, action], model.probabilities[state, action], strict=True
    ):
        if chance > 0:
            found[int(led)] += chance
    return pytest.approx(dict(found))


def at(model, line, column):
    return int(np.flatnonzero((model.cells == [line, column]).all(axis=1))[0])


# --- wind, slip and cliff by hand


def test_wind_pushes_one_cell_further():
    # states: 0 1 2
    #         3 4 5
    #         6 7 8
    model = gridworld_model("...\n.^.\n...", 0.0, 0.3)
    assert row(model, 3, RIGHT) == {4: 1.0}, "wind is of the cell that is left"
    assert row(model, 4, RIGHT) == {5: 0.7, 2: 0.3}
    assert row(model, 4, DOWN) == {7: 0.7, 4: 0.3}
    assert row(model, 4, UP) == {1: 1.0}, "nothing lies beyond the edge"


@pytest.mark.parametrize(("letter", "led"), [("^", 1), (">", 5), ("v", 7), ("<", 3)])
def test_each_arrow_blows_its_way(letter, led):
    model = gridworld_model(f"...\n#{letter}.\n...".replace("#", "."), 0.0, 1.0)
    towards = {1: UP, 5: RIGHT, 7: DOWN, 3: LEFT}[led]
    assert row(model, 4, (towards + 2) % 4) == {4: 1.0}, "against the wind one comes back"


def test_slip_comes_before_the_gust():
    model = gridworld_model("...\n.>.\n...", 0.4, 0.5)
    # up with 0.7, right, down, left with 0.1 each; then half of each one cell to the right
    assert row(model, 4, UP) == {1: 0.35, 2: 0.35, 5: 0.1, 7: 0.05, 8: 0.05, 3: 0.05, 4: 0.05}


def test_a_gust_into_a_wall_stays():
    model = gridworld_model("v..\n#..", 0.0, 1.0)
    assert row(model, 0, LEFT) == {0: 1.0}, "into the wall below"
    assert {at(model, 1, 1): 1.0} == row(model, 0, RIGHT)


def test_every_action_from_the_cliff_leads_back_to_a_start():
    model = gridworld_model("S.S\nCC.\n..G", 0.2)
    starts = [at(model, 0, 0), at(model, 0, 2)]
    assert model.starts.tolist() == starts
    cliff = at(model, 1, 1)
    for action in range(4):
        assert dict.fromkeys(starts, 0.5) == row(model, cliff, action)
    assert model.rewards[cliff] == -10.0
    assert not model.terminal.any()


def test_more_starts_than_moves_are_all_returned_to():
    model = gridworld_model("SSSSSS\nCC....", 0.0)
    assert dict.fromkeys(range(6), 1 / 6) == row(model, 6, UP)
    assert model.probabilities.sum(axis=2) == pytest.approx(np.ones((12, 4)))
    assert row(model, 0, UP) == {0: 1.0}


def test_without_a_start_every_cell_is_one():
    assert gridworld_model(".G\n#v").starts.tolist() == [0, 1, 2]
    assert gridworld_model("SG\n#v").starts.tolist() == [0]


@settings(max_examples=50, deadline=None)
@given(
    lines=st.lists(st.text("#.SGC^>v<", min_size=4, max_size=4), min_size=1, max_size=5),
    slip=st.floats(0, 1),
    wind=st.floats(0, 1),
)
def test_any_map_is_refused_or_is_a_whole_world(lines, slip, wind):
    try:
        model = gridworld_model("\n".join(lines), slip, wind)
    except ValueError as error:
        assert any(word in str(error) for word in ("start", "goal"))  # noqa: PT017
        return
    assert model.states == sum(letter != "#" for line in lines for letter in line)
    assert model.probabilities.sum(axis=2) == pytest.approx(np.ones((model.states, 4)))
    away = np.abs(model.cells[model.successors] - model.cells[:, None, None]).sum(axis=-1)
    fell = np.array([lines[r][c] == "C" for r, c in model.cells])
    assert (away[~fell][model.probabilities[~fell] > 0] <= 2).all()


# --- the windy cliff


def steps_along(model, start, goal, limit=60):
    """The lines that the optimal policy visits from start to goal when no gust comes."""
    best = value_iteration(model.dynamics(100, 0.95), model.rewards, 0.0).Q.argmax(axis=1)
    state, lines = start, []
    for _ in range(limit):
        if state == goal:
            return lines
        lines.append(int(model.cells[state][0]))
        state = int(model.successors[state, best[state], 0])
    raise AssertionError("the optimal policy never reaches the goal")


@pytest.mark.parametrize(
    ("layout", "wind", "lowest"),
    [
        (WINDY_CLIFF, 0.3, 4),  # wind away from the cliff: along its edge
        (WINDY_CLIFF, 0.0, 4),  # no wind: along its edge, 13 steps as in the book
        (WINDY_CLIFF_TOWARDS, 0.3, 2),  # towards it: two lines higher, at least
    ],
)
def test_the_best_way_keeps_the_distance_that_the_wind_asks_for(layout, wind, lowest):
    model = gridworld_model(layout, 0.0, wind)
    start, goal = at(model, 5, 0), at(model, 5, 11)
    lines = steps_along(model, start, goal)
    over_the_cliff = [line for line in lines if line < 5]
    if lowest == 4:
        assert max(over_the_cliff) == 4
        assert wind > 0 or len(lines) == 13
    else:
        assert min(over_the_cliff) <= lowest


def test_the_cliff_lies_between_start_and_goal():
    model = gridworld_model(WINDY_CLIFF, 0.0, 0.3)
    assert model.states == 72
    assert model.starts.tolist() == [at(model, 5, 0)]
    cliff = [at(model, 5, column) for column in range(1, 11)]
    assert np.flatnonzero(model.rewards == -10.0).tolist() == cliff
    assert np.flatnonzero(model.rewards == 1.0).tolist() == [at(model, 5, 11)]
    assert {at(model, 5, 1): 1.0} == row(model, at(model, 5, 0), RIGHT)
    edge = at(model, 4, 5)
    assert {at(model, 5, 5): 0.7, edge: 0.3} == row(model, edge, DOWN)


def test_the_one_way_door_of_the_four_rooms():
    model, rooms = gridworld_model(FOUR_ROOMS_ONE_WAY, 0.0, 1.0), gridworld_model(FOUR_ROOMS, 0.0)
    door = at(model, 3, 6)
    assert {door: 1.0} == row(model, door, RIGHT)
    assert {at(model, 3, 4): 1.0} == row(model, door, LEFT)
    assert np.array_equal(model.rewards, rooms.rewards)
    others = np.delete(np.arange(104), door)
    for state in others[:30]:
        for action in range(4):
            assert row(model, state, action) == dict.fromkeys(
                [int(rooms.successors[state, action, 0])], 1.0
            )


# --- a map of one's own


def test_a_map_is_an_environment():
    env = GridworldEnv(layout="S.G", render_mode="ansi")
    assert env.reset(seed=0)[0] == 0
    assert [env.step(np.int64(RIGHT))[:2] for _ in range(3)] == [(1, 0.0), (2, 0.0), (2, 1.0)]
    assert env.render() == "S.A\n"
    assert GridworldVectorEnv(2, layout="S.G").reset(seed=0)[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("S.\n.x", r"\['x'\]: 'x' in row 2, column 2"),
        ("S..\n.\n...", r"lengths \[3, 1, 3\]: row 2 is '.'"),
        ("##\n#C", "no start"),
        ("..\nC.", r"'C' in row 2, column 1 leads back to a start, and the map has no 'S'"),
        ("S#G", "'G' in row 1, column 3 can be reached from no start"),
        ("S.G\n###\n..G", "'G' in row 3, column 3 can be reached from no start"),
        ("S.G\n###\n..S", "'S' in row 3, column 3 leads to no goal"),
        ("..#G", "'.' in row 1, column 1 leads to no goal"),
        ("SCG", "'G' in row 1, column 3 can be reached from no start"),
    ],
)
def test_bad_maps_are_refused_by_row_column_and_letter(layout, message):
    with pytest.raises(ValueError, match=message):
        GridworldEnv(layout=layout)


@pytest.mark.parametrize(("name", "value"), [("wind", 1.5), ("wind", -0.1), ("slip", float("nan"))])
def test_probabilities_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a probability, got {value}"):
        gridworld_model("S.", **{name: value})


def test_letters_that_mean_something_are_drawn_apart():
    env = GridworldEnv(layout="#.S\nG^C", render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    corners = {tuple(frame[16 * row, 16 * column]) for row in range(2) for column in range(3)}
    assert len(corners) == 5, "a start and a windy cell share a shade, all others differ"
