"""Value iteration gives known answers: by hand, by enumeration, and another package's."""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.errors import UsageError
from irlbench.tabular import expectation
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.evaluation import policy_values
from irlbench.tabular.planning import (
    BellmanBackup,
    finite_horizon_value_iteration,
    greedy,
    policy_logits,
    value_iteration,
)

SEEDS = st.integers(0, 2**32 - 1)
TEMPERATURES = st.sampled_from([0.05, 0.7, 1.0, 10.0])
BITS = pytest.mark.parametrize("ordered", [True, False])


def two_states(discount=0.5, horizon=3):
    """State 0: action 0 stays, action 1 goes to state 1. State 1 keeps one for ever."""
    return TabularDynamics(
        successors=np.array([[[0], [1]], [[1], [1]]], dtype=np.int32),
        probabilities=np.ones((2, 2, 1)),
        initial=np.array([1.0, 0.0]),
        terminal=np.zeros(2, dtype=bool),
        horizon=horizon,
        discount=discount,
    )


PAYS_IN_STATE_1 = np.array([0.0, 1.0])


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def dense(dynamics):
    transition = np.zeros((dynamics.states, dynamics.actions, dynamics.states))
    for s, a, k in np.ndindex(*dynamics.successors.shape):
        transition[s, a, dynamics.successors[s, a, k]] += dynamics.probabilities[s, a, k]
    return transition


def soft_maximum(Q, temperature):
    """tau log sum exp(Q / tau), as one writes it down."""
    return temperature * np.log(np.exp(Q / temperature).sum(axis=-1))


# --- by hand


@BITS
def test_two_states_at_temperature_0(ordered):
    """V(1) = 1 / (1 - 1/2) = 2; Q(0, go) = 1; Q(0, stay) = V(0) / 2 = 1/2."""
    plan = value_iteration(two_states(), PAYS_IN_STATE_1, 0.0, ordered=ordered)
    assert pytest.approx(np.array([[0.5, 1.0], [2.0, 2.0]]), abs=1e-9) == plan.Q
    assert pytest.approx([1.0, 2.0], abs=1e-9) == plan.V
    assert plan.policy.tolist() == [[0.0, 1.0], [0.5, 0.5]]


@BITS
def test_two_states_at_temperature_1(ordered):
    """V(1) = 2 (1 + log 2), so exp Q(0, go) = 2e; x = exp(V(0) / 2) solves x^2 = x + 2e."""
    x = (1 + np.sqrt(1 + 8 * np.e)) / 2
    plan = value_iteration(two_states(), PAYS_IN_STATE_1, 1.0, ordered=ordered)
    assert plan.policy == pytest.approx(np.array([[1 / x, 1 - 1 / x], [0.5, 0.5]]))
    assert pytest.approx([2 * np.log(x), 2 * (1 + np.log(2))]) == plan.V


@BITS
def test_two_states_over_two_steps(ordered):
    """At the last step both actions are worth r(s); before it, going is worth 1 more."""
    dynamics = two_states(discount=1.0, horizon=2)
    plan = finite_horizon_value_iteration(dynamics, PAYS_IN_STATE_1, 0.5, ordered=ordered)
    go = 1 / (1 + np.exp(-1 / 0.5))
    expected = [[[1 - go, go], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]]
    assert plan.policy == pytest.approx(np.array(expected))
    last = np.array([0.0, 1.0]) + 0.5 * np.log(2)
    assert plan.Q[1] == pytest.approx(np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert plan.V[1] == pytest.approx(last)
    assert plan.Q[0] == pytest.approx(np.array([last, 1 + last[[1, 1]]]))


def test_ties_share_the_policy_and_others_get_none():
    Q = np.array([[1.0, 1.0 - 1e-12, 0.999], [-3.0, -2.0, -5.0]])
    assert greedy(Q).tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]
    assert policy_logits(Q, 0.0).tolist() == [[0.0, 0.0, -1000.0], [-1000.0, 0.0, -1000.0]]
    assert policy_logits(Q, 2.0)[1].tolist() == [-0.5, 0.0, -1.5]


