"""Soft actor-critic: written-out gradients against autograd, units, temperature, a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from irlbench.algorithm import Run
from irlbench.baselines.learners.soft_actor_critic import (
    Sample,
    SoftActorCritic,
    SoftActorCriticSettings,
    _is_least,
    _least,
)
from irlbench.baselines.learners.steps import Steps
from irlbench.policies.mlp import LOG_STD_BOUNDS
from irlbench.problem import Problem, StepMeter

LOW, HIGH = np.array([-2.0, 0.5], np.float32), np.array([3.0, 1.0], np.float32)
GAMMA = 0.9


def problem_of(low=LOW, high=HIGH, inputs=3):
    return Problem(
        task_id="control/toy-v0",
        world="control",
        observation_space=spaces.Box(-10, 10, (inputs,), np.float32),
        action_space=spaces.Box(low, high, low.shape, np.float32),
        horizon=10,
        discount=GAMMA,
        track="reference",
        seed=0,
        needs=frozenset(),
        suppliers={},
        meter=StepMeter(None),
    )


def learner_of(problem=None, seed=0, **changes):
    settings = {
        "hidden": (16, 16),
        "critic_learning_rate": 1e-3,
        "actor_learning_rate": 1e-3,
        "critics": 2,
        "temperature": 0.3,
        "target_rate": 0.1,
        "precision": "float32",
    }
    made = SoftActorCriticSettings(**{**settings, **changes})
    return SoftActorCritic(problem or problem_of(), made, Run(seed))


def steps_of(size=50, seed=0, ends=0.3):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(2, size, 3)).astype(np.float32)
    actions = rng.uniform(LOW, HIGH, (size, 2)).astype(np.float32)
    arrays = (states[0], actions, states[1], rng.random(size) < ends, np.ones(size))
    return Steps(*map(torch.from_numpy, arrays))


def widened(learner, scale=2.0):
    """Larger weights: means and spreads that differ between states, some spreads out of bounds."""
    with torch.no_grad():
        learner.actor.parameters_flat *= scale
        learner.actor.split(learner.actor.parameters_flat)[-1][0, 2] = LOG_STD_BOUNDS[1]
    return learner


def squashed_gaussian(head, noise):
    """Actions in [-1, 1] and log pi in the environment's units, by PyTorch's distributions."""
    mean, log_std = head.chunk(2, dim=-1)
    std = log_std.clamp(*LOG_STD_BOUNDS).exp()
    before = mean + std * noise
    half = torch.as_tensor((HIGH - LOW) / 2, dtype=head.dtype)
    log_prob = torch.distributions.Normal(mean, std).log_prob(before)
    squash = torch.distributions.transforms.TanhTransform()
    log_prob = log_prob - squash.log_abs_det_jacobian(before, torch.tanh(before)) - half.log()
    return torch.tanh(before), log_prob.sum(dim=-1)


def test_a_samples_gradient_is_autograds():
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    head[:5, 2] = LOG_STD_BOUNDS[1] + 1  # cut off: no gradient
    head[5:9, 3] = LOG_STD_BOUNDS[0] - 1
    head.requires_grad_()
    noise = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    slope = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    actions, log_prob = squashed_gaussian(head, noise)
    ((slope * actions).sum() + 0.7 * log_prob.sum()).backward()
    log_scale = float(np.log((HIGH - LOW) / 2).sum())
    drawn = Sample(head.detach(), noise, log_scale)
    torch.testing.assert_close(drawn.squashed, actions.detach())
    torch.testing.assert_close(drawn.log_prob, log_prob.detach(), atol=1e-6, rtol=1e-6)
    found = drawn.gradient(slope, 0.7)
    torch.testing.assert_close(found, head.grad)
    assert not found[:5, 2].any() and not found[5:9, 3].any()
    far = Sample(torch.tensor([[30.0, 0.0]]), torch.zeros(1, 1), 0.0)
    assert far.log_prob.item() == pytest.approx(60 - 2 * math.log(2) - 0.5 * math.log(2 * math.pi))


@pytest.mark.parametrize("critics", [1, 2])
def test_the_actors_gradient_is_autograds(critics):
    """Of tau log pi - min Q at actions drawn with the same noise."""
    learner = widened(learner_of(critics=critics))
    observations = steps_of().observations
    kept = learner._noise.get_state()
    noise = torch.randn((50, 2), generator=learner._noise)
    learner._noise.set_state(kept)
    actions, log_prob = squashed_gaussian(learner.actor(observations)[0], noise)
    pairs = torch.cat([observations, actions], dim=1)
    least = learner.critics(pairs, frozen=True)[..., 0].amin(dim=0)
    (0.3 * log_prob - least).mean().backward()
    wanted = learner.actor.parameters_flat.grad.clone()
    before = learner.critics.parameters_flat.detach().clone()
    entropy = learner.update_actor(observations)
    found = learner.actor.parameters_flat.grad
    assert wanted.abs().max() > 0.01
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)
    assert entropy == pytest.approx(-log_prob.mean().item(), abs=1e-5)
    assert torch.equal(learner.critics.parameters_flat, before)


@pytest.mark.parametrize("critics", [1, 3])
def test_the_critics_gradient_is_autograds(critics):
    """Of half the squared Bellman error of each, aims by the slow copies' least; none at an end."""
    learner, steps = widened(learner_of(critics=critics)), steps_of()
    learner.targets.follow(learner_of(seed=5, critics=critics).critics, 1.0)
    rewards = torch.from_numpy(np.random.default_rng(1).normal(size=50))
    kept = learner._noise.get_state()
    noise = torch.randn((50, 2), generator=learner._noise)
    learner._noise.set_state(kept)
    with torch.no_grad():
        actions, log_prob = squashed_gaussian(learner.actor(steps.next_observations)[0], noise)
        slow = learner.targets(torch.cat([steps.next_observations, actions], dim=1))[..., 0]
        V = slow.amin(dim=0) - 0.3 * log_prob
        aims = rewards + GAMMA * V * ~steps.terminated
    scaled = (steps.actions - torch.from_numpy(LOW + HIGH) / 2) / torch.from_numpy(HIGH - LOW) * 2
    values = learner.critics(torch.cat([steps.observations, scaled], dim=1))[..., 0]
    errors = (values - aims.float()) ** 2
    (0.5 * errors.mean(dim=1).sum()).backward()
    wanted = learner.critics.parameters_flat.grad.clone()
    told = learner.update(steps, rewards)
    torch.testing.assert_close(learner.critics.parameters_flat.grad, wanted, atol=1e-6, rtol=1e-4)
    assert told["critic_loss"] == pytest.approx(errors.mean().item(), rel=1e-4)
    assert not torch.allclose(aims, rewards)


