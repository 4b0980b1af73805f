"""What a track gives an imitation objective: occupancies, batches, or demonstrations alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.learners.experience import (
    KnownExperience,
    SampledExperience,
    experience_of,
)
from irlbench.baselines.learners.functions import Functions, TableFunction
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.baselines.settings import FunctionConfig, ImitationConfig
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DataError
from irlbench.tabular.demonstrations import demonstrated_occupancy
from irlbench.tabular.occupancy import infinite_horizon_occupancy

CONFIG = ImitationConfig(batch_size=64, num_envs=4, buffer=1000)


def plan_table(world):
    made = TableFunction(16, 4)
    with torch.no_grad():
        made.values.copy_(torch.from_numpy(world.plan.Q))
    return made


def experience(world, track, *, steps=None, vectors=False, demonstrations=None, config=CONFIG):
    given = demonstrations or world.demonstrations(10)
    problem = world.problem(
        track, set(track.split("+")), steps=steps, vectors=vectors, demonstrations=given
    )
    functions = Functions(problem, FunctionConfig(), Run())
    made, scale = experience_of(problem, functions, config, Run())
    return made, scale, problem


def test_with_known_dynamics_both_are_occupancies(small_world):
    world, Q = small_world, plan_table(small_world)
    demonstrations = world.demonstrations(10)
    made, scale, _ = experience(world, "demonstrations+dynamics", demonstrations=demonstrations)
    assert isinstance(made, KnownExperience)
    assert scale is None
    assert made.steps_taken is None
    assert made.soft_values(Q, 0.1)[1] is None, "no policy before it has acted"
    assert made.advance(Q, world.temperature)
    expert, policy = made.soft_values(Q, world.temperature)
    wanted, _ = demonstrated_occupancy(world.dynamics, demonstrations, finite_horizon=False)
    assert expert.mask.numpy() == pytest.approx(wanted)
    assert policy is not None
    known = KnownDynamics(world.dynamics, wanted)
    assert policy.mask.numpy() == pytest.approx(known.occupancy(world.plan.policy), abs=1e-9)
    made.close()


def test_the_policys_occupancy_is_of_the_Q_it_last_acted_by(small_world):
    world = small_world
    expert = infinite_horizon_occupancy(world.dynamics, world.plan.policy)
    made = KnownExperience(KnownDynamics(world.dynamics, expert))
    for Q, policy in (
        (plan_table(world), world.plan.policy),
        (TableFunction(16, 4), np.full((16, 4), 0.25)),
    ):
        made.advance(Q, world.temperature)
        _, found = made.soft_values(Q, world.temperature)
        assert found is not None
        wanted = infinite_horizon_occupancy(world.dynamics, policy)
        assert found.mask.numpy() == pytest.approx(wanted, abs=1e-9)
    gamma = world.dynamics.discount
    value = made.initial_value(plan_table(world), world.temperature, gamma)
    assert value.item() == pytest.approx((1 - gamma) * world.dynamics.initial @ world.plan.V)


def test_the_known_initial_value_is_of_where_the_experts_occupancy_begins(random_dynamics):
    """Which is what V - gamma V' telescopes to, whatever the measure leaves out."""
    dynamics = random_dynamics(3, 16, 4, 3)
    gamma = dynamics.discount
    values = np.random.default_rng(0).normal(size=(16, 4))
    Q = TableFunction(16, 4)
    with torch.no_grad():
        Q.values.copy_(torch.from_numpy(values))
    occupancy = np.random.default_rng(1).random((16, 4)) * ~dynamics.terminal[:, None] / 90
    made = KnownExperience(KnownDynamics(dynamics, occupancy))
    V = dynamics.after(0.2 * np.logaddexp.reduce(values / 0.2, axis=1))
    flow = V[:, None] - gamma * dynamics.expect(V)
    wanted = (occupancy * flow).sum() / occupancy.sum()
    assert made.initial_value(Q, 0.2, gamma).item() == pytest.approx(wanted)