# --- by enumeration


@BITS
def test_the_soft_value_sums_over_every_trajectory_of_deterministic_dynamics(
    random_dynamics, ordered
):
    """V_0(s) = tau log sum over action sequences of exp(return / tau) (maximum entropy paths)."""
    tau, horizon = 0.7, 5
    dynamics = random_dynamics(0, 4, 3, 1, horizon=horizon, discount=1.0)
    rewards = normal(1, 4, 3)
    plan = finite_horizon_value_iteration(dynamics, rewards, tau, ordered=ordered)
    for start in range(4):
        returns = []
        for actions in itertools.product(range(3), repeat=horizon):
            state, total = start, 0.0
            for action in actions:
                total += rewards[state, action]
                state = int(dynamics.successors[state, action, 0])
            returns.append(total)
        expected = tau * np.log(np.exp(np.array(returns) / tau).sum())
        assert plan.V[0, start] == pytest.approx(expected, abs=1e-12)


@given(SEEDS, st.integers(0, 1), st.booleans())
@settings(deadline=None, max_examples=25)
def test_no_deterministic_policy_beats_temperature_0(random_dynamics, seed, ends, ordered):
    """All 8 stationary policies of three states, and all 64 plans of two steps."""
    dynamics = random_dynamics(seed, 3, 2, 2, horizon=2, discount=0.8, ends=ends)
    rewards, transition = normal(seed, 3, 2), dense(dynamics) * ~dynamics.terminal
    plans = list(itertools.product(range(2), repeat=3))
    rows = np.arange(3)

    def chosen(plan):
        return rewards[rows, plan], transition[rows, plan]

    def for_ever(plan):
        r, P = chosen(plan)
        return np.linalg.solve(np.eye(3) - 0.8 * P, r)

    def twice(first, second):
        (r, P), (later, _) = chosen(first), chosen(second)
        return r + 0.8 * P @ later

    best = np.max([for_ever(plan) for plan in plans], axis=0)
    found = value_iteration(dynamics, rewards, 0.0, ordered=ordered)
    assert pytest.approx(np.where(dynamics.terminal, 0, best), abs=1e-8) == found.V
    best = np.max([twice(*pair) for pair in itertools.product(plans, repeat=2)], axis=0)
    found = finite_horizon_value_iteration(dynamics, rewards, 0.0, ordered=ordered)
    assert found.V[0] == pytest.approx(np.where(dynamics.terminal, 0, best), abs=1e-12)


# --- the soft objective, E[sum_t gamma^t (r_t + tau H(pi(.|s_t)))]


def soft_return(dynamics, rewards, policy, tau):
    """Of a stationary policy from every state, by evaluating r - tau log pi."""
    logs = np.log(np.where(policy > 0, policy, 1.0))
    return policy_values(dynamics, rewards - tau * logs, policy, finite_horizon=False)


@given(SEEDS, TEMPERATURES, st.integers(0, 1), st.booleans())
@settings(deadline=None, max_examples=40)
def test_the_soft_policy_has_the_soft_value_and_no_policy_has_more(
    random_dynamics, seed, tau, ends, ordered
):
    dynamics = random_dynamics(seed, 6, 3, 3, discount=0.9, ends=ends)
    rewards = normal(seed, 6, 3)
    plan = value_iteration(dynamics, rewards, tau, ordered=ordered)
    assert soft_return(dynamics, rewards, plan.policy, tau) == pytest.approx(plan.V, abs=1e-7)
    rng = np.random.default_rng(seed)
    others = rng.dirichlet(np.ones(3), size=6)
    for share in (1e-3, 0.1, 1.0):
        mixed = (1 - share) * plan.policy + share * others
        assert (soft_return(dynamics, rewards, mixed, tau) <= plan.V + 1e-7).all()


