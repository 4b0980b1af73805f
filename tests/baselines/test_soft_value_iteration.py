"""Soft value iteration gives known answers: by hand, by enumeration, and another package's."""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

from irlbench.algorithm import Run
from irlbench.baselines.solvers.soft_value_iteration import (
    SoftValueIteration,
    finite_horizon_values,
    infinite_horizon_values,
    policy_logits,
    reward_table,
    soft_maximum,
)
from irlbench.dynamics import TabularDynamics
from irlbench.errors import UsageError
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.policy import load_policy, save_policy
from irlbench.problem import Budget, OpenProblem
from irlbench.reward import RewardFunction
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.table import TableReward


def random_dynamics(states=5, actions=3, successors=2, *, horizon=4, discount=0.9, seed=0):
    rng = np.random.default_rng(seed)
    shape = (states, actions, successors)
    return TabularDynamics(
        successors=rng.integers(states, size=shape).astype(np.int32),
        probabilities=rng.dirichlet(np.ones(successors), size=shape[:2]),
        initial=np.full(states, 1 / states),
        terminal=np.zeros(states, dtype=bool),
        horizon=horizon,
        discount=discount,
    )


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


def problem(dynamics):
    return OpenProblem(
        task_id="gridworld/test-v0",
        world="gridworld",
        observation_space=spaces.Discrete(dynamics.states),
        action_space=spaces.Discrete(dynamics.actions),
        horizon=dynamics.horizon,
        discount=dynamics.discount,
        track="reference",
        seed=0,
        needs=SoftValueIteration.needs,
        suppliers={"dynamics": lambda: dynamics},
    )


def solve(dynamics, reward, **changes):
    solver = SoftValueIteration.configure("gridworld", changes)
    return solver.solve(problem(dynamics), reward, Budget(), Run())


PAYS_IN_STATE_1 = TableReward(np.array([0.0, 1.0]))


# --- by hand


def test_two_states_at_temperature_0():
    """V(1) = 1 / (1 - 1/2) = 2; Q(0, go) = 1; Q(0, stay) = V(0) / 2 = 1/2."""
    values = infinite_horizon_values(two_states(), np.array([[0.0, 0.0], [1.0, 1.0]]), 0.0)
    assert values == pytest.approx(np.array([[0.5, 1.0], [2.0, 2.0]]), abs=1e-9)
    policy = solve(two_states(), PAYS_IN_STATE_1, temperature=0.0)
    assert isinstance(policy, TablePolicy)
    assert policy.probabilities.tolist() == [[0.0, 1.0], [0.5, 0.5]]


def test_two_states_at_temperature_1():
    """V(1) = 2 (1 + log 2), so exp Q(0, go) = 2e; x = exp(V(0) / 2) solves x^2 = x + 2e."""
    x = (1 + np.sqrt(1 + 8 * np.e)) / 2
    policy = solve(two_states(), PAYS_IN_STATE_1, temperature=1.0)
    assert isinstance(policy, TablePolicy)
    assert policy.probabilities == pytest.approx(np.array([[1 / x, 1 - 1 / x], [0.5, 0.5]]))


def test_two_states_over_two_steps():
    """At the last step both actions are worth r(s); before it, going is worth 1 more."""
    policy = solve(
        two_states(discount=1.0, horizon=2), PAYS_IN_STATE_1, temperature=0.5, finite_horizon=True
    )
    assert isinstance(policy, TimeDependentTablePolicy)
    go = 1 / (1 + np.exp(-1 / 0.5))
    expected = [[[1 - go, go], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]]
    assert policy.probabilities == pytest.approx(np.array(expected))


def test_the_soft_maximum_by_hand():
    Q = np.array([[0.0, np.log(3.0)], [1.0, 1.0]])
    assert soft_maximum(Q, 1.0) == pytest.approx([np.log(4.0), 1 + np.log(2.0)])
    assert soft_maximum(Q, 0.0).tolist() == pytest.approx([np.log(3.0), 1.0])
    assert soft_maximum(Q * 1e4, 1e-3) == pytest.approx(soft_maximum(Q, 0.0) * 1e4)


# --- by enumeration


