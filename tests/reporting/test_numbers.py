"""How numbers are written."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from irlbench.reporting import numbers


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ((0.97, 0.95, 0.99), ("0.97", "[0.95, 0.99]")),
        ((0.97, None, None), ("0.97", "")),
        ((1.0, 1.0, 1.0), ("1.000", "[1.000, 1.000]")),
        ((0.9512, 0.9503, 0.9521), ("0.951", "[0.950, 0.952]")),
        ((0.634, -0.73, 1.998), ("0.6", "[-0.7, 2.0]")),
        ((-0.0004, -0.03, 0.0292), ("0.00", "[-0.03, 0.03]")),
        ((3.2, -20.0, 26.4), ("3.2", "[-20.0, 26.4]")),
    ],
)
def test_scores_have_no_more_digits_than_their_interval_allows(values, written):
    assert numbers.with_interval(*values) == written


@settings(deadline=None)
@example(0.0, 5e-324, 0.0)
@given(st.floats(-10, 10), st.floats(0, 10), st.floats(0, 10))
def test_what_is_written_still_brackets_the_estimate(middle, below, above):
    score, interval = numbers.with_interval(middle, middle - below, middle + above)
    low, high = interval.strip("[]").split(", ")
    assert float(low) <= float(score) <= float(high)


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ((3571.8, 3531.0, 3612.6), "3572"),
        ((3571.8, None, None), "3572"),
        ((475.31, None, None), "475.3"),
        ((475.31, 470.0, 480.6), "475"),
        ((0.35412, None, None), "0.354"),
        ((0.35412, 0.30, 0.41), "0.35"),
        ((0.0, 0.0, 0.0), "0.000"),
        ((-1e12, None, None), "-1000000000000"),
    ],
)
def test_raw_scores(values, written):
    assert numbers.raw(*values) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (20, "20"), (2.5, "2.5"), (2000, "2000"), (123456, "123k"), (1.5e6, "1.5M")],
)
def test_counts(value, written):
    assert numbers.count(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.04, "<0.1 s"),
        (0.06, "0.1 s"),
        (3.21, "3.2 s"),
        (42.4, "42 s"),
        (210, "3.5 min"),
        (7560, "2.1 h"),
    ],
)
def test_durations(seconds, written):
    assert numbers.duration(seconds) == written


def test_points_stand_under_each_other():
    assert numbers.align(["0.97", "-1.5", "", "12"]) == [" 0.97", "-1.5 ", "     ", "12   "]
