"""How far learning is, when a policy is handed in, and when it has diverged."""

from __future__ import annotations

import math

import pytest

from irlbench.baselines.learners.progress import LARGEST, Points, require_finite, share_done
from irlbench.errors import DivergenceError


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1 * LARGEST, -1.1 * LARGEST])
def test_what_diverged_is_named_with_its_step(value):
    with pytest.raises(
        DivergenceError, match=rf"critic_loss is {value:g} at step 4321".replace("+", r"\+")
    ):
        require_finite({"entropy": 1.0, "critic_loss": value, "temperature": 0.1}, 4321)


def test_large_numbers_alone_are_no_divergence():
    require_finite({"loss": 0.9 * LARGEST, "value": -0.9 * LARGEST}, 1)


@pytest.mark.parametrize(
    ("turn", "steps", "granted", "share"),
    [
        (25, None, None, 0.25),
        (25, 10, None, 0.25),
        (25, None, 50, 0.25),
        (25, 40, 50, 0.8),  # the budget of steps is nearer its end than the rounds are
        (25, 5, 50, 0.25),
        (25, 0, 0, 0.25),
    ],
)
def test_the_nearer_limit_says_how_far_it_is(turn, steps, granted, share):
    assert share_done(turn, 100, steps, granted) == pytest.approx(share)


@pytest.mark.parametrize(
    ("count", "turns", "wanted"),
    [
        (5, 10, [2, 4, 6, 8, 10]),
        (5, 12, [3, 5, 8, 10, 12]),
        (3, 7, [3, 5, 7]),
        (1, 4, [4]),
        (5, 3, [1, 2, 3]),  # fewer turns than points: each passes one at least
        (7, 7, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_points_are_passed_once_each_and_the_last_at_the_end(count, turns, wanted):
    points = Points(count)
    assert [turn for turn in range(1, turns + 1) if points.passed(turn / turns)] == wanted
