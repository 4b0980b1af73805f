"""Occupancy measures flow as the dynamics say, and sum to what they should."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.errors import UsageError
from irlbench.tabular import chain, expectation
from irlbench.tabular.occupancy import (
    finite_horizon_occupancy,
    infinite_horizon_occupancy,
    occupancy_over_time,
    state_distributions,
)

SEEDS = st.integers(0, 2**32 - 1)
SIZES = {"states": st.integers(1, 6), "actions": st.integers(1, 3), "width": st.integers(1, 3)}


def random_policy(dynamics, seed, steps=None):
    shape = (dynamics.states,) if steps is None else (steps, dynamics.states)
    return np.random.default_rng(seed).dirichlet(np.ones(dynamics.actions), size=shape)


def dense(dynamics):
    transition = np.zeros((dynamics.states, dynamics.actions, dynamics.states))
    for s, a, k in np.ndindex(*dynamics.successors.shape):
        transition[s, a, dynamics.successors[s, a, k]] += dynamics.probabilities[s, a, k]
    return transition


def alive(dynamics):
    return ~dynamics.terminal


# --- without an end


@given(seed=SEEDS, **SIZES, steps=st.sampled_from([None, 1, 3, 9]))
@settings(deadline=None, max_examples=40)
def test_measures_sum_to_one_or_to_the_horizon(
    random_dynamics, seed, states, actions, width, steps
):
    dynamics = random_dynamics(seed, states, actions, width, horizon=5, discount=0.8)
    policy = random_policy(dynamics, seed, steps)
    over_time = occupancy_over_time(dynamics, policy)
    assert over_time.shape == (5, states, actions) and over_time.min() >= 0
    assert over_time.sum(axis=(1, 2)) == pytest.approx(1.0)
    weighted = np.tensordot(0.8 ** np.arange(5), over_time, axes=1)
    assert finite_horizon_occupancy(dynamics, policy) == pytest.approx(weighted, abs=1e-12)
    endless = infinite_horizon_occupancy(dynamics, policy)
    assert endless.sum() == pytest.approx(1.0) and endless.min() >= 0
    undiscounted = random_dynamics(seed, states, actions, width, horizon=5, discount=1.0)
    assert finite_horizon_occupancy(undiscounted, policy).sum() == pytest.approx(5.0)


def test_two_states_by_hand(random_dynamics):
    """0 goes to 1 for certain, 1 stays: (1 - gamma) of the time in 0, gamma of it in 1."""
    dynamics = random_dynamics(0, 2, 1, 1, discount=0.75)
    dynamics = replace(
        dynamics, successors=np.array([[[1]], [[1]]]), initial=np.array([1.0, 0.0]), horizon=3
    )
    policy = np.ones((2, 1))
    assert infinite_horizon_occupancy(dynamics, policy).ravel() == pytest.approx([0.25, 0.75])
    found = finite_horizon_occupancy(dynamics, policy)
    assert found.ravel() == pytest.approx([1.0, 0.75 + 0.75**2])
    assert occupancy_over_time(dynamics, policy).reshape(3, 2).tolist() == [[1, 0], [0, 1], [0, 1]]


# --- with one


@given(seed=SEEDS, **SIZES, ends=st.integers(0, 2))
@settings(deadline=None, max_examples=40)
def test_the_bellman_flow_holds(random_dynamics, seed, states, actions, width, ends):
    """rho(s') = (1 - gamma) d_0(s') + gamma sum rho(s, a) P(s'|s, a), outside terminal states."""
    ends = min(ends, states)
    dynamics = random_dynamics(seed, states, actions, width, horizon=6, discount=0.9, ends=ends)
    policy, transition = random_policy(dynamics, seed), dense(dynamics)
    rho = infinite_horizon_occupancy(dynamics, policy)
    entering = 0.1 * dynamics.initial + 0.9 * np.einsum("sa,sat->t", rho, transition)
    assert rho.sum(axis=1) == pytest.approx(entering * alive(dynamics), abs=1e-12)
    assert rho == pytest.approx(rho.sum(axis=1, keepdims=True) * policy, abs=1e-12)
    over_time = occupancy_over_time(dynamics, policy)
    assert over_time[0].sum(axis=1) == pytest.approx(dynamics.initial * alive(dynamics))
    for now, later in pairwise(over_time):
        entering = np.einsum("sa,sat->t", now, transition) * alive(dynamics)
        assert later.sum(axis=1) == pytest.approx(entering, abs=1e-12)


@given(SEEDS, st.integers(0, 2), st.booleans())
@settings(deadline=None, max_examples=30)
def test_a_long_horizon_is_for_ever(random_dynamics, seed, ends, over_time):
    """(1 - gamma) times the discounted sum over 400 steps, for policies of 3 steps as well."""
    dynamics = random_dynamics(seed, 6, 2, 2, horizon=400, discount=0.9, ends=ends)
    policy = random_policy(dynamics, seed, 3 if over_time else None)
    long = 0.1 * finite_horizon_occupancy(dynamics, policy)
    assert infinite_horizon_occupancy(dynamics, policy) == pytest.approx(long, abs=1e-12)


@given(SEEDS, st.integers(0, 2))
@settings(deadline=None, max_examples=30)
def test_large_chains_are_iterated_to_the_same_answer(random_dynamics, seed, ends):
    dynamics = random_dynamics(seed, 8, 2, 3, discount=0.95, ends=ends)
    policy, rewards = random_policy(dynamics, seed), np.random.default_rng(seed).normal(size=8)
    direct = chain.MarkovChain(dynamics, policy)
    iterated = chain.MarkovChain(dynamics, policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "_FACTORISED", 0)
        values, visits = iterated.values(rewards), iterated.visits(dynamics.first)
    assert "_factors" not in vars(iterated)
    assert values == pytest.approx(direct.values(rewards), abs=1e-11)
    assert visits == pytest.approx(direct.visits(dynamics.first), abs=1e-11)


@given(SEEDS, st.integers(0, 2), st.booleans())
@settings(deadline=None, max_examples=30)
def test_the_order_of_additions_changes_nothing_but_rounding(random_dynamics, seed, ends, shared):
    dynamics = random_dynamics(seed, 12, 3, 3, horizon=8, ends=ends)
    if shared:
        same = np.broadcast_to(dynamics.probabilities[0], dynamics.probabilities.shape)
        dynamics = replace(dynamics, probabilities=same)
    policy = random_policy(dynamics, seed, 5)
    ordered = np.array(list(state_distributions(dynamics, policy, ordered=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expectation, "_BLOCK", 3 * 5)
        fast = np.array(list(state_distributions(dynamics, policy)))
    assert ordered.shape == fast.shape == (8, 12)
    assert fast == pytest.approx(ordered, abs=1e-14)


# --- another package's


@pytest.mark.skipif(
    importlib.util.find_spec("imitation") is None,
    reason="imitation is not installed (make setup installs it)",
)
@given(seed=SEEDS, **SIZES)
@settings(deadline=None, max_examples=25)
def test_it_agrees_with_imitation(random_dynamics, seed, states, actions, width):
    from imitation.algorithms.mce_irl import mce_occupancy_measures

    dynamics = random_dynamics(seed, states, actions, width, horizon=12, discount=0.9)
    policy = random_policy(dynamics, seed, 12)
    peer = SimpleNamespace(
        horizon=12,
        state_dim=states,
        action_dim=actions,
        transition_matrix=dense(dynamics),
        initial_state_dist=dynamics.initial,
    )
    visited, discounted = mce_occupancy_measures(
        peer, reward=np.zeros(states), pi=policy, discount=0.9
    )
    over_time = occupancy_over_time(dynamics, policy).sum(axis=2)
    # The peer counts the state after the last action, too.
    assert np.abs(over_time - visited[:12]).max() < 1e-6
    ours = finite_horizon_occupancy(dynamics, policy).sum(axis=1)
    assert np.abs(ours + 0.9**12 * visited[12] - discounted).max() < 1e-6


# --- what is no policy


@pytest.mark.parametrize(
    "measure",
    [
        occupancy_over_time,
        finite_horizon_occupancy,
        infinite_horizon_occupancy,
        lambda dynamics, policy: list(state_distributions(dynamics, policy)),
    ],
)
@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.full((5, 2), 0.5), r"shape \(5, 3\), or a first axis of time more, got \(5, 2\)"),
        (np.full((0, 5, 3), 0.5), r"got \(0, 5, 3\)"),
        (np.full((2, 2, 5, 3), 0.5), r"got \(2, 2, 5, 3\)"),
        (np.full(3, 0.5), r"got \(3,\)"),
        (np.full((5, 3), 0.3), r"state 0: .* at step 0 sum to 0\.9, not 1"),
        (
            np.array([[[1, 0, 0]] * 5, [[1, 0, 0]] * 2 + [[0.5, 0, 0]] * 3]),
            r"state 2: .* at step 1 sum to 0\.5, not 1",
        ),
        (
            np.array([[1, 0, 0]] * 4 + [[1.5, -0.5, 0]]),
            r"state 4, action 1: probability -0\.5 in the policy of step 0",
        ),
        (
            np.array([[[1, 0, 0]] * 5, [[1, 0, 0]] * 4 + [[np.nan, 0, 0]]]),
            "state 4, action 0: probability nan in the policy of step 1",
        ),
    ],
)
def test_what_is_no_policy_is_refused(random_dynamics, measure, policy, message):
    with pytest.raises(UsageError, match=message):
        measure(random_dynamics(), policy)


def test_for_ever_needs_a_discount(random_dynamics):
    dynamics = random_dynamics(discount=1.0)
    with pytest.raises(UsageError, match=r"below 1, got 1\.0: set finite_horizon"):
        infinite_horizon_occupancy(dynamics, np.full((5, 3), 1 / 3))
