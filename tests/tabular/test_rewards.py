"""Rewards become arrays, and what is no reward of the problem is refused with its place."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.errors import UsageError
from irlbench.reward import RewardFunction
from irlbench.rewards.table import TableReward
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.rewards import expected_reward, transition_rewards


class OfTransitions(RewardFunction):
    kind = "transition"

    def __call__(self, observation, action, next_observation, terminated):
        return observation + 10.0 * action + 100.0 * next_observation + 1000.0 * terminated


DYNAMICS = TabularDynamics(
    successors=np.array([[[0, 1]], [[1, 1]]]),
    probabilities=np.array([[[0.25, 0.75]], [[1.0, 0.0]]]),
    initial=np.array([1.0, 0.0]),
    terminal=np.array([False, True]),
    horizon=1,
    discount=0.9,
)


def test_a_reward_of_transitions_is_averaged_over_successors():
    """From 0: 0.25 (stay: 0) + 0.75 (to 1, the end: 100 + 1000); from 1: 1 + 100 + 1000."""
    values = transition_rewards(OfTransitions(), DYNAMICS)
    assert values.tolist() == [[[0.0, 1100.0]], [[1101.0, 1101.0]]]
    assert expected_reward(DYNAMICS, values).tolist() == [[825.0], [1101.0]]


def test_rewards_of_states_and_of_actions_are_spread(random_dynamics):
    dynamics = random_dynamics()
    states = np.random.default_rng(1).normal(size=5)
    pairs = np.random.default_rng(2).normal(size=(5, 3))
    assert np.array_equal(expected_reward(dynamics, states), np.repeat(states[:, None], 3, axis=1))
    assert expected_reward(dynamics, pairs) is pairs
    for array in (states, pairs):
        by_function = transition_rewards(TableReward(array), dynamics)
        assert expected_reward(dynamics, by_function) == pytest.approx(
            expected_reward(dynamics, array)
        )


@pytest.mark.parametrize("shape", [(), (4,), (5, 2), (3, 5), (5, 3, 1), (5, 3, 2, 1)])
def test_rewards_of_another_shape_are_refused(random_dynamics, shape):
    with pytest.raises(UsageError, match=r"\(5,\), \(5, 3\) or \(5, 3, 2\).* got \("):
        expected_reward(random_dynamics(), np.zeros(shape))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((4,), np.nan, "state 4 is nan"),
        ((2, 1), np.inf, "state 2, action 1 is inf"),
        ((2, 1, 0), -np.inf, r"state 2, action 1, next state \d is -inf"),
    ],
)
def test_rewards_that_are_no_numbers_are_named(random_dynamics, place, value, message):
    reward = np.zeros((5, 3, 2)[: len(place)])
    reward[place] = value
    with pytest.raises(UsageError, match=message):
        expected_reward(random_dynamics(), reward)


def test_a_function_that_gives_no_number_is_named():
    class Broken(OfTransitions):
        def __call__(self, observation, action, next_observation, terminated):
            return np.where(terminated, np.nan, 0.0)

    with pytest.raises(UsageError, match="state 0, action 0, next state 1 is nan"):
        transition_rewards(Broken(), DYNAMICS)


def test_a_reward_of_trajectories_is_refused():
    reward = TableReward(np.zeros(2))
    reward.kind = "trajectory"
    with pytest.raises(UsageError, match="trajectories"):
        transition_rewards(reward, DYNAMICS)
