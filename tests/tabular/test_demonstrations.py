"""Demonstrations as occupancy measures, and those that the dynamics cannot produce."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DataError
from irlbench.tabular.demonstrations import demonstrated_occupancy, unexplained_flow
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.occupancy import infinite_horizon_occupancy, occupancy_over_time

GAMMA = 0.5


@pytest.fixture(scope="module")
def line():
    """States 0, 1 and the terminal 2. Action 0 stays; 1 goes on, from 0 every second time."""
    return TabularDynamics(
        successors=np.array([[[0, 0], [0, 1]], [[1, 1], [2, 2]], [[2, 2], [2, 2]]]),
        probabilities=np.array([[[1.0, 0.0], [0.5, 0.5]]] + [[[1.0, 0.0], [1.0, 0.0]]] * 2),
        initial=np.array([1.0, 0.0, 0.0]),
        terminal=np.array([False, False, True]),
        horizon=4,
        discount=GAMMA,
    )


def episode(states, actions, *, terminated=None, truncated=True):
    """An episode that is truncated at its end unless it terminates, at its end or elsewhere."""
    steps = len(actions)
    ends = np.zeros(steps, bool)
    if terminated is not None:
        ends[terminated] = True
    cut = np.zeros(steps, bool)
    cut[-1] = truncated and not ends[-1]
    return Episode(np.array(states), np.array(actions), ends, cut)


ENDED = episode([0, 0, 1, 2], [1, 1, 1], terminated=-1)
CUT = episode([0, 1, 1], [1, 0])


def test_the_occupancy_by_hand(line):
    occupancy, most = demonstrated_occupancy(
        line, Demonstrations((ENDED, CUT)), finite_horizon=False
    )
    # Each episode has at most 1 + 1/2 + 1/4 + ... = 2.
    assert most == 4
    assert occupancy.tolist() == [[0, (1.5 + 1) / 4], [0.5 / 4, 0.25 / 4], [0, 0]]
    over_time, most = demonstrated_occupancy(
        line, Demonstrations((ENDED, CUT)), finite_horizon=True
    )
    assert most == 2 * 1.875
    assert over_time.shape == (4, 3, 2)
    assert over_time.sum(axis=0) * most == pytest.approx(occupancy * 4)
    assert over_time[1].tolist() == [[0, 0.5 / most], [0.5 / most, 0], [0, 0]]


def test_what_the_demonstrated_steps_do_not_explain_by_hand(line):
    occupancy, most = demonstrated_occupancy(line, Demonstrations((CUT,)), finite_horizon=False)
    # It begins in 0; going on from there leads to either with 1/2 (times gamma), to state 1 by
    # chance; staying there for one step of weight 1/2 would lead on to a weight of 1/4.
    assert unexplained_flow(line, occupancy) * most == pytest.approx(
        [1 - 0.25, 0.5 - 0.25 - 0.25, 0]
    )
    over_time, most = demonstrated_occupancy(line, Demonstrations((CUT,)), finite_horizon=True)
    assert unexplained_flow(line, over_time) * most == pytest.approx(
        np.array([[1, 0, 0], [-0.25, 0.5 - 0.25, 0], [0, -0.25, 0], [0, 0, 0]])
    )


def test_an_exact_occupancy_leaves_where_episodes_begin(random_dynamics):
    dynamics = random_dynamics(0, 9, 3, 4, horizon=6, discount=0.9)
    policy = np.random.default_rng(0).dirichlet(np.ones(3), size=9)
    for_ever = unexplained_flow(dynamics, infinite_horizon_occupancy(dynamics, policy))
    assert for_ever == pytest.approx(0.1 * dynamics.first, abs=1e-12)
    discounts = 0.9 ** np.arange(6)[:, None, None]
    over_time = unexplained_flow(dynamics, discounts * occupancy_over_time(dynamics, policy))
    assert over_time[0] == pytest.approx(dynamics.first)
    assert over_time[1:] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (episode([0, 2], [1]), "step 0: state 0, action 1: the dynamics lead to state 2 with prob"),
        (episode([0, 0, 1], [1, 0]), "step 1: state 0, action 0: the dynamics lead to state 1"),
        (episode([1, 1], [0]), "begins in state 1, where the dynamics begin with probability 0"),
        (episode([0, 1, 2], [1, 1]), "step 1: state 1, action 1: not terminated, but state 2 is t"),
        (episode([0, 1], [1], terminated=0), "terminated, but state 1 is not terminal"),
        (episode([0, 1, 2, 2], [1, 1, 0], terminated=1), "step 2: state 2, action 0: the state is"),
        (episode([0, 3], [1]), "3 is not in 0 to 2"),
        (episode([0, -1], [1]), "-1 is not in 0 to 2"),
        (episode([0, 0], [2]), "2 is not in 0 to 1"),
        (episode([[0], [0]], [0]), "need one index per step"),
        (episode([0.0, 0.0], [0]), "need one index per step"),
        (
            Episode(np.array([0, 0]), None, np.array([False]), np.array([True])),
            "holds observations only",
        ),
    ],
)
@pytest.mark.parametrize("finite_horizon", [False, True])
def test_what_cannot_have_happened_is_refused(line, wrong, message, finite_horizon):
    with pytest.raises(DataError, match="demonstration 1") as refused:
        demonstrated_occupancy(line, Demonstrations((CUT, wrong)), finite_horizon=finite_horizon)
    assert message in str(refused.value)


def test_nothing_and_too_long_episodes_are_refused(line):
    with pytest.raises(DataError, match="there are no demonstrations"):
        demonstrated_occupancy(line, Demonstrations(()), finite_horizon=False)
    longer = Demonstrations((episode([0] * 6, [0] * 5),))
    assert demonstrated_occupancy(line, longer, finite_horizon=False)[1] == 2
    with pytest.raises(DataError, match="demonstration 0 has 5 steps, more than the horizon of 4"):
        demonstrated_occupancy(line, longer, finite_horizon=True)
