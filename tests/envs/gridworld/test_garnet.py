"""Garnet worlds are what their three numbers say, and every successor is equally likely."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.envs.gridworld.rewards import true_reward
from irlbench.envs.gridworld.worlds.garnet import garnet
from irlbench.tabular.rewards import expected_reward, transition_rewards


@settings(max_examples=50, deadline=None)
@given(
    states=st.integers(1, 30),
    actions=st.integers(1, 5),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_every_state_and_action_has_b_distinct_successors(states, actions, share, seed):
    branching = max(1, round(share * states))
    model = garnet(states, actions, branching, dynamics_seed=seed)
    assert model.successors.shape == (states, actions, branching)
    assert (np.diff(np.sort(model.successors, axis=2), axis=2) > 0).all()
    assert model.successors.min() >= 0 and model.successors.max() < states
    assert (model.probabilities >= 0).all()
    assert model.probabilities.sum(axis=2) == pytest.approx(np.ones((states, actions)))


def test_successors_are_drawn_without_favour():
    """Of 4 states 2 are drawn, 30,000 times: each of the 6 pairs a sixth of the time."""
    model = garnet(4, 7500, 2)
    pairs = Counter(tuple(sorted(pair)) for pair in model.successors.reshape(-1, 2).tolist())
    assert len(pairs) == 6
    expected = 30_000 / 6
    assert sum((n - expected) ** 2 / expected for n in pairs.values()) < 5 + 4 * np.sqrt(10)


def test_probabilities_are_pieces_of_a_stick():
    """Three pieces between two uniform cuts: each has mean 1/3 and variance 1/18."""
    model = garnet(100, 100, 3)
    for piece in range(3):
        lengths = model.probabilities[..., piece]
        assert abs(lengths.mean() - 1 / 3) < 4 * np.sqrt(1 / 18 / lengths.size)
        assert lengths.var() == pytest.approx(1 / 18, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "shape"), [("state", (50,)), ("state-action", (50, 4)), ("transition", (50, 4, 3))]
)
def test_rewards_depend_on_what_was_asked(kind, shape):
    model = garnet(50, 4, 3, paying=0.3, reward=kind)
    assert model.rewards.shape == shape
    share = np.count_nonzero(model.rewards) / model.rewards.size
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / model.rewards.size)
    assert model.rewards.min() == 0.0 and model.rewards.max() < 1.0
    assert not garnet(50, 4, 3, paying=0.0, reward=kind).rewards.any()


@pytest.mark.parametrize("kind", ["state", "state-action", "transition"])
def test_the_true_reward_as_a_function_is_the_one_that_is_paid(kind):
    model = garnet(30, 3, 2, paying=0.5, reward=kind)
    reward = true_reward(model, 0.9)
    assert reward.kind == kind and reward.discount == 0.9
    dynamics = model.dynamics(10, 0.9)
    by_place = model.rewards.reshape(*model.rewards.shape, *[1] * (3 - model.rewards.ndim))
    everywhere = transition_rewards(reward, dynamics)
    assert np.array_equal(everywhere, np.broadcast_to(by_place, model.successors.shape))
    by_hand = (model.probabilities * everywhere).sum(axis=2)
    assert expected_reward(dynamics, model.rewards) == pytest.approx(by_hand)


def test_a_reward_of_transitions_refuses_one_that_cannot_be():
    model = garnet(30, 3, 2, reward="transition")
    other = next(s for s in range(30) if s not in model.successors[4, 1])
    reward = true_reward(model, 0.9)
    states, actions = np.array([4, 4]), np.array([1, 1])
    led = np.array([model.successors[4, 1, 1], other])
    with pytest.raises(ValueError, match=f"from state 4 by action 1 to state {other}"):
        reward(states, actions, led, np.zeros(2, dtype=bool))


def test_seeds_change_what_they_are_of():
    first, moved, paid = garnet(), garnet(dynamics_seed=1), garnet(seed=1)
    assert np.array_equal(first.rewards, moved.rewards)
    assert not np.array_equal(first.successors, moved.successors)
    assert np.array_equal(first.successors, paid.successors)
    assert np.array_equal(first.probabilities, paid.probabilities)
    assert not np.array_equal(first.rewards, paid.rewards)
