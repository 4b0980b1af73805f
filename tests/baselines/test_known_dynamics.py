"""Learning with known dynamics agrees with the exact functions of irlbench.tabular."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.baselines.learners.functions import TableFunction
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.tabular.demonstrations import demonstrated_occupancy
from irlbench.tabular.occupancy import infinite_horizon_occupancy
from irlbench.tabular.planning import value_iteration

WORLDS = [(seed, ends) for seed in range(3) for ends in (0, 2)]


def table(values):
    made = TableFunction(*values.shape)
    with torch.no_grad():
        made.values.copy_(torch.from_numpy(values))
    return made


def random_policy(dynamics, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(dynamics.actions), size=dynamics.states)


@pytest.mark.parametrize(("seed", "ends"), WORLDS)
def test_the_expectation_is_that_of_the_dynamics(random_dynamics, seed, ends):
    dynamics = random_dynamics(seed, 7, 3, 3, ends=ends)
    values = np.random.default_rng(seed).normal(size=7)
    found = KnownDynamics(dynamics).expect(torch.from_numpy(values)).numpy()
    assert found == pytest.approx(dynamics.expect(values), abs=1e-14)


def test_nothing_is_earned_from_a_terminal_state_on(random_dynamics):
    dynamics = random_dynamics(0, 7, 3, 3, ends=2)
    only_there = torch.from_numpy(np.where(dynamics.terminal, 5.0, 0.0))
    assert not KnownDynamics(dynamics).expect(only_there).any()


def test_the_gradient_of_the_expectation_is_the_transition_matrix(random_dynamics):
    dynamics = random_dynamics(1, 5, 3, 2)
    values = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    KnownDynamics(dynamics).expect(values)[2, 1].backward()
    wanted = np.zeros(5)
    np.add.at(wanted, dynamics.successors[2, 1], dynamics.probabilities[2, 1])
    assert values.grad is not None
    assert values.grad.numpy() == pytest.approx(wanted)


@pytest.mark.parametrize(("seed", "ends"), WORLDS)
def test_a_policys_occupancy_is_the_exact_one_where_the_experts_is(random_dynamics, seed, ends):
    dynamics = random_dynamics(seed, 7, 3, 3, ends=ends)
    expert_policy, policy = random_policy(dynamics, 0), random_policy(dynamics, 1)
    expert = infinite_horizon_occupancy(dynamics, expert_policy)
    known = KnownDynamics(dynamics, expert)
    assert known.occupancy(expert_policy) == pytest.approx(expert, abs=1e-12)
    wanted = infinite_horizon_occupancy(dynamics, policy)
    assert known.occupancy(policy) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("ends", [False, True])
def test_few_cut_demonstrations_are_the_occupancy_of_the_actions_they_show(worlds, ends):
    """rho solves rho = d + gamma P'rho with its own unexplained flow d, whatever was left out."""
    world = worlds(ends=ends)
    expert, _ = demonstrated_occupancy(
        world.dynamics, world.demonstrations(2), finite_horizon=False
    )
    visits = expert.sum(axis=1, keepdims=True)
    shown = np.divide(expert, visits, out=np.full_like(expert, 0.25), where=visits > 0)
    known = KnownDynamics(world.dynamics, expert)
    assert known.occupancy(shown) == pytest.approx(expert, abs=1e-12)
    other = known.occupancy(random_policy(world.dynamics))
    assert other.min() >= 0
    assert other.sum() > 0


@pytest.mark.parametrize("ends", [False, True])
def test_the_values_of_the_soft_optimal_Q_imply_the_reward_that_it_is_of(worlds, ends):
    world = worlds(ends=ends)
    known = KnownDynamics(world.dynamics)
    everything = torch.ones(16, 4, dtype=torch.float64)
    values = known.soft_values(table(world.plan.Q), everything, world.temperature)
    inside = ~world.dynamics.terminal
    assert values.V[:, 0].detach().numpy()[inside] == pytest.approx(world.plan.V[inside], abs=1e-9)
    wanted = world.dynamics.expect(world.plan.V)
    assert values.V_next.detach().numpy() == pytest.approx(wanted, abs=1e-9)
    implied = values.reward(world.dynamics.discount).detach().numpy()
    true = np.broadcast_to(world.rewards.reshape(16, -1), (16, 4))
    assert implied[inside] == pytest.approx(true[inside], abs=1e-9)


def test_what_follows_is_of_the_target_and_without_gradient(small_world):
    known = KnownDynamics(small_world.dynamics)
    everything = torch.ones(16, 4, dtype=torch.float64)
    Q, target = table(np.zeros((16, 4))), table(small_world.plan.Q)
    values = known.soft_values(Q, everything, small_world.temperature, target)
    wanted = small_world.dynamics.expect(small_world.plan.V)
    assert values.V_next.numpy() == pytest.approx(wanted, abs=1e-9)
    assert not values.V_next.requires_grad
    assert values.Q.requires_grad
    assert known.soft_values(Q, everything, small_world.temperature).V_next.requires_grad


@pytest.mark.parametrize("ends", [0, 2])
def test_the_steps_of_an_occupancy_weigh_what_it_does(random_dynamics, ends):
    dynamics = random_dynamics(2, 7, 3, 3, ends=ends)
    policy = random_policy(dynamics)
    policy[0] = [1.0, 0.0, 0.0]
    occupancy = infinite_horizon_occupancy(dynamics, policy)
    known = KnownDynamics(dynamics, occupancy)
    steps = known.steps(torch.from_numpy(occupancy))
    weight = steps.weight.numpy()
    states, actions = steps.observations.numpy(), steps.actions.numpy()
    assert (weight > 0).all()
    summed = np.zeros((7, 3))
    np.add.at(summed, (states, actions), weight)
    assert summed == pytest.approx(occupancy, abs=1e-14)
    following = steps.next_observations.numpy()
    assert np.array_equal(steps.terminated.numpy(), dynamics.terminal[following])
    arrived = np.bincount(following, weight, minlength=7)
    assert arrived == pytest.approx(dynamics.expectation(np.float64).flow(occupancy.T))
    assert not ((states == 0) & (actions > 0)).any(), "what never happens is no step"


def test_soft_policies_of_a_table_come_back_as_the_plan(small_grid, seven_by_seven):
    """Two ways to one occupancy: this one, and the matrices of the known answers."""
    dynamics, rewards = seven_by_seven
    plan = value_iteration(dynamics, rewards, small_grid.temperature, 1e-13)
    wanted = small_grid.occupancy(small_grid.log_policy(small_grid.soft_q(small_grid.rewards)))
    known = KnownDynamics(dynamics, infinite_horizon_occupancy(dynamics, plan.policy))
    assert known.occupancy(plan.policy) == pytest.approx(wanted, abs=1e-9)
    begun = (1 - small_grid.discount) * small_grid.initial
    assert known.source.numpy() == pytest.approx(begun, abs=1e-9)