@given(SEEDS, TEMPERATURES, st.booleans())
@settings(deadline=None, max_examples=40)
def test_the_finite_horizon_is_the_soft_bellman_equation(random_dynamics, seed, tau, ordered):
    dynamics = random_dynamics(seed, 6, 3, 3, horizon=7, discount=0.95, ends=1)
    rewards = normal(seed, 6, 3, 3)
    expected = np.einsum("sak,sak->sa", dynamics.probabilities, rewards)
    plan = finite_horizon_value_iteration(dynamics, rewards, tau, ordered=ordered)
    later = np.concatenate([plan.V[1:], np.zeros((1, 6))])
    for step in range(7):
        backed_up = expected + 0.95 * dense(dynamics) @ later[step]
        assert plan.Q[step] == pytest.approx(backed_up, abs=1e-9)
    V = soft_maximum(plan.Q, tau)
    assert pytest.approx(np.where(dynamics.terminal, 0, V), abs=1e-9) == plan.V
    assert plan.policy == pytest.approx(np.exp((plan.Q - V[:, :, None]) / tau), abs=1e-9)
    assert plan.sweeps == 7


@given(SEEDS, st.sampled_from([1e-1, 1e-2, 1e-4]))
@settings(deadline=None, max_examples=20)
def test_temperature_0_is_the_limit(random_dynamics, seed, tau):
    """0 <= V_tau - V_0 <= tau log A / (1 - gamma)."""
    dynamics, rewards = random_dynamics(seed, 6, 3, 3), normal(seed, 6, 3)
    soft, hard = (value_iteration(dynamics, rewards, t).V for t in (tau, 0.0))
    assert (soft >= hard - 1e-8).all()
    assert (soft <= hard + tau * np.log(3) / 0.1 + 1e-8).all()


def test_a_small_temperature_has_the_policy_of_temperature_0(random_dynamics):
    dynamics, rewards = random_dynamics(), normal(1, 5, 3)
    soft, hard = (value_iteration(dynamics, rewards, t).policy for t in (1e-4, 0.0))
    assert soft == pytest.approx(hard, abs=1e-9)


# --- how exact


@BITS
@pytest.mark.parametrize("discount", [0.0, 0.5, 0.99, 0.999])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_tolerance_is_kept(random_dynamics, discount, scale, ordered):
    dynamics, tau = random_dynamics(discount=discount), 0.3 * scale
    rewards = scale * normal(1, 5, 3)
    plan = value_iteration(dynamics, rewards, tau, tolerance=1e-6, ordered=ordered)
    again = rewards + discount * dynamics.expect(plan.V)
    largest = (np.abs(rewards).max() + tau * np.log(3)) / (1 - discount)
    # An error of e moves by at most (1 + gamma) e under one more backup.
    assert np.abs(again - plan.Q).max() <= 2 * 1e-6 * largest


@BITS
def test_values_beyond_what_exp_takes_are_ordinary(ordered):
    """Returns of 2e6 at temperature 1, and of 2 at temperature 1e-6."""
    for reward, tau in ((1e6, 1.0), (1.0, 1e-6)):
        rewards = reward * np.array([[0.0, 0.0], [1.0, 1.0]])
        plan = value_iteration(two_states(), rewards, tau, ordered=ordered)
        assert pytest.approx([reward, 2 * reward], rel=1e-5) == plan.V
        assert plan.policy[0].tolist() == [0.0, 1.0]
        dynamics = two_states(discount=1.0, horizon=4)
        plan = finite_horizon_value_iteration(dynamics, rewards, tau, ordered=ordered)
        assert plan.V[0] == pytest.approx([3 * reward, 4 * reward], rel=1e-5)


