"""The solver gives policies that are optimal for the reward it is handed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

from irlbench.algorithm import Run
from irlbench.baselines.solvers.soft_value_iteration import SoftValueIteration
from irlbench.errors import UsageError
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.policy import load_policy, save_policy
from irlbench.problem import Budget, OpenProblem
from irlbench.reward import RewardFunction
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.table import TableReward
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.planning import finite_horizon_value_iteration, value_iteration


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


# --- plans


def test_the_policy_is_the_plans_own(random_dynamics):
    dynamics = random_dynamics()
    pairs = np.random.default_rng(2).normal(size=(5, 3))
    policy = solve(dynamics, TableReward(pairs), temperature=0.5)
    assert isinstance(policy, TablePolicy)
    plan = value_iteration(dynamics, pairs, 0.5)
    assert policy.probabilities == pytest.approx(plan.policy, abs=1e-9)
    policy = solve(dynamics, TableReward(pairs), temperature=0.5, finite_horizon=True)
    assert isinstance(policy, TimeDependentTablePolicy)
    plan = finite_horizon_value_iteration(dynamics, pairs, 0.5)
    assert policy.probabilities == pytest.approx(plan.policy, abs=1e-9)


def test_two_states_at_temperature_0():
    policy = solve(two_states(), PAYS_IN_STATE_1, temperature=0.0)
    assert isinstance(policy, TablePolicy)
    assert policy.probabilities.tolist() == [[0.0, 1.0], [0.5, 0.5]]


def test_two_states_over_two_steps():
    """At the last step both actions are worth r(s); before it, going is worth 1 more."""
    dynamics = two_states(discount=1.0, horizon=2)
    policy = solve(dynamics, PAYS_IN_STATE_1, temperature=0.5, finite_horizon=True)
    assert isinstance(policy, TimeDependentTablePolicy)
    go = 1 / (1 + np.exp(-1 / 0.5))
    expected = [[[1 - go, go], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]]
    assert policy.probabilities == pytest.approx(np.array(expected))


def test_the_tolerance_is_that_of_the_plan(random_dynamics):
    dynamics, rewards = random_dynamics(discount=0.99), np.random.default_rng(1).normal(size=5)
    coarse, fine = (
        solve(dynamics, TableReward(rewards), tolerance=tolerance).log_probabilities
        for tolerance in (0.5, 1e-12)
    )
    assert 1e-6 < np.abs(coarse - fine).max() < 10


# --- rewards


@pytest.mark.parametrize("changes", [{}, {"temperature": 0.0}, {"finite_horizon": True}])
@pytest.mark.parametrize("value", [1.0, -3.0, 0.0])
def test_a_constant_reward_without_an_end_gives_the_uniform_policy(random_dynamics, changes, value):
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
    """From 0, action 0 pays 0.25 * 0 + 0.75 * (100 + 1000), and action 1 ten for the action."""
    dynamics = TabularDynamics(
        successors=np.array([[[0, 1], [0, 0]], [[1, 1], [1, 1]]]),
        probabilities=np.array([[[0.25, 0.75], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]),
        initial=np.array([1.0, 0.0]),
        terminal=np.array([False, True]),
        horizon=1,
        discount=0.0,
    )
    policy = solve(dynamics, OfTransitions(), temperature=100.0)
    assert isinstance(policy, TablePolicy)
    assert np.diff(policy.log_probabilities[0]) == pytest.approx((10.0 - 825.0) / 100)


# --- what cannot be solved


def test_a_reward_that_is_not_finite_is_named(random_dynamics):
    rewards = np.zeros((5, 3))
    rewards[2, 1] = np.nan
    with pytest.raises(UsageError, match=r"state 2, action 1, next state \d is nan"):
        solve(random_dynamics(), TableReward(rewards))


def test_a_reward_of_trajectories_is_refused(random_dynamics):
    reward = TableReward(np.zeros(5))
    reward.kind = "trajectory"
    with pytest.raises(UsageError, match="trajectories"):
        solve(random_dynamics(), reward)


def test_it_needs_a_reward_function(random_dynamics):
    with pytest.raises(UsageError, match="never steps"):
        solve(random_dynamics(), None)


def test_no_discount_needs_a_horizon(random_dynamics):
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