def test_log_pi_is_the_saved_policys_in_the_environments_units():
    learner = widened(learner_of(), 1.5)
    policy, steps = learner.policy(), steps_of()
    wanted = policy.log_prob(steps.observations.numpy(), steps.actions.numpy())
    found = learner.log_prob(steps)
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    drawn, _ = learner.sample(steps.observations)
    actions = torch.from_numpy(LOW + HIGH) / 2 + drawn.squashed * torch.from_numpy(HIGH - LOW) / 2
    inside = drawn.squashed.abs().amax(dim=1) < 0.999  # nearer, float32 has no digits left
    again = learner.log_prob(Steps(steps.observations, actions, *steps._all()[2:]))
    assert inside.sum() > 10
    np.testing.assert_allclose(again[inside], drawn.log_prob[inside], atol=5e-3)
    # A density in the environment's units: it sums to 1 over the box.
    grid = np.stack(np.meshgrid(*np.linspace(LOW + 1e-3, HIGH - 1e-3, 300).T), axis=-1).reshape(
        -1, 2
    )
    one = np.zeros((len(grid), 3), dtype=np.float32)
    volume = np.exp(learner_of().policy().log_prob(one, grid.astype(np.float32))).mean() * np.prod(
        HIGH - LOW
    )
    assert volume == pytest.approx(1, abs=0.02)


def test_demonstrated_actions_at_a_bound_have_a_finite_log_pi():
    learner, steps = learner_of(), steps_of(2)
    edges = torch.from_numpy(np.stack([LOW, HIGH]))
    at = learner.log_prob(Steps(steps.observations, edges, *steps._all()[2:]))
    assert torch.isfinite(at).all()


def test_it_acts_as_its_policy_does():
    learner = widened(learner_of(), 1.5)
    rows = np.repeat(steps_of(1).observations.numpy(), 40_000, axis=0)
    acted = learner.act(rows, np.random.default_rng(0))
    drawn, _ = learner.sample(torch.from_numpy(rows))
    sampled = LOW + (drawn.squashed.numpy() + 1) / 2 * (HIGH - LOW)
    assert (acted >= LOW).all() and (acted <= HIGH).all()
    for share in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(
            (np.quantile(acted, share, axis=0) - LOW) / (HIGH - LOW),
            (np.quantile(sampled, share, axis=0) - LOW) / (HIGH - LOW),
            atol=0.02,
        )


@pytest.mark.parametrize("per_action", [-1.0, 0.3])
def test_the_temperature_follows_the_entropy_wanted(per_action):
    """Wanted per dimension of actions in [-1, 1]; in the environment's units the scale is added."""
    wanted = 2 * per_action + float(np.log((HIGH - LOW) / 2).sum())
    learner = learner_of(
        learn_temperature=True,
        entropy_per_action=per_action,
        temperature_learning_rate=0.01,
        actor_learning_rate=3e-3,
    )
    steps, entropies = steps_of(200), []
    for _ in range(900):
        told = learner.update(steps, -(learner.scaled(steps.actions) ** 2).sum(dim=1))
        entropies.append(told["entropy"])
    assert np.mean(entropies[-150:]) == pytest.approx(wanted, abs=0.15)


