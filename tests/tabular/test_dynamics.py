"""Dynamics are checked when they are made, and their expectations are the sums they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.errors import UsageError
from irlbench.tabular import expectation
from irlbench.tabular.dynamics import TabularDynamics

SEEDS = st.integers(0, 2**32 - 1)


def parts(**changes):
    """Three states, two actions, two successors; nothing wrong but what is changed."""
    whole = {
        "successors": np.array([[[0, 1], [1, 2]], [[2, 0], [1, 1]], [[2, 2], [0, 1]]]),
        "probabilities": np.full((3, 2, 2), 0.5),
        "initial": np.array([1.0, 0.0, 0.0]),
        "terminal": np.array([False, False, True]),
        "horizon": 5,
        "discount": 0.9,
    }
    return whole | changes


def with_value(name, place, value):
    array = np.array(parts()[name], dtype=np.asarray(value).dtype)
    array[place] = value
    return {name: array}


def test_whole_numbers_and_floats_of_other_sizes_are_converted():
    dynamics = TabularDynamics(**parts(probabilities=np.full((3, 2, 2), 0.5, dtype=np.float32)))
    assert dynamics.successors.dtype == np.int32
    assert dynamics.probabilities.dtype == np.float64
    assert (dynamics.states, dynamics.actions) == (3, 2)


def test_what_was_checked_cannot_be_written():
    given_to_it = parts()
    dynamics = TabularDynamics(**given_to_it)
    for name in ("successors", "probabilities", "initial", "terminal"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(dynamics, name)[0] = 0
    given_to_it["initial"][0] = 0.5  # the caller's own array stays the caller's


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (with_value("successors", (1, 0, 1), 3), "state 1, action 0: successor 3 .* 0 to 2"),
        (with_value("successors", (2, 1, 0), -1), "state 2, action 1: successor -1 .* 0 to 2"),
        (
            with_value("successors", (0, 0, 0), 2**32 + 1),
            "state 0, action 0: successor 4294967297 ",
        ),
        (
            with_value("probabilities", (1, 1, 0), 0.4),
            r"state 1, action 1: .* sum to 0\.9, not 1",
        ),
        (with_value("probabilities", (0, 1, 1), 0.5 + 1e-5), r"sum to 1\.00001, not 1"),
        (
            {"probabilities": np.broadcast_to([0.5, 0.25], (3, 2, 2))},
            r"state 0, action 0: .* sum to 0\.75",
        ),
        (
            {"probabilities": np.broadcast_to([[0.5, 0.5], [1.5, -0.5]], (3, 2, 2))},
            r"state 0, action 1: probability -0\.5 .* place 1",
        ),
        (with_value("probabilities", (2, 0, 1), np.nan), "state 2, action 0: probability nan"),
        (with_value("probabilities", (2, 0, 1), np.inf), "state 2, action 0: .* sum to inf"),
        (with_value("initial", 1, -0.25), r"state 1: probability -0\.25"),
        (with_value("initial", 2, np.nan), "state 2: probability nan"),
        (with_value("initial", 2, 0.5), r"first state sum to 1\.5"),
        (
            {"successors": np.zeros((3, 2), dtype=int)},
            r"\[states, actions, K\], got shape \(3, 2\)",
        ),
        ({"successors": np.zeros((0, 2, 2), dtype=int)}, r"got shape \(0, 2, 2\)"),
        ({"successors": np.zeros((3, 2, 2))}, "successors must be of type int32, got float64"),
        ({"probabilities": np.ones((3, 2, 1))}, r"\(3, 2, 2\) .* got \(3, 2, 1\)"),
        ({"initial": np.ones(2) / 2}, r"initial must have shape \(3,\) .* got \(2,\)"),
        ({"terminal": np.zeros(4, dtype=bool)}, r"terminal must have shape \(3,\) .* got \(4,\)"),
        ({"terminal": np.zeros(3)}, "terminal must be of type bool, got float64"),
        ({"horizon": 0}, "at least 1 step, got 0"),
        ({"discount": 1.1}, r"between 0 and 1, got 1\.1"),
        ({"discount": -0.1}, r"between 0 and 1, got -0\.1"),
        ({"discount": float("nan")}, "between 0 and 1, got nan"),
    ],
)
def test_what_is_no_dynamics_is_refused_with_its_place(changes, message):
    with pytest.raises(UsageError, match=message):
        TabularDynamics(**parts(**changes))


def test_float32_rows_sum_to_one_closely_enough():
    rows = np.random.default_rng(0).dirichlet(np.ones(7), size=(3, 2)).astype(np.float32)
    successors = np.zeros((3, 2, 7), dtype=int)
    assert TabularDynamics(**parts(successors=successors, probabilities=rows)).states == 3


def summed(dynamics, values):
    """E[values(s')] by a loop."""
    found = np.zeros((dynamics.states, dynamics.actions))
    for s, a, k in np.ndindex(*dynamics.successors.shape):
        following = dynamics.successors[s, a, k]
        if not dynamics.terminal[following]:
            found[s, a] += dynamics.probabilities[s, a, k] * values[following]
    return found


@given(SEEDS, st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1))
@settings(deadline=None, max_examples=60)
def test_expectations_are_sums_over_successors(random_dynamics, seed, states, actions, width, ends):
    dynamics = random_dynamics(seed, states, actions, width, ends=ends)
    values = np.random.default_rng(seed).normal(size=states)
    assert dynamics.expect(values) == pytest.approx(summed(dynamics, values), abs=1e-12)


@pytest.mark.parametrize("own", [True, False], ids=["weights of each state", "shared weights"])
def test_each_way_to_compute_an_expectation_agrees(random_dynamics, monkeypatch, own):
    """In order and as a matrix product, in one block and in many, in float64 and in float32."""
    dynamics = random_dynamics(3, 50, 3, 4)
    if not own:
        shared = np.random.default_rng(1).dirichlet(np.ones(4), size=3)
        # Two actions that lead to the same places, as neighbours do in a grid.
        successors = dynamics.successors.copy()
        successors[:, 1] = successors[:, 0, ::-1]
        dynamics = replace(
            dynamics, successors=successors, probabilities=np.broadcast_to(shared, (50, 3, 4))
        )
    values = np.random.default_rng(2).normal(size=50)
    wanted = summed(dynamics, values)
    whole = dynamics.expectation(np.float64)(values)
    assert pytest.approx(wanted, abs=1e-13) == whole.T
    monkeypatch.setattr(expectation, "_BLOCK", 3 * 7)
    for dtype, error in ((np.float64, 1e-13), (np.float32, 1e-5)):
        made = expectation.Expectation(dynamics.successors, dynamics.probabilities, dtype)
        assert len(list(made)) == 8, "the last block is smaller than the others"
        ordered, fast = np.empty((3, 50), dtype), np.empty((3, 50), dtype)
        for block in made:
            block.ordered(values.astype(dtype), ordered[:, block.states])
            block.fast(values.astype(dtype), 0.5, fast[:, block.states])
        assert pytest.approx(wanted, abs=error) == ordered.T
        assert pytest.approx(0.5 * wanted, abs=error) == fast.T
        if dtype is np.float64:
            assert np.array_equal(ordered, whole), "blocks do not change a bit"
    mass = np.random.default_rng(4).random((3, 50))
    made = expectation.Expectation(dynamics.successors, dynamics.probabilities, np.float64)
    assert made.flow(mass) @ values == pytest.approx((mass.T * wanted).sum(), abs=1e-12)


def test_like_successors_are_gathered_once(seven_by_seven):
    dynamics, _ = seven_by_seven
    (block,) = dynamics.expectation(np.float64)
    assert block._columns.shape == (4, 49), "twenty successors of a state are four neighbours"
