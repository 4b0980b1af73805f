"""The solver from samples agrees with the exact one, and keeps to its budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.learners.steps import Steps
from irlbench.baselines.solvers.soft_q_learning import SoftQLearning, rewards_of
from irlbench.errors import UsageError
from irlbench.problem import Budget
from irlbench.rewards.composed import ShapedReward
from irlbench.rewards.table import TableReward


def solve(world, *, seed=0, budget=None, vectors=False, also=(), reward=None, **changes):
    budget = budget or Budget()
    problem = world.problem(
        "preferences+interaction",
        {"interaction", *also},
        seed=seed,
        steps=budget.steps,
        vectors=vectors,
    )
    run = Run(seed, budget=budget, meter=problem.meter)
    paid = reward or TableReward(world.rewards, 0.9)
    policy = SoftQLearning.configure("gridworld", {"num_envs": 20, **changes}).solve(
        problem, paid, budget, run
    )
    return policy, run, problem


@pytest.mark.parametrize("ends", [False, True])
def test_without_chance_it_finds_the_soft_optimal_policy(worlds, ends):
    """Measured: the largest error of an advantage is 0.04, and falls with the step size.

    Adam's steps of 0.05 meet a residual without noise, so what is left is of their size: half a
    temperature. Advantages Q - V are what a policy tells of its Q.
    """
    world = worlds(slip=0.0, ends=ends)
    policy, run, problem = solve(world, gradient_steps=600)
    inside = ~world.dynamics.terminal
    found = world.temperature * policy.log_probabilities[inside]
    exact = world.temperature * np.log(world.plan.policy[inside])
    assert found == pytest.approx(exact, abs=0.1)
    assert policy.probabilities[inside] == pytest.approx(world.plan.policy[inside], abs=0.1)
    assert run.gradient_steps == 600
    assert 0 < problem.meter.used <= 600 * 20


def test_with_chance_it_acts_nearly_as_well(small_world):
    policy, _, _ = solve(small_world, gradient_steps=800)
    assert small_world.lost(policy.probabilities) < 0.01
    assert small_world.lost(small_world.plan.policy) < 0.01


@pytest.mark.parametrize("kind", ["features", "vectors"])
def test_networks_learn_it_too(small_world, kind):
    codes = small_world.codes
    if kind == "features":
        policy, _, _ = solve(
            small_world, also=("features",), representation="network", gradient_steps=600
        )
        assert small_world.lost(policy.probabilities) < 0.1
        return
    corner = _CornerReward()
    policy, _, _ = solve(small_world, vectors=True, reward=corner, gradient_steps=600)
    columns = [policy.log_prob(codes, np.full(16, action)) for action in range(4)]
    assert small_world.lost(np.exp(np.stack(columns, axis=1))) < 0.1


class _CornerReward(TableReward):
    """1 where row and column are 3, read off the vectors."""

    def __init__(self) -> None:
        super().__init__(np.zeros(1))

    def __call__(self, observation, action, next_observation, terminated):
        assert observation.dtype == np.float32
        return (observation[:, :2].sum(axis=1) == 6).astype(np.float64)


def test_it_ends_with_the_budget_of_steps(small_world):
    _, run, problem = solve(small_world, budget=Budget(steps=105), gradient_steps=50)
    assert problem.meter.used == 100
    assert run.gradient_steps == 5
    _, run, problem = solve(small_world, budget=Budget(gradient_steps=7), gradient_steps=50)
    assert (run.gradient_steps, problem.meter.used) == (7, 140)
    _, run, problem = solve(small_world, budget=Budget(seconds=0.0), gradient_steps=50)
    assert (run.gradient_steps, problem.meter.used) == (0, 0)


def test_exploration_falls_within_the_steps_that_the_budget_grants(small_world, monkeypatch):
    from irlbench.baselines.learners.interaction import Interaction

    shares, act = [], Interaction.step

    def watched(self, actor, *, random_share=0.0):
        shares.append(random_share)
        return act(self, actor, random_share=random_share)

    monkeypatch.setattr(Interaction, "step", watched)
    solve(small_world, budget=Budget(steps=200), exploration=0.25)
    assert shares == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25])


def test_a_budget_of_no_step_is_refused(small_world):
    with pytest.raises(
        UsageError, match=r"20 environments are stepped at once, and 19 steps are granted.*num"
    ):
        solve(small_world, budget=Budget(steps=19))
    problem = small_world.problem("preferences+interaction", {"interaction"})
    with pytest.raises(UsageError, match="soft-q-learning needs a reward function"):
        SoftQLearning.configure("gridworld").solve(problem, None, Budget(), Run())


def test_a_seed_decides_the_policy(small_world):
    first, again, other = (solve(small_world, seed=s, gradient_steps=40)[0] for s in (0, 0, 1))
    assert first.log_probabilities.tobytes() == again.log_probabilities.tobytes()
    assert first.log_probabilities.tobytes() != other.log_probabilities.tobytes()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.5),
        ("target_rate", 0.5),
        ("exploration", 1.0),
        ("batch_size", 32),
        ("buffer", 50),
        ("num_envs", 4),
    ],
)
def test_every_setting_does_something(small_world, field, value):
    plain, changed = (solve(small_world, gradient_steps=40, **c)[0] for c in ({}, {field: value}))
    assert not np.allclose(plain.log_probabilities, changed.log_probabilities)


def test_rewards_see_whole_transitions():
    steps = Steps(
        torch.tensor([0, 1]),
        torch.tensor([1, 0]),
        torch.tensor([1, 2]),
        torch.tensor([False, True]),
        torch.ones(2, dtype=torch.float64),
    )
    g, h = TableReward(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])), TableReward(np.arange(3.0))
    paid = rewards_of(ShapedReward(g, h, 0.5), steps)
    assert paid.dtype == torch.float64
    # g + gamma h(s') - h(s): 2 + 0.5 * 1 - 0, and at an end 3 + 0 - 1.
    assert paid.tolist() == [2.5, 2.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gradient_steps", 0),
        ("exploration", 1.5),
        ("exploration", -0.1),
        ("temperature", 0.0),
        ("target_rate", 0.0),
        ("batch_size", 0),
        ("buffer", 0),
        ("network_learning_rate", 0.0),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(UsageError, match=f"soft-q-learning: {name} must .*{value}"):
        SoftQLearning.configure("gridworld", {name: value})