def test_the_soft_value_sums_over_every_trajectory_of_deterministic_dynamics():
    """V_0(s) = tau log sum over action sequences of exp(return / tau) (maximum entropy paths)."""
    tau, horizon = 0.7, 5
    dynamics = replace(
        random_dynamics(4, 3, 1, horizon=horizon, discount=1.0), probabilities=np.ones((4, 3, 1))
    )
    rewards = np.random.default_rng(1).normal(size=(4, 3))
    values = finite_horizon_values(dynamics, rewards, tau)
    for start in range(4):
        returns = []
        for actions in itertools.product(range(3), repeat=horizon):
            state, total = start, 0.0
            for action in actions:
                total += rewards[state, action]
                state = int(dynamics.successors[state, action, 0])
            returns.append(total)
        expected = tau * np.log(np.exp(np.array(returns) / tau).sum())
        assert soft_maximum(values[0], tau)[start] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("finite", [True, False])
def test_no_deterministic_policy_beats_temperature_0(finite):
    horizon = 2
    dynamics = random_dynamics(3, 2, 2, horizon=horizon, discount=0.8, seed=3)
    rewards = np.random.default_rng(4).normal(size=(3, 2))
    transition = np.zeros((3, 2, 3))
    for s, a, k in np.ndindex(3, 2, 2):
        transition[s, a, dynamics.successors[s, a, k]] += dynamics.probabilities[s, a, k]

    def value(plans):
        total = np.zeros(3)
        for plan in reversed(plans):
            rows = np.arange(3), np.array(plan)
            total = rewards[rows] + 0.8 * transition[rows] @ total
        return total

    all_plans = list(itertools.product(range(2), repeat=3))
    if finite:
        best = np.max([value(plans) for plans in itertools.product(all_plans, repeat=2)], axis=0)
        found = finite_horizon_values(dynamics, rewards, 0.0)[0].max(axis=1)
        assert found == pytest.approx(best, abs=1e-12)
    else:
        best = np.max([value([plan] * 200) for plan in all_plans], axis=0)
        found = infinite_horizon_values(dynamics, rewards, 0.0).max(axis=1)
        assert found == pytest.approx(best, abs=1e-8)


@pytest.mark.parametrize("tau", [0.05, 1.0, 10.0])
def test_the_policys_own_entropy_regularised_value_is_the_soft_value(tau):
    """V = E_pi[r + gamma V' - tau log pi], solved as a linear system."""
    dynamics = random_dynamics(6, 3, 3, discount=0.95)
    rewards = np.random.default_rng(1).normal(size=(6, 3))
    Q = infinite_horizon_values(dynamics, rewards, tau)
    policy = TablePolicy(policy_logits(Q, tau))
    transition = np.zeros((6, 6))
    for s, a, k in np.ndindex(6, 3, 3):
        weight = policy.probabilities[s, a] * dynamics.probabilities[s, a, k]
        transition[s, dynamics.successors[s, a, k]] += weight
    bonus = (policy.probabilities * (rewards - tau * policy.log_probabilities)).sum(axis=1)
    value = np.linalg.solve(np.eye(6) - 0.95 * transition, bonus)
    assert soft_maximum(Q, tau) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.99, 0.999])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_tolerance_is_kept(discount, scale):
    dynamics = random_dynamics(discount=discount)
    rewards = scale * np.random.default_rng(1).normal(size=(5, 3))
    Q = infinite_horizon_values(dynamics, rewards, 0.3 * scale, tolerance=1e-6)
    again = rewards + discount * dynamics.expect(soft_maximum(Q, 0.3 * scale))
    largest = (np.abs(rewards).max() + 0.3 * scale * np.log(3)) / (1 - discount)
    # An error of e moves by at most (1 + gamma) e under one more backup.
    assert np.abs(again - Q).max() <= 2 * 1e-6 * largest


def test_a_small_temperature_comes_near_temperature_0():
    dynamics = random_dynamics()
    reward = TableReward(np.random.default_rng(1).normal(size=(5, 3)))
    soft = solve(dynamics, reward, temperature=1e-4)
    hard = solve(dynamics, reward, temperature=0.0)
    assert isinstance(soft, TablePolicy) and isinstance(hard, TablePolicy)
    assert soft.probabilities == pytest.approx(hard.probabilities, abs=1e-9)


# --- another package's


@pytest.mark.skipif(
    importlib.util.find_spec("imitation") is None,
    reason="imitation is not installed (make setup installs it)",
)
def test_it_agrees_with_imitation():
    from imitation.algorithms.mce_irl import mce_partition_fh

    dynamics = random_dynamics(7, 4, 3, horizon=25, discount=0.9)
    transition = np.zeros((7, 4, 7))
    for s, a, k in np.ndindex(7, 4, 3):
        transition[s, a, dynamics.successors[s, a, k]] += dynamics.probabilities[s, a, k]
    rewards = np.random.default_rng(1).normal(size=7)
    peer = SimpleNamespace(horizon=25, state_dim=7, action_dim=4, transition_matrix=transition)
    _, Q, pi = mce_partition_fh(peer, reward=rewards, discount=0.9)
    policy = solve(dynamics, TableReward(rewards), temperature=1.0, finite_horizon=True)
    assert isinstance(policy, TimeDependentTablePolicy)
    assert np.abs(policy.probabilities - pi).max() < 1e-6
    ours = finite_horizon_values(dynamics, np.repeat(rewards[:, None], 4, axis=1), 1.0)
    assert np.abs(ours - Q).max() < 1e-6


