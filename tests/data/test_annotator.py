"""The simulated annotator: probabilities by hand, its limits, and errors as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from irlbench.data.annotator import SimulatedAnnotator
from irlbench.errors import UsageError

# sigmoid(1) and sigmoid(2)
ONE, TWO = 0.7310585786300049, 0.8807970779778823


def pairs(*returns):
    """Pairs of one-step segments with these rewards, and their mask."""
    rewards = np.array(returns, dtype=np.float64)[:, :, None]
    return rewards, np.ones(rewards.shape, dtype=bool)


def within_error(count, of, probability):
    """Whether a count is within four binomial standard deviations of what is expected."""
    return abs(count - of * probability) <= 4 * math.sqrt(of * probability * (1 - probability))


# --- probabilities


@pytest.mark.parametrize(
    ("temperature", "difference", "probability"),
    [(1.0, 2.0, TWO), (2.0, 2.0, ONE), (0.5, -1.0, 1 - TWO), (1.0, 0.0, 0.5), (1e-300, 1.0, 1.0)],
)
def test_the_choice_is_bradley_terrys(temperature, difference, probability):
    annotator = SimulatedAnnotator(temperature)
    found = annotator.first_preferred(*pairs((3.0 + difference, 3.0)))
    assert found == pytest.approx([probability], abs=1e-15)


def test_mistakes_turn_answers_round():
    given = pairs((2.0, 0.0), (0.0, 2.0))
    found = SimulatedAnnotator(1.0, flip_probability=0.1).first_preferred(*given)
    # 0.9 p + 0.1 (1 - p)
    assert found == pytest.approx([0.9 * TWO + 0.1 * (1 - TWO), 0.9 * (1 - TWO) + 0.1 * TWO])
    always = SimulatedAnnotator(0.0, flip_probability=1.0)
    assert always.first_preferred(*given).tolist() == [0.0, 1.0]


def test_returns_are_sums_over_the_steps_that_are_there():
    rewards = np.array([[[1.0, 1.0, 1.0], [2.0, np.nan, np.nan]]])
    mask = np.array([[[True, True, True], [True, False, False]]])
    annotator = SimulatedAnnotator(1.0)
    assert annotator.remembered_returns(rewards, mask).tolist() == [[3.0, 2.0]]
    assert annotator.first_preferred(rewards, mask) == pytest.approx([ONE])


def test_a_myopic_annotator_weighs_the_end_of_each_segment_most():
    rewards = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 99.0]])
    mask = np.array([[True, True, True], [True, True, False]])
    found = SimulatedAnnotator(discount=0.5).remembered_returns(rewards, mask)
    # 1/4 + 2/2 + 4, and of the shorter one 1/2 + 2
    assert found.tolist() == [5.25, 2.5]


def test_myopia_can_turn_a_choice():
    rewards = np.array([[[3.0, 0.0], [0.0, 2.0]]])
    mask = np.ones(rewards.shape, dtype=bool)
    seeds = np.arange(1)
    assert SimulatedAnnotator().ranks(rewards, mask, seeds).tolist() == [[0, 1]]
    # 1.5 against 2
    assert SimulatedAnnotator(discount=0.5).ranks(rewards, mask, seeds).tolist() == [[1, 0]]


# --- limits


def test_without_temperature_it_is_always_the_better():
    generator = np.random.default_rng(0)
    rewards, mask = generator.normal(size=(500, 2, 4)), np.ones((500, 2, 4), dtype=bool)
    ranks = SimulatedAnnotator().ranks(rewards, mask, np.arange(500))
    returns = rewards.sum(axis=2)
    assert (ranks[:, 0] < ranks[:, 1]).tolist() == (returns[:, 0] > returns[:, 1]).tolist()
    assert (ranks.sum(axis=1) == 1).all()


def test_without_temperature_equals_tie():
    rewards, mask = pairs((1.0, 1.0), (1.0, 1.0 + 1e-12))
    assert SimulatedAnnotator().ranks(rewards, mask, np.arange(2)).tolist() == [[0, 0], [1, 0]]


def test_at_infinite_temperature_it_tosses_a_coin():
    rewards, mask = pairs(*[(100.0, -100.0)] * 4000)
    ranks = SimulatedAnnotator(math.inf).ranks(rewards, mask, np.arange(4000))
    assert within_error(ranks[:, 0].sum(), 4000, 0.5)
    assert (ranks.sum(axis=1) == 1).all()


# --- ties


def test_returns_nearer_than_the_threshold_tie():
    rewards, mask = pairs((0.0, 0.49), (0.0, 0.5), (0.5, 0.01), (0.0, 0.0))
    annotator = SimulatedAnnotator(1.0, tie_threshold=0.5)
    assert annotator.ties(rewards, mask).tolist() == [True, False, True, True]
    ranks = annotator.ranks(rewards, mask, np.arange(4))
    assert ranks[[0, 2, 3]].tolist() == [[0, 0]] * 3
    assert sorted(ranks[1]) == [0, 1]


def test_ties_go_by_undiscounted_returns():
    rewards = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    mask = np.ones(rewards.shape, dtype=bool)
    assert SimulatedAnnotator(discount=0.5, tie_threshold=0.1).ties(rewards, mask).all()
    assert not SimulatedAnnotator(discount=0.5).ties(rewards, mask).any()


def test_with_a_temperature_and_no_threshold_nothing_ties():
    rewards, mask = pairs(*[(1.0, 1.0)] * 1000)
    ranks = SimulatedAnnotator(1.0).ranks(rewards, mask, np.arange(1000))
    assert (ranks.sum(axis=1) == 1).all()
    assert within_error(ranks[:, 0].sum(), 1000, 0.5)


# --- how often


def test_answers_are_as_often_as_their_probability():
    rewards, mask = pairs(*[(1.0, 0.0)] * 20_000)
    ranks = SimulatedAnnotator(1.0).ranks(rewards, mask, np.arange(20_000))
    assert within_error((ranks[:, 0] == 0).sum(), 20_000, ONE)


def test_mistakes_are_as_often_as_said_and_ties_are_none():
    rewards, mask = pairs(*[(1.0, 0.0), (0.0, 0.0)] * 5000)
    annotator = SimulatedAnnotator(tie_threshold=0.1, flip_probability=0.1)
    ranks = annotator.ranks(rewards, mask, np.arange(10_000))
    assert within_error((ranks[::2, 0] == 1).sum(), 5000, 0.1)
    assert not ranks[1::2].any()


def test_an_answer_depends_on_its_seed_alone():
    rewards, mask = pairs(*[(1.0, 0.0)] * 100)
    annotator = SimulatedAnnotator(1.0)
    together = annotator.ranks(rewards, mask, np.arange(100))
    alone = annotator.ranks(rewards[:7], mask[:7], np.arange(93, 100))
    assert np.array_equal(together[93:], alone)
    assert not np.array_equal(together, annotator.ranks(rewards, mask, np.arange(100, 200)))


# --- what is refused


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("tie_threshold", -0.1),
        ("flip_probability", 1.1),
        ("flip_probability", math.nan),
        ("discount", 0.0),
        ("discount", 1.5),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(UsageError, match=f"{field} must be .*{value}"):
        SimulatedAnnotator(**{field: value})


def test_what_is_no_pair_is_refused():
    rewards, mask = pairs((1.0, 0.0))
    annotator = SimulatedAnnotator()
    with pytest.raises(UsageError, match=r"got \[1, 2\] and \[1, 2\]"):
        annotator.ranks(rewards[..., 0], mask[..., 0], np.arange(1))
    with pytest.raises(UsageError, match=r"got \[1, 2, 1\] and \[1, 2\]"):
        annotator.ranks(rewards, mask[..., 0], np.arange(1))
    with pytest.raises(UsageError, match="1 pairs need as many seeds, got 2"):
        annotator.ranks(rewards, mask, np.arange(2))


@pytest.mark.parametrize(
    ("reward", "largest"), [(math.nan, "nan"), (-math.inf, "inf"), (1.5e308, r"1\.5e\+308")]
)
def test_rewards_without_a_finite_sum_are_refused(reward, largest):
    rewards = np.zeros((3, 2, 2))
    rewards[2, 1] = reward
    with pytest.raises(UsageError, match=f"pair 2, segment 1: rewards up to {largest} have no"):
        SimulatedAnnotator().ranks(rewards, np.ones(rewards.shape, dtype=bool), np.arange(3))
