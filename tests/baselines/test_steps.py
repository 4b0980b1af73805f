"""Transitions as tensors, what a soft Q says of them, and soft Q-learning on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.learners.functions import Functions, TableFunction
from irlbench.baselines.learners.soft_q import SoftQLearner
from irlbench.baselines.learners.steps import (
    SlowCopy,
    Steps,
    observed,
    soft_values_of,
    steps_of,
)
from irlbench.baselines.settings import FunctionConfig
from irlbench.data.demonstrations import Demonstrations, Episode


def table(values):
    made = TableFunction(*values.shape)
    with torch.no_grad():
        made.values.copy_(torch.from_numpy(values))
    return made


def every_transition(world):
    """Each state and action once, in a world without chance."""
    states, actions = (i.ravel() for i in np.indices((16, 4)))
    following = world.dynamics.successors[states, actions, 0].astype(np.int64)
    inside = ~world.dynamics.terminal[states]
    return Steps(
        torch.from_numpy(states[inside]),
        torch.from_numpy(actions[inside]),
        torch.from_numpy(following[inside]),
        torch.from_numpy(world.dynamics.terminal[following[inside]]),
        torch.ones(int(inside.sum()), dtype=torch.float64),
    )


def rewards_of(world, steps):
    paid = np.broadcast_to(world.rewards.reshape(16, -1), (16, 4))
    return torch.from_numpy(paid[steps.observations.numpy(), steps.actions.numpy()].copy())


def test_demonstrations_become_steps_episode_by_episode():
    ends = np.array([False, True])
    given = Demonstrations(
        (
            Episode(np.array([0, 1, 2]), np.array([3, 0]), ends, ends & False),
            Episode(np.array([5, 4, 3]), np.array([1, 2]), ends & False, ends),
        )
    )
    steps = steps_of(given.transitions(), "cpu")
    assert steps.observations.tolist() == [0, 1, 5, 4]
    assert steps.next_observations.tolist() == [1, 2, 4, 3]
    assert steps.actions.tolist() == [3, 0, 1, 2]
    assert steps.terminated.tolist() == [False, True, False, False], "a truncation is no end"
    assert steps.weight.tolist() == [1.0] * 4
    assert len(steps) == 4
    some = steps[torch.tensor([2, 0])]
    assert (some.observations.tolist(), some.terminated.tolist()) == ([5, 0], [False, False])
    both = some.joined(steps)
    assert both.actions.tolist() == [1, 3, 3, 0, 1, 2]
    assert both.next_observations.tolist() == [4, 1, 1, 2, 4, 3]
    assert len(both.weight) == len(both.terminated) == 6


def test_indices_stay_indices_and_other_numbers_become_float32():
    assert observed(np.array([1, 2], dtype=np.int8), "cpu").dtype == torch.int64
    assert observed(np.array([[1.5, 2.0]]), "cpu").dtype == torch.float32
    read_only = np.array([1, 2])
    read_only.flags.writeable = False
    copied = observed(read_only, "cpu")
    copied[0] = 9
    assert read_only.tolist() == [1, 2]


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_what_Q_says_of_steps(temperature):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 3))
    states, actions, following = rng.integers(6, size=8), rng.integers(3, size=8), np.arange(8) % 6
    ends = np.arange(8) % 3 == 0
    steps = Steps(*map(torch.from_numpy, (states, actions, following, ends, rng.random(8))))
    V = temperature * np.logaddexp.reduce(values / temperature, axis=1)
    found = soft_values_of(table(values), steps, temperature)
    assert found.Q.detach().numpy() == pytest.approx(values[states, actions])
    assert found.V.detach().numpy() == pytest.approx(V[states])
    assert found.V_next.detach().numpy() == pytest.approx(V[following])
    assert torch.equal(found.mask, steps.weight)
    implied = found.reward(0.9).detach().numpy()
    assert implied == pytest.approx(values[states, actions] - 0.9 * np.where(ends, 0, V[following]))
    assert found.V_next.requires_grad
    other = soft_values_of(table(values), steps, temperature, table(2 * values))
    twice = temperature * np.logaddexp.reduce(2 * values / temperature, axis=1)
    assert other.V_next.numpy() == pytest.approx(twice[following])
    assert not other.V_next.requires_grad


def test_a_slow_copy_goes_its_share_of_the_way():
    function = table(np.zeros((2, 3)))
    slow, exact = SlowCopy(function, 0.25), SlowCopy(function, 1.0)
    with torch.no_grad():
        function.values.fill_(8.0)
    assert not slow.function.table().any(), "apart until it follows"
    for wanted in (2.0, 3.5):
        slow.follow()
        exact.follow()
        assert slow.function.table().tolist() == [[wanted] * 3] * 2
        assert torch.equal(exact.function.table(), function.table())
    assert not any(p.requires_grad for p in slow.function.parameters())
    assert function.values.requires_grad


@pytest.mark.parametrize("ends", [False, True])
def test_soft_q_learning_on_all_transitions_finds_soft_value_iterations_Q(worlds, ends):
    """Without chance and on every transition at once its fixed point is the exact one."""
    world = worlds(slip=0.0, ends=ends)
    problem = world.problem("demonstrations+interaction", ())
    functions = Functions(problem, FunctionConfig(learning_rate=0.05), Run())
    learner = SoftQLearner(functions, world.temperature, 0.2, world.dynamics.discount)
    steps = every_transition(world)
    rewards = rewards_of(world, steps)
    losses = [learner.update(steps, rewards)["critic_loss"] for _ in range(1500)]
    assert losses[-1] < 1e-6 < losses[0]
    found = learner.Q(torch.arange(16)).detach().numpy()
    inside = ~world.dynamics.terminal
    # A Bellman residual below 1e-3 everywhere leaves values within 1e-3 / (1 - gamma).
    assert found[inside] == pytest.approx(world.plan.Q[inside], abs=1e-2)
    states, actions = steps.observations.numpy(), steps.actions.numpy()
    wanted = np.log(world.plan.policy[states, actions])
    assert learner.log_prob(steps).numpy() == pytest.approx(wanted, abs=0.3)
    assert np.exp(learner.log_prob(steps).numpy()) == pytest.approx(np.exp(wanted), abs=0.03)
    assert not learner.log_prob(steps).requires_grad