# --- rewards


@pytest.mark.parametrize("changes", [{}, {"temperature": 0.0}, {"finite_horizon": True}])
@pytest.mark.parametrize("value", [1.0, -3.0, 0.0])
def test_a_constant_reward_without_an_end_gives_the_uniform_policy(changes, value):
    policy = solve(random_dynamics(discount=0.99), LinearReward.constant(value), **changes)
    assert isinstance(policy, TablePolicy | TimeDependentTablePolicy)
    assert np.abs(policy.probabilities - 1 / 3).max() < 1e-12


@pytest.mark.parametrize(("value", "stays"), [(1.0, True), (-1.0, False)])
def test_a_constant_reward_with_an_end_is_survival(value, stays):
    dynamics = replace(two_states(discount=0.9), terminal=np.array([False, True]))
    policy = solve(dynamics, LinearReward.constant(value), temperature=0.0)
    assert isinstance(policy, TablePolicy)
    assert policy.probabilities[0].tolist() == ([1.0, 0.0] if stays else [0.0, 1.0])


class OfTransitions(RewardFunction):
    kind = "transition"

    def __call__(self, observation, action, next_observation, terminated):
        return observation + 10.0 * action + 100.0 * next_observation + 1000.0 * terminated


def test_a_reward_of_transitions_is_averaged_over_successors():
    dynamics = TabularDynamics(
        successors=np.array([[[0, 1]], [[1, 1]]], dtype=np.int32),
        probabilities=np.array([[[0.25, 0.75]], [[1.0, 0.0]]]),
        initial=np.array([1.0, 0.0]),
        terminal=np.array([False, True]),
        horizon=1,
        discount=0.9,
    )
    # From 0: 0.25 (stay: 0) + 0.75 (to 1, the end: 100 + 1000); from 1: 1 + 100 + 1000.
    assert reward_table(OfTransitions(), dynamics).tolist() == [[825.0], [1101.0]]


def test_rewards_of_states_and_of_actions_are_tables():
    dynamics = random_dynamics()
    states = np.random.default_rng(1).normal(size=5)
    pairs = np.random.default_rng(2).normal(size=(5, 3))
    assert reward_table(TableReward(states), dynamics) == pytest.approx(
        np.repeat(states[:, None], 3, axis=1)
    )
    assert reward_table(TableReward(pairs), dynamics) == pytest.approx(pairs)


# --- what cannot be solved


def test_a_reward_that_is_not_finite_is_named():
    rewards = np.zeros((5, 3))
    rewards[2, 1] = np.nan
    with pytest.raises(UsageError, match=r"state 2, action 1, next state \d is nan"):
        solve(random_dynamics(), TableReward(rewards))


def test_a_reward_of_trajectories_is_refused():
    reward = TableReward(np.zeros(5))
    reward.kind = "trajectory"
    with pytest.raises(UsageError, match="trajectories"):
        solve(random_dynamics(), reward)


def test_it_needs_a_reward_function():
    with pytest.raises(UsageError, match="never steps"):
        solve(random_dynamics(), None)


def test_no_discount_needs_a_horizon():
    dynamics = random_dynamics(discount=1.0)
    with pytest.raises(UsageError, match="finite_horizon"):
        solve(dynamics, TableReward(np.zeros(5)))
    assert solve(dynamics, TableReward(np.zeros(5)), finite_horizon=True) is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"temperature": -1.0}, "-1.0"), ({"tolerance": 0.0}, "0.0"), ({"tolerance": 1.0}, "1.0")],
)
def test_unusable_settings_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        SoftValueIteration.configure("gridworld", changes)


def test_an_optimal_policy_can_be_saved(tmp_path):
    policy = solve(two_states(), PAYS_IN_STATE_1, temperature=0.0)
    assert isinstance(policy, TablePolicy) and policy.is_finite()
    save_policy(policy, tmp_path)
    loaded = load_policy(tmp_path)
    assert isinstance(loaded, TablePolicy)
    assert np.array_equal(loaded.probabilities, policy.probabilities)
