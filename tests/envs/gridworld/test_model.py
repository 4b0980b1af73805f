"""Maps become the states, moves and probabilities that one reads off by hand."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.envs.gridworld.maps import FOUR_ROOMS
from irlbench.envs.gridworld.model import ACTIONS, gridworld_model

UP, RIGHT, DOWN, LEFT = range(4)


def test_the_actions_are_clockwise_from_up():
    assert ACTIONS == ("up", "right", "down", "left")


def test_moves_on_a_map_worked_by_hand():
    # states: 0 1
    #         # 2
    model = gridworld_model(".G\n#.", 0.0)
    chosen = model.successors[:, :, 0]
    assert chosen.tolist() == [[0, 1, 0, 0], [1, 1, 2, 0], [1, 2, 2, 2]]
    assert model.cells.tolist() == [[0, 0], [0, 1], [1, 1]]
    assert model.rewards.tolist() == [0.0, 1.0, 0.0]


def test_turns_go_clockwise_from_the_chosen_move():
    model = gridworld_model("...\n...\n...", 0.2)
    centre = 4
    neighbours = {UP: 1, RIGHT: 5, DOWN: 7, LEFT: 3}
    for action in range(4):
        expected = [neighbours[(action + turn) % 4] for turn in range(4)]
        assert model.successors[centre, action].tolist() == expected


@pytest.mark.parametrize("slip", [0.0, 0.1, 1.0])
def test_the_chosen_move_keeps_its_share_of_the_slip(slip):
    dynamics = gridworld_model("..\n..", slip).dynamics(horizon=5, discount=0.9)
    assert dynamics.probabilities[0, 0].tolist() == pytest.approx(
        [1 - slip + slip / 4, slip / 4, slip / 4, slip / 4]
    )
    assert np.allclose(dynamics.probabilities.sum(axis=-1), 1.0, atol=1e-15)


def test_four_rooms_has_104_cells_that_all_reach_each_other():
    model = gridworld_model(FOUR_ROOMS, 0.1)
    assert model.states == 104
    assert model.rewards.sum() == 1.0
    assert model.cells[model.rewards.argmax()].tolist() == [7, 9]
    label = np.arange(model.states)
    for _ in range(model.states):
        label = np.minimum(label, label[model.successors[:, :, 0]].min(axis=1))
    assert (label == 0).all(), "moves can be undone, so one label means one connected piece"


def test_rooms_meet_only_in_four_hallways():
    """Closing the four hallway cells leaves four rooms of 25, 30, 25 and 20 cells."""
    lines = [list(line) for line in FOUR_ROOMS.splitlines()]
    for row, column in [(3, 6), (6, 2), (7, 9), (10, 6)]:
        assert lines[row][column] != "#"
        lines[row][column] = "#"
    model = gridworld_model("\n".join("".join(line) for line in lines), 0.0)
    room = np.arange(model.states)
    for _ in range(model.states):
        room = np.minimum(room, room[model.successors[:, :, 0]].min(axis=1))
    assert sorted(np.unique(room, return_counts=True)[1].tolist()) == [20, 25, 25, 30]


def test_dynamics_do_not_hold_the_reward():
    model = gridworld_model(FOUR_ROOMS, 0.1)
    moved = gridworld_model(FOUR_ROOMS.replace("G", ".").replace(".", "G", 1), 0.1)
    ours, theirs = model.dynamics(100, 0.99), moved.dynamics(100, 0.99)
    for name in ("successors", "probabilities", "initial", "terminal"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name))


def test_models_are_shared_and_cannot_be_written():
    model = gridworld_model("..", 0.1)
    assert gridworld_model("..", 0.1) is model
    with pytest.raises(ValueError, match="read-only"):
        model.rewards[0] = 5.0
    with pytest.raises(ValueError, match="read-only"):
        model.dynamics(3, 0.9).initial[0] = 1.0


@pytest.mark.parametrize(
    ("layout", "slip", "message"),
    [
        ("", 0.1, "equal length"),
        ("..\n...", 0.1, r"lengths \[2, 3\]"),
        (".x", 0.1, r"\['x'\]"),
        ("##\n##", 0.1, "free cell"),
        ("..", 1.5, "1.5"),
        ("..", -0.1, "-0.1"),
        ("..", float("nan"), "nan"),
    ],
)
def test_unusable_maps_are_refused(layout, slip, message):
    with pytest.raises(ValueError, match=message):
        gridworld_model(layout, slip)