def test_exponentials_need_no_shift_just_where_values_are_small():
    """At temperature 1 exp takes 709: half of it is allowed to the 5 sweeps of 1 + log 2."""
    small = BellmanBackup(two_states(discount=1.0), PAYS_IN_STATE_1, 1.0, sweeps=5)
    assert small._shifted is False
    large = BellmanBackup(two_states(discount=1.0), 100 * PAYS_IN_STATE_1, 1.0, sweeps=5)
    assert large._shifted is True
    endless = BellmanBackup(two_states(discount=1.0), PAYS_IN_STATE_1, 1.0)
    assert endless._shifted is True


@BITS
@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_float32_comes_near_float64(random_dynamics, tau, ordered):
    dynamics, rewards = random_dynamics(2, 30, 4, 3, horizon=20, discount=0.9), normal(2, 30)
    single, double = (
        value_iteration(dynamics, rewards, tau, 1e-5, dtype, ordered=ordered)
        for dtype in (np.float32, np.float64)
    )
    assert single.Q.dtype == single.V.dtype == np.float32
    assert pytest.approx(double.Q, abs=1e-3) == single.Q
    assert single.policy == pytest.approx(double.policy, abs=1e-3 / max(tau, 0.1))
    single, double = (
        finite_horizon_value_iteration(dynamics, rewards, tau, dtype, ordered=ordered)
        for dtype in (np.float32, np.float64)
    )
    assert single.Q.dtype == np.float32
    assert pytest.approx(double.V, abs=1e-4) == single.V


def test_blocks_of_states_do_not_change_a_bit(random_dynamics, monkeypatch):
    dynamics, rewards = random_dynamics(5, 40, 3, 3, horizon=6, ends=1), normal(5, 40, 3)
    plans = []
    for size in (2**15, 9):
        monkeypatch.setattr(expectation, "_BLOCK", size)
        fresh = replace(dynamics)
        assert (len(list(fresh.expectation(np.float64))) > 1) == (size == 9)
        plans.append(value_iteration(fresh, rewards, 0.7, ordered=True))
        plans.append(finite_horizon_value_iteration(fresh, rewards, 0.7, ordered=True))
    for whole, divided in ((plans[0], plans[2]), (plans[1], plans[3])):
        for name in ("Q", "V", "policy"):
            assert np.array_equal(getattr(whole, name), getattr(divided, name))


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_in_order_a_constant_reward_gives_the_uniform_policy_to_the_bit(seven_by_seven, tau):
    dynamics, _ = seven_by_seven
    for plan in (
        value_iteration(dynamics, np.ones(49), tau, ordered=True),
        finite_horizon_value_iteration(dynamics, np.ones(49), tau, ordered=True),
    ):
        assert (plan.policy == 0.25).all()


def written_down(dynamics, rewards, tau, V):
    """Q and V of one backup, the additions in the order that recorded results rest on."""
    terms = dynamics.probabilities * np.where(dynamics.terminal, 0.0, V)[dynamics.successors]
    following = terms[:, :, 0]
    for place in range(1, terms.shape[2]):
        following = following + terms[:, :, place]
    Q = rewards + dynamics.discount * following
    highest = Q.max(axis=1)
    if tau == 0:
        return Q, highest
    total = np.zeros(len(Q))
    for action in range(Q.shape[1]):
        total = total + np.exp((Q[:, action] - highest) / tau)
    return Q, highest + tau * np.log(total)


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_in_order_the_bits_are_those_of_the_formulas(random_dynamics, tau):
    dynamics, rewards = random_dynamics(8, 30, 5, 4, horizon=12, ends=2), normal(8, 30, 5)
    plan = finite_horizon_value_iteration(dynamics, rewards, tau, ordered=True)
    V = np.zeros(30)
    for step in reversed(range(12)):
        Q, V = written_down(dynamics, rewards, tau, V)
        assert np.array_equal(plan.Q[step], Q)
        assert np.array_equal(plan.V[step], np.where(dynamics.terminal, 0.0, V))
    endless, V = value_iteration(dynamics, rewards, tau, ordered=True), np.zeros(30)
    for _ in range(endless.sweeps):
        Q, V = written_down(dynamics, rewards, tau, V)
    assert np.array_equal(endless.Q, Q)


