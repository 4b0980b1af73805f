"""Soft policy iteration: what soft value iteration finds, in few steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.errors import UsageError
from irlbench.tabular.occupancy import infinite_horizon_occupancy
from irlbench.tabular.planning import value_iteration
from irlbench.tabular.policy_iteration import soft_policy_iteration


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.integers(1, 5),
    st.sampled_from([0.05, 1.0, 3.0]),
    st.booleans(),
    st.integers(0, 1),
)
@settings(deadline=None, max_examples=40)
def test_it_finds_what_value_iteration_finds(
    random_dynamics, seed, states, actions, tau, near, ends
):
    dynamics = random_dynamics(seed, states, actions, 3, discount=0.9, ends=ends)
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(states, actions))
    begin = rng.normal(size=(states, actions)) if near else None
    plan, chain = soft_policy_iteration(dynamics, reward, tau, begin=begin)
    swept = value_iteration(dynamics, reward, tau, tolerance=1e-13)
    assert np.abs(plan.Q - swept.Q).max() < 1e-9
    assert np.abs(plan.V - swept.V).max() < 1e-9
    assert np.abs(plan.policy - swept.policy).max() < 1e-8
    assert plan.sweeps < 30
    visits = (1 - dynamics.discount) * chain.visits(dynamics.first)[:, None] * plan.policy
    exact = infinite_horizon_occupancy(dynamics, swept.policy)
    assert np.abs(visits - exact).max() < 1e-8


def test_large_rewards_end_it_too(random_dynamics):
    dynamics = random_dynamics(0, 50, 4, 3, discount=0.99)
    reward = 1e8 * np.random.default_rng(0).normal(size=50)
    plan, _ = soft_policy_iteration(dynamics, reward, 1.0)
    assert plan.sweeps < 100
    assert np.isfinite(plan.Q).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_that_is_none_is_refused(random_dynamics, temperature):
    dynamics = random_dynamics(0, 3, 2, 2, discount=0.9)
    with pytest.raises(UsageError, match="needs a temperature above 0"):
        soft_policy_iteration(dynamics, np.zeros(3), temperature)