@pytest.mark.parametrize(("per_action", "rises"), [(0.69, True), (-5.0, False)])
def test_too_little_entropy_raises_the_temperature_and_too_much_lowers_it(per_action, rises):
    learner = learner_of(learn_temperature=True, entropy_per_action=per_action)
    before = learner.temperature
    for _ in range(5):
        learner.update_actor(steps_of().observations)
    assert (learner.temperature > before) == rises
    fixed = learner_of(entropy_per_action=per_action)
    fixed.update_actor(steps_of().observations)
    assert fixed.temperature == pytest.approx(0.3)


@pytest.mark.parametrize("critics", [1, 2])
def test_the_implied_reward_is_Q_less_gamma_V(critics):
    learner, steps = learner_of(critics=critics), steps_of()
    for _ in range(30):
        learner.update(steps, steps.actions.sum(dim=1))
    reward = learner.implied_reward(end_value=2.5)
    asked = [part.numpy() for part in steps._all()[:4]]
    found = reward(*asked)
    with torch.no_grad():
        scaled = learner.scaled(steps.actions)
        Q = learner._least(steps.observations, scaled).numpy()
        draws = 4000
        after = steps.next_observations.repeat_interleave(draws, dim=0)
        V = learner.value(after).reshape(-1, draws)
    spread = V.std(dim=1).numpy()
    V = np.where(steps.terminated, 2.5, V.mean(dim=1))
    ends = steps.terminated.numpy()
    assert found[ends] == pytest.approx(Q[ends] - GAMMA * 2.5, abs=1e-4)
    # Off an end V is a mean over 16 draws there and over 4,000 here.
    assert (np.abs(found - (Q - GAMMA * V)) < 1.5 * spread)[~ends].all()
    assert np.mean(found - (Q - GAMMA * V)) == pytest.approx(0, abs=0.3)
    assert (reward.discount, reward.temperature) == (GAMMA, pytest.approx(learner.temperature))


@pytest.mark.parametrize("slow", [False, True])
def test_what_Q_says_of_transitions(slow):
    """V by the actor's own actions; V' from the slow copies where told, and then without gradient."""
    learner, steps = learner_of(critics=2), steps_of()
    learner.targets.follow(learner_of(seed=5).critics, 1.0)
    values = [learner.soft_values(steps, slow=slow) for _ in range(200)]
    Q = learner._least(steps.observations, learner.scaled(steps.actions))
    torch.testing.assert_close(values[0].Q, Q)
    assert values[0].V.requires_grad
    assert values[0].V_next.requires_grad != slow
    V_next = torch.stack([v.V_next.detach() for v in values]).mean(dim=0)
    with torch.no_grad():
        if slow:
            wanted = torch.stack([learner.next_values(steps) for _ in range(200)]).mean(dim=0)
        else:
            wanted = torch.stack([learner.value(steps.next_observations) for _ in range(200)]).mean(
                0
            )
    torch.testing.assert_close(V_next, wanted.double(), atol=0.15, rtol=0)
    assert torch.equal(values[0].terminated, steps.terminated)
    told = learner.follow()
    assert {"entropy", "temperature"} == set(told)
    assert not learner._seen


def test_one_step_of_a_quadratic_has_a_closed_form():
    """r = -(a - c(s))^2 / 2, then the end: pi is proportional to exp(r / tau) on the box.

    With tau = 0.04 the Gaussian of spread 0.2 lies well inside [-2, 2].
    """
    low, high = np.array([-2.0], np.float32), np.array([2.0], np.float32)
    learner = learner_of(
        problem_of(low, high, inputs=1),
        temperature=0.04,
        hidden=(32, 32),
        critic_learning_rate=3e-3,
        actor_learning_rate=3e-3,
        critics=1,
    )
    rng = np.random.default_rng(0)
    for _ in range(1500):
        states = torch.from_numpy(rng.uniform(-1, 1, (128, 1)).astype(np.float32))
        actions = torch.from_numpy(rng.uniform(-2, 2, (128, 1)).astype(np.float32))
        ends = torch.ones(128, dtype=torch.bool)
        steps = Steps(states, actions, states, ends, torch.ones(128))
        learner.update(steps, -((actions - 0.8 * states)[:, 0] ** 2) / 2)
    asked = np.linspace(-1, 1, 9, dtype=np.float32)[:, None].repeat(2000, axis=0)
    acted = learner.act(asked, np.random.default_rng(1)).reshape(9, 2000)
    assert acted.mean(axis=1) == pytest.approx(0.8 * np.linspace(-1, 1, 9), abs=0.1)
    assert acted.std(axis=1) == pytest.approx(0.2, abs=0.05)
    # V = tau log of the integral of exp(Q / tau): 0.04 log(0.2 sqrt(2 pi)).
    with torch.no_grad():
        V = learner.value(torch.from_numpy(asked)).numpy().mean()
    assert pytest.approx(0.04 * math.log(0.2 * math.sqrt(2 * math.pi)), abs=0.02) == V