# --- the 7 x 7 grid


def test_the_log_policy_of_the_expert_is_its_advantage(seven_by_seven):
    """tau log pi = Q - V = r + gamma E[V'] - V: the reward, shaped by the soft value."""
    dynamics, rewards = seven_by_seven
    plan = value_iteration(dynamics, rewards, 0.3, tolerance=1e-13)
    shaped = rewards[:, None] + 0.95 * dynamics.expect(plan.V) - plan.V[:, None]
    assert 0.3 * np.log(plan.policy) == pytest.approx(shaped, abs=1e-10)


def test_the_grid_is_symmetric_and_so_is_its_expert(seven_by_seven):
    dynamics, rewards = seven_by_seven
    plan = value_iteration(dynamics, rewards, 0.3)
    mirrored = plan.policy.reshape(7, 7, 4).transpose(1, 0, 2)[:, :, [3, 2, 1, 0]]
    assert mirrored.reshape(49, 4) == pytest.approx(plan.policy, abs=1e-9)
    assert plan.V.argmax() == 48 and plan.V[24] < plan.V[[17, 23, 25, 31]].min()


# --- another package's


@pytest.mark.skipif(
    importlib.util.find_spec("imitation") is None,
    reason="imitation is not installed (make setup installs it)",
)
@given(SEEDS, st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=25)
def test_it_agrees_with_imitation(random_dynamics, seed, states, actions, width, ordered):
    from imitation.algorithms.mce_irl import mce_partition_fh

    dynamics = random_dynamics(seed, states, actions, width, horizon=25, discount=0.9)
    rewards = normal(seed, states)
    peer = SimpleNamespace(
        horizon=25, state_dim=states, action_dim=actions, transition_matrix=dense(dynamics)
    )
    V, Q, pi = mce_partition_fh(peer, reward=rewards, discount=0.9)
    plan = finite_horizon_value_iteration(dynamics, rewards, 1.0, ordered=ordered)
    assert np.abs(plan.V - V).max() < 1e-6
    assert np.abs(plan.Q - Q).max() < 1e-6
    assert np.abs(plan.policy - pi).max() < 1e-6


# --- what cannot be planned


@pytest.mark.parametrize("plan", [value_iteration, finite_horizon_value_iteration])
@pytest.mark.parametrize("temperature", [-0.5, np.nan, np.inf])
def test_a_temperature_is_a_number_from_0_on(plan, temperature):
    with pytest.raises(UsageError, match=f"from 0 on, got {temperature}"):
        plan(two_states(), PAYS_IN_STATE_1, temperature)


@pytest.mark.parametrize("plan", [value_iteration, finite_horizon_value_iteration])
def test_a_reward_of_another_problem_is_refused(plan):
    with pytest.raises(UsageError, match=r"\(2,\), \(2, 2\) or \(2, 2, 1\).* got \(3,\)"):
        plan(two_states(), np.zeros(3), 1.0)


def test_no_discount_needs_a_horizon():
    with pytest.raises(UsageError, match=r"below 1, got 1\.0: set finite_horizon"):
        value_iteration(two_states(discount=1.0), PAYS_IN_STATE_1, 1.0)


def test_a_tolerance_below_the_rounding_is_refused():
    with pytest.raises(
        UsageError, match=r"float32 keeps no tolerance of 1e-10, only from 2\.4e-07"
    ):
        value_iteration(two_states(), PAYS_IN_STATE_1, 1.0, dtype=np.float32)
    with pytest.raises(UsageError, match="float64 keeps no tolerance of nan"):
        value_iteration(two_states(), PAYS_IN_STATE_1, 1.0, np.nan)
    plan = value_iteration(two_states(), PAYS_IN_STATE_1, 0.0, 2.4e-7, np.float32)
    assert pytest.approx([1.0, 2.0], abs=1e-5) == plan.V