def test_offline_there_are_only_demonstrations(small_world):
    world, Q = small_world, plan_table(small_world)
    demonstrations = world.demonstrations(2)
    made, scale, _ = experience(world, "demonstrations", demonstrations=demonstrations)
    assert isinstance(made, SampledExperience)
    assert made.steps_taken is None
    assert made.advance(Q, 0.1)
    expert, policy = made.soft_values(Q, 0.1)
    assert policy is None
    steps = demonstrations.transitions()
    # Fifty steps fit into one batch of 64: all are given, in their order.
    wanted = world.plan.Q[steps.observations, steps.actions]
    assert expert.Q.detach().numpy() == pytest.approx(wanted)
    assert expert.V_next.detach().numpy() == pytest.approx(world.plan.V[steps.next_observations])
    assert scale is not None
    assert scale.tolist() == steps.observations.tolist()


def test_larger_demonstrations_are_drawn_from(small_world):
    made, _, _ = experience(small_world, "demonstrations", demonstrations=None)
    Q = plan_table(small_world)
    first, second = (made.soft_values(Q, 0.1)[0].Q.detach() for _ in range(2))
    assert first.shape == second.shape == (64,)
    assert not torch.equal(first, second)


def test_with_interaction_every_update_takes_a_step_of_each_row(small_world):
    made, _, problem = experience(small_world, "demonstrations+interaction")
    Q = plan_table(small_world)
    for _ in range(30):
        assert made.advance(Q, 0.1)
    # Of thirty steps the 26th only resets: an episode has 25.
    assert made.steps_taken == problem.meter.used == 4 * 29
    expert, policy = made.soft_values(Q, 0.1)
    assert policy is not None
    assert expert.Q.shape == policy.Q.shape == (64,)
    assert policy.V_next.requires_grad
    assert not made.soft_values(Q, 0.1, Q)[1].V_next.requires_grad  # type: ignore[union-attr]
    made.close()


def test_it_ends_where_the_budget_does(small_world):
    made, _, problem = experience(small_world, "demonstrations+interaction", steps=10)
    Q = plan_table(small_world)
    assert [made.advance(Q, 0.1) for _ in range(4)] == [True, True, False, False]
    assert problem.meter.used == made.steps_taken == 8


@pytest.mark.parametrize("vectors", [False, True])
def test_initial_values_are_of_the_first_states(small_world, vectors):
    world = small_world
    demonstrations = world.demonstrations(7)
    made, scale, _ = experience(
        world, "demonstrations", demonstrations=demonstrations, vectors=vectors
    )
    first = [int(episode.observations[0]) for episode in demonstrations]
    if not vectors:
        value = made.initial_value(plan_table(world), world.temperature, 0.9).item()
        assert value == pytest.approx(0.1 * world.plan.V[first].mean())
        return
    assert isinstance(made, SampledExperience)
    assert made._initial.numpy().tolist() == world.codes[first].tolist()
    assert scale is not None
    assert scale.shape == (demonstrations.steps, 3)


def test_episodes_without_a_step_have_no_first_state(small_world):
    nothing = np.zeros(0, dtype=bool)
    empty = Episode(np.array([4]), np.zeros(0, dtype=np.int64), nothing, nothing)
    (whole, other) = small_world.demonstrations(2)
    given = Demonstrations((empty, whole, empty, other))
    made, _, _ = experience(small_world, "demonstrations", demonstrations=given)
    assert isinstance(made, SampledExperience)
    assert made._initial.tolist() == [whole.observations[0], other.observations[0]]


def test_a_demonstration_that_the_dynamics_cannot_produce_is_refused(small_world):
    ends = np.array([False, True])
    jump = Episode(np.array([0, 1, 15]), np.array([1, 1]), ends & False, ends)
    with pytest.raises(DataError, match=r"demonstration 0, step 1: .* probability 0"):
        experience(small_world, "demonstrations+dynamics", demonstrations=Demonstrations((jump,)))


def test_sampled_initial_values_count_ends(worlds):
    """Of an exact occupancy's steps a share ends; the scale is that of means over the steps."""
    world = worlds(ends=True)
    demonstrations = world.demonstrations(40)
    made, _, _ = experience(world, "demonstrations", demonstrations=demonstrations)
    steps = demonstrations.transitions()
    ended = steps.terminations.mean()
    assert 0 < ended < 1
    first = [int(episode.observations[0]) for episode in demonstrations]
    wanted = (1 - 0.9 * (1 - ended)) * world.plan.V[first].mean()
    value = made.initial_value(plan_table(world), world.temperature, 0.9).item()
    assert value == pytest.approx(wanted)
