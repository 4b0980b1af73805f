"""The interval over seeds and the paired difference, against scipy and by simulation."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from irlbench.metrics.statistics import Interval, normalise, paired_difference, t_interval

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 200])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_agrees_with_scipy(n, confidence):
    values = np.random.default_rng(n).normal(3.0, 2.0, size=n)
    ours = t_interval(values, confidence)
    low, high = stats.t.interval(
        confidence, df=n - 1, loc=values.mean(), scale=stats.sem(values, ddof=1)
    )
    assert ours.estimate == pytest.approx(values.mean(), abs=1e-12)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=1e-10)
    assert ours.n == n and ours.confidence == confidence


def test_a_worked_example():
    # mean 2, s = 1; with two degrees of freedom t = (2p - 1) sqrt(2 / (4p (1 - p))), p = 0.975
    interval = t_interval([1.0, 2.0, 3.0])
    assert interval.estimate == 2.0
    quantile = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    assert interval.half_width == pytest.approx(quantile / math.sqrt(3), rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_covers_the_mean_as_often_as_it_says(n):
    draws = np.random.default_rng(7).normal(0.3, 1.7, size=(4000, n))
    held = 0
    for row in draws:
        interval = t_interval(row)
        assert interval.low is not None and interval.high is not None
        held += interval.low <= 0.3 <= interval.high
    # four standard errors of a binomial share
    assert held / 4000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_one_value_has_no_interval():
    assert t_interval([0.7]) == Interval(0.7, None, None, 1)
    assert t_interval([0.7]).half_width is None


def test_equal_values_have_an_interval_of_zero_width_at_the_value():
    # 0.1 + 0.1 + 0.1 is not 0.3: the mean must still be the value itself.
    assert t_interval([0.1] * 3) == Interval(0.1, 0.1, 0.1, 3)


@settings(max_examples=200, deadline=None)
@given(st.lists(numbers, min_size=2, max_size=12))
def test_brackets_its_estimate_and_ignores_the_order(values):
    interval = t_interval(values)
    assert interval.low is not None and interval.high is not None
    assert interval.low <= interval.estimate <= interval.high
    shuffled = list(values)
    random.Random(0).shuffle(shuffled)
    assert t_interval(shuffled) == interval


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="position 1"):
        t_interval([0.0, bad, 1.0])


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], 3.0])
def test_refuses_other_shapes(values):
    with pytest.raises(ValueError, match="shape"):
        t_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_refuses_an_impossible_confidence(confidence):
    with pytest.raises(ValueError, match="confidence"):
        t_interval([1.0, 2.0], confidence)


def test_pairs_by_seed_and_not_by_position():
    interval = paired_difference([5.0, 1.0, 9.0], [2, 0, 7], [1.0, 4.5, 3.0], [0, 2, 3])
    # common seeds 0 and 2: 1 - 1 and 5 - 4.5
    assert interval == t_interval([0.0, 0.5])
    assert interval.n == 2


def test_the_paired_difference_agrees_with_scipy():
    draws = np.random.default_rng(3)
    hardness = draws.normal(0, 5, size=8)
    first, second = hardness + draws.normal(0.4, 0.1, 8), hardness + draws.normal(0, 0.1, 8)
    interval = paired_difference(first, range(8), second, range(8))
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    # what the seed makes hard for both has cancelled
    assert interval.low is not None and interval.low > 0.2


def test_the_paired_difference_changes_sign_with_the_order():
    there = paired_difference([1.0, 2.0, 4.0], [0, 1, 2], [0.0, 2.5, 1.0], [0, 1, 2])
    back = paired_difference([0.0, 2.5, 1.0], [0, 1, 2], [1.0, 2.0, 4.0], [0, 1, 2])
    assert there.estimate == -back.estimate
    assert there.low is not None and there.low == -back.high  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [0], [1.0], [1]), "no common seed"),
        (([1.0, 2.0], [0, 0], [1.0], [0]), "more than one number for seed 0"),
        (([1.0, 2.0], [0], [1.0], [0]), "2 numbers but 1 seeds"),
        (([1.0, math.nan], [0, 1], [1.0, 2.0], [0, 1]), "finite"),
    ],
)
def test_the_paired_difference_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(*arguments)


def test_normalises_between_the_anchors_either_way_round():
    assert normalise(75.0, 50.0, 100.0) == 0.5
    # regret: the low anchor (random) has the larger raw value
    assert normalise(2.0, 10.0, 0.0) == pytest.approx(0.8)
    assert normalise(np.array([0.0, 4.0]), 0.0, 2.0) == pytest.approx(np.array([0.0, 2.0]))


@pytest.mark.parametrize("anchors", [(1.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_refuses_anchors_that_measure_nothing(anchors):
    with pytest.raises(ValueError, match="anchors"):
        normalise(0.5, *anchors)