def test_two_states_agree_with_soft_value_iteration():
    """State s is where the last action went: s' = a, r = -(s - 0.5)^2 - a^2 / 4, discounted for ever.

    Soft value iteration on a grid of 201 states and actions gives V and the mean action.
    """
    low, high, tau = np.array([-1.0], np.float32), np.array([1.0], np.float32), 0.2
    learner = learner_of(
        problem_of(low, high, inputs=1),
        temperature=tau,
        hidden=(32, 32),
        critic_learning_rate=3e-3,
        actor_learning_rate=3e-3,
        critics=1,
        target_rate=0.02,
    )
    rng = np.random.default_rng(0)
    for _ in range(2500):
        states, actions = (
            torch.from_numpy(rng.uniform(-1, 1, (128, 1)).astype(np.float32)) for _ in range(2)
        )
        nowhere = torch.zeros(128, dtype=torch.bool)
        steps = Steps(states, actions, actions, nowhere, torch.ones(128))
        learner.update(steps, (-((states - 0.5) ** 2) - actions**2 / 4)[:, 0])
    grid = np.linspace(-1, 1, 201)
    Q = V = np.zeros(201)
    for _ in range(200):  # 0.9^200 is below rounding
        Q = -((grid[:, None] - 0.5) ** 2) - grid**2 / 4 + GAMMA * V
        V = tau * np.log(np.exp((Q - Q.max()) / tau).mean(axis=1) * 2) + Q.max()
    pi = np.exp((Q - Q.max(axis=1, keepdims=True)) / tau)
    mean = (pi * grid).sum(axis=1) / pi.sum(axis=1)
    asked = np.linspace(-1, 1, 9, dtype=np.float32)[:, None].repeat(2000, axis=0)
    with torch.no_grad():
        found = learner.value(torch.from_numpy(asked)).numpy().reshape(9, 2000).mean(axis=1)
    # A squashed Gaussian is not that policy: its entropy is a little short of it, at every step.
    assert found == pytest.approx(V[::25], abs=0.15)
    acted = learner.act(asked, np.random.default_rng(1)).reshape(9, 2000).mean(axis=1)
    assert acted == pytest.approx(mean[::25], abs=0.12)


def test_a_checkpoint_goes_on_with_the_same_bits():
    def updated(learner, count, first=0):
        for i in range(first, first + count):
            learner.update(steps_of(seed=i), steps_of(seed=i).actions.sum(dim=1))
        return learner

    changes = {"learn_temperature": True}
    whole = updated(learner_of(**changes), 12)
    half = updated(learner_of(**changes), 7)
    again = learner_of(seed=3, **changes)
    again.restore(half.state())
    updated(again, 5, first=7)
    mine, other = whole.state(), again.state()
    assert mine.keys() == other.keys()
    assert all(np.array_equal(mine[name], other[name]) for name in mine)
    assert torch.equal(whole.actor.parameters_flat, again.actor.parameters_flat)
    rows = steps_of().observations.numpy()
    assert np.array_equal(whole.actor.rows(rows), again.actor.rows(rows))
    assert whole.temperature == again.temperature


def test_the_policy_is_apart_from_further_updates():
    learner = learner_of()
    before, steps = learner.policy(), steps_of()
    kept = {name: array.copy() for name, array in before.arrays().items()}
    learner.update(steps, steps.actions.sum(dim=1))
    assert all(np.array_equal(kept[name], array) for name, array in before.arrays().items())
    assert not np.array_equal(kept["mean.weight"], learner.policy().arrays()["mean.weight"])


def test_actions_without_bounds_are_refused():
    unbounded = problem_of(np.array([-np.inf], np.float32), np.array([1.0], np.float32))
    with pytest.raises(ValueError, match="finite bounds"):
        learner_of(unbounded)


def test_the_least_of_critics_and_whose_it_is():
    values = torch.tensor([[[3.0], [1.0], [2.0]], [[2.0], [1.0], [5.0]], [[2.0], [4.0], [1.0]]])
    assert _least(values[..., 0]).tolist() == [2.0, 1.0, 1.0]
    # Of equal ones the first.
    assert _is_least(values)[..., 0].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert _is_least(values[:1]).tolist() == torch.ones(1, 3, 1).tolist()
