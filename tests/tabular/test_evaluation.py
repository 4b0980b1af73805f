"""Values, returns and regret are what occupancies, enumeration and running episodes say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.errors import UsageError
from irlbench.tabular import chain
from irlbench.tabular.evaluation import (
    expected_return,
    expected_value_difference,
    optimal_return,
    policy_values,
    regret,
)
from irlbench.tabular.occupancy import (
    finite_horizon_occupancy,
    infinite_horizon_occupancy,
)
from irlbench.tabular.planning import finite_horizon_value_iteration, value_iteration

SEEDS = st.integers(0, 2**32 - 1)
HORIZONS = pytest.mark.parametrize("finite_horizon", [True, False])


def random_policy(dynamics, seed, steps=None):
    shape = (dynamics.states,) if steps is None else (steps, dynamics.states)
    return np.random.default_rng(seed).dirichlet(np.ones(dynamics.actions), size=shape)


def random_reward(dynamics, seed, axes):
    shape = dynamics.successors.shape[:axes]
    return np.random.default_rng(seed).normal(size=shape)


def expected(dynamics, reward):
    """The reward of states and actions, averaged over successors."""
    if reward.ndim == 3:
        return (dynamics.probabilities * reward).sum(axis=2)
    return np.broadcast_to(reward.reshape(dynamics.states, -1), (dynamics.states, dynamics.actions))


@given(
    seed=SEEDS,
    axes=st.integers(1, 3),
    ends=st.integers(0, 2),
    steps=st.sampled_from([None, 2, 9]),
    discount=st.sampled_from([0.0, 0.5, 0.97]),
    finite_horizon=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_the_return_is_the_occupancy_times_the_reward(
    random_dynamics, seed, axes, ends, steps, discount, finite_horizon
):
    dynamics = random_dynamics(seed, 6, 3, 2, horizon=6, discount=discount, ends=ends)
    policy, reward = random_policy(dynamics, seed, steps), random_reward(dynamics, seed, axes)
    if finite_horizon:
        visits = finite_horizon_occupancy(dynamics, policy)
    else:
        visits = infinite_horizon_occupancy(dynamics, policy) / (1 - discount)
    found = expected_return(dynamics, reward, policy, finite_horizon=finite_horizon)
    assert found == pytest.approx((visits * expected(dynamics, reward)).sum(), abs=1e-10)
    values = policy_values(dynamics, reward, policy, finite_horizon=finite_horizon)
    assert found == pytest.approx(dynamics.initial @ values, abs=1e-12)
    assert (values[dynamics.terminal] == 0).all()


def test_the_return_is_that_of_episodes(random_dynamics):
    """30,000 episodes of 8 steps that may end early; reward per successor."""
    dynamics = random_dynamics(7, 6, 3, 3, horizon=8, discount=0.9, ends=1)
    policy, reward = random_policy(dynamics, 1), random_reward(dynamics, 1, 3)
    rng, count = np.random.default_rng(0), 30_000

    def draw(rows):
        return (
            (rows.cumsum(axis=1) <= rng.random((len(rows), 1)))
            .sum(axis=1)
            .clip(0, rows.shape[1] - 1)
        )

    states = draw(np.broadcast_to(dynamics.initial, (count, 6)))
    returns, running = np.zeros(count), ~dynamics.terminal[states]
    for step in range(8):
        actions = draw(policy[states])
        places = draw(dynamics.probabilities[states, actions])
        returns += running * 0.9**step * reward[states, actions, places]
        states = dynamics.successors[states, actions, places]
        running &= ~dynamics.terminal[states]
    assert 0.05 < running.mean() < 0.95
    error = returns.std() / np.sqrt(count)
    exact = expected_return(dynamics, reward, policy, finite_horizon=True)
    assert abs(returns.mean() - exact) < 4 * error


@given(seed=SEEDS, ends=st.integers(0, 1), axes=st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_the_optimal_return_is_the_best_of_all_policies(random_dynamics, seed, ends, axes):
    dynamics = random_dynamics(seed, 3, 2, 2, horizon=2, discount=0.8, ends=ends)
    reward = random_reward(dynamics, seed, axes)
    plans = [np.eye(2)[list(plan)] for plan in itertools.product(range(2), repeat=3)]
    for finite, policies in (
        (False, plans),
        (True, [np.stack(pair) for pair in itertools.product(plans, repeat=2)]),
    ):
        returns = [expected_return(dynamics, reward, p, finite_horizon=finite) for p in policies]
        found = optimal_return(dynamics, reward, finite_horizon=finite)
        assert found == pytest.approx(max(returns), abs=1e-9)
        worst = policies[int(np.argmin(returns))]
        lost = regret(dynamics, reward, worst, finite_horizon=finite)
        assert lost == pytest.approx(max(returns) - min(returns), abs=1e-9)


@HORIZONS
def test_who_plans_best_has_no_regret(random_dynamics, finite_horizon):
    dynamics = random_dynamics(3, 20, 3, 2, horizon=15)
    reward = random_reward(dynamics, 3, 2)
    plan = finite_horizon_value_iteration if finite_horizon else value_iteration
    hard, soft = (plan(dynamics, reward, t).policy for t in (0.0, 1.0))
    lost = [regret(dynamics, reward, p, finite_horizon=finite_horizon) for p in (hard, soft)]
    assert lost[0] == pytest.approx(0.0, abs=1e-9)
    assert lost[1] > 0.1
    for expert, judged, sign in ((hard, soft, 1), (soft, hard, -1)):
        difference = expected_value_difference(
            dynamics, reward, expert, judged, finite_horizon=finite_horizon
        )
        assert difference == pytest.approx(sign * (lost[1] - lost[0]), abs=1e-9)


def test_a_large_problem_is_evaluated_without_a_factorisation(random_dynamics, monkeypatch):
    dynamics = random_dynamics(1, chain._FACTORISED + 1, 2, 2, discount=0.9)
    policy, reward = random_policy(dynamics, 1), random_reward(dynamics, 1, 1)
    iterated = policy_values(dynamics, reward, policy, finite_horizon=False)
    monkeypatch.setattr(chain, "_FACTORISED", dynamics.states)
    direct = policy_values(dynamics, reward, policy, finite_horizon=False)
    assert iterated == pytest.approx(direct, abs=1e-11)


def test_for_ever_needs_a_discount(random_dynamics):
    dynamics = random_dynamics(discount=1.0)
    policy, reward = random_policy(dynamics, 0), np.ones(5)
    for judge in (expected_return, policy_values, regret):
        with pytest.raises(UsageError, match=r"below 1, got 1\.0: set finite_horizon"):
            judge(dynamics, reward, policy, finite_horizon=False)
    assert expected_return(dynamics, reward, policy, finite_horizon=True) == pytest.approx(4.0)


@HORIZONS
def test_rewards_and_policies_of_another_problem_are_refused(random_dynamics, finite_horizon):
    dynamics = random_dynamics()
    with pytest.raises(UsageError, match=r"a reward here has shape .* got \(4,\)"):
        expected_return(
            dynamics, np.zeros(4), random_policy(dynamics, 0), finite_horizon=finite_horizon
        )
    with pytest.raises(UsageError, match=r"a policy here has shape .* got \(5, 2\)"):
        expected_return(dynamics, np.zeros(5), np.full((5, 2), 0.5), finite_horizon=finite_horizon)
