"""IPL's learners for continuous actions, and DPO's Gaussian: small known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.dpo import DPO
from irlbench.baselines.algorithms.ipl import IPL
from irlbench.baselines.learners.functions import Functions
from irlbench.baselines.learners.implicit_q import ImplicitQ, ImplicitQSettings
from irlbench.baselines.learners.policy_models import GaussianModel
from irlbench.baselines.learners.segments import segments_of
from irlbench.baselines.settings import FunctionConfig, NetworkConfig
from irlbench.data.demonstrations import Episode
from irlbench.data.preferences import Preference, Preferences
from irlbench.problem import Budget, Problem, StepMeter
from irlbench.randomness import RowGenerator

STATES = spaces.Box(-2, 2, (1,), np.float32)
ACTIONS = spaces.Box(np.array([0.0], np.float32), np.array([4.0], np.float32))


def problem_of(preferences=None):
    return Problem(
        task_id="control/toy-v0",
        world="control",
        observation_space=STATES,
        action_space=ACTIONS,
        horizon=3,
        discount=0.9,
        track="preferences",
        seed=0,
        needs=frozenset({"preferences"}),
        suppliers={"preferences": lambda: preferences},
        meter=StepMeter(None),
    )


def learner_of(expectile=0.5, tau=0.1, rate=1.0):
    problem = problem_of()
    functions = Functions(problem, FunctionConfig(hidden=(16,), network_learning_rate=0.01), Run())
    settings = ImplicitQSettings(expectile, tau, 100.0, rate, 0.01, (16,))
    scale = torch.linspace(-1, 1, 50)[:, None]
    made = ImplicitQ(problem, functions, settings, scale, Run())
    # Q = a: linear in the action, the same in every state.
    made.Q.of = made._slow.function.of = lambda s, a: a[:, 0].double()  # type: ignore[assignment, method-assign]
    return made


def met(size=256, seed=0, better=0.5):
    """Actions 1 and 3, the latter as often as `better` says."""
    rng = np.random.default_rng(seed)
    states = torch.from_numpy(rng.uniform(-1, 1, (size, 1)).astype(np.float32))
    actions = np.where(rng.random((size, 1)) < better, 3.0, 1.0).astype(np.float32)
    return states, torch.from_numpy(actions)


@pytest.mark.parametrize(("expectile", "better"), [(0.5, 0.5), (0.5, 0.25), (0.9, 0.5), (0.1, 0.5)])
def test_V_is_the_expectile_of_Q_over_the_actions_in_the_data(expectile, better):
    """Of values 1 and 3 with weights 1 - p and p: (1 - t)(1 - p)(V - 1) = t p (3 - V).

    At 0.5 it is the mean.
    """
    learner = learner_of(expectile)
    for i in range(400):
        learner.follow(*met(seed=i, better=better))
    low, high = (1 - expectile) * (1 - better), expectile * better
    wanted = (low * 1 + high * 3) / (low + high)
    asked = torch.linspace(-0.9, 0.9, 7)[:, None]
    assert learner._V(asked)[:, 0].detach().numpy() == pytest.approx(wanted, abs=0.15)


@pytest.mark.parametrize(("tau", "wanted"), [(0.2, 3.0), (1e4, 2.0)])
def test_the_policy_goes_to_the_better_action_and_clones_at_a_great_temperature(tau, wanted):
    """Weights exp((Q - V) / tau): with tau 0.2 the action 3 weighs e^10 times as much as 1."""
    learner = learner_of(tau=tau)
    for i in range(400):
        learner.follow(*met(seed=i))
    states = np.linspace(-0.9, 0.9, 7, dtype=np.float32)[:, None]
    generator = RowGenerator(np.arange(7))
    acted, _ = learner.policy().act(states, deterministic=True, generator=generator)
    assert acted[:, 0] == pytest.approx(wanted, abs=0.25)


def test_the_slow_copy_of_Q_follows():
    problem = problem_of()
    functions = Functions(problem, FunctionConfig(hidden=(4,)), Run())
    settings = ImplicitQSettings(0.7, 0.1, 100.0, 0.25, 1e-3, (4,))
    learner = ImplicitQ(problem, functions, settings, torch.linspace(-1, 1, 9)[:, None], Run())
    slow = list(learner._slow.function.parameters())
    before = [p.clone() for p in slow]
    with torch.no_grad():
        for p in learner.Q.parameters():
            p.add_(1.0)
    learner.follow(*met(32))
    assert all(torch.allclose(p, b + 0.25) for p, b in zip(slow, before, strict=True))


def test_the_implied_reward_is_Q_less_gamma_V():
    problem = problem_of()
    functions = Functions(problem, FunctionConfig(hidden=(4,)), Run())
    settings = ImplicitQSettings(0.7, 0.1, 100.0, 0.25, 1e-3, (4,))
    learner = ImplicitQ(problem, functions, settings, torch.linspace(-1, 1, 9)[:, None], Run())
    for i in range(5):
        learner.follow(*met(32, seed=i))
    (states, actions), (following, _) = met(20), met(20, seed=1)
    ends = np.arange(20) % 2 == 0
    found = learner.implied_reward()(states.numpy(), actions.numpy(), following.numpy(), ends)
    with torch.no_grad():
        Q, V = learner.Q.of(states, actions).numpy(), learner._V(following)[:, 0].numpy()
    assert found == pytest.approx(Q - 0.9 * np.where(ends, 0.0, V), abs=1e-5)


def preferences(count=60, better=3.0, worse=1.0):
    """Pairs of segments of two steps: those that take the better action are preferred."""
    rng, found = np.random.default_rng(0), []

    def segment(action):
        states = rng.uniform(-1, 1, (3, 1)).astype(np.float32)
        actions = (action + 0.3 * rng.normal(size=(2, 1))).astype(np.float32)
        nothing = np.zeros(2, dtype=bool)
        return Episode(states, actions, nothing, nothing)

    for i in range(count):
        pair = (segment(better), segment(worse))
        found.append(
            Preference(pair if i % 2 else pair[::-1], (0, 1) if i % 2 else (1, 0), "exact")
        )
    return Preferences(tuple(found))


def test_the_gradient_of_dpo_raises_what_is_preferred():
    from irlbench.baselines.objectives.dpo import dpo_loss

    given = segments_of(preferences().pairs(), None, "cpu")
    model = GaussianModel(problem_of(), NetworkConfig(hidden=(8,)), given.present, Run())
    log_pi = model.log_prob(given)
    uniform = torch.full_like(log_pi, model.log_uniform)
    assert model.log_uniform == pytest.approx(-np.log(4.0))
    loss = dpo_loss(
        log_pi, uniform, given.mask, given.first_preferred, beta=0.5, weight=given.weight
    )
    loss.backward()
    with torch.no_grad():
        for p in model.function.parameters():
            p.sub_(0.01 * p.grad)
    after = model.log_prob(given).sum(dim=-1) - log_pi.sum(dim=-1).detach()
    first = given.first_preferred == 1
    gained = torch.where(first, after[:, 0] - after[:, 1], after[:, 1] - after[:, 0])
    assert gained.mean() > 0
    states, generator = np.zeros((1, 1), dtype=np.float32), RowGenerator(np.arange(1))
    fresh = GaussianModel(problem_of(), NetworkConfig(hidden=(8,)), given.present, Run())
    moved, before = (
        part.policy().act(states, deterministic=True, generator=generator)[0][0, 0]
        for part in (model, fresh)
    )
    assert moved > before


@pytest.mark.parametrize("algorithm", [IPL, DPO])
def test_what_is_preferred_is_done(algorithm):
    problem, run = problem_of(preferences()), Run()
    changes = {"gradient_steps": 300, "hidden": (16,), "network_learning_rate": 0.01, "saves": 2}
    if algorithm is IPL:
        changes |= {"policy_learning_rate": 0.01, "target_rate": 0.05}
    made = algorithm.configure("control", changes)
    solution = made.fit(problem, Budget(), run)
    states = np.linspace(-0.9, 0.9, 7, dtype=np.float32)[:, None]
    generator = RowGenerator(np.arange(7))
    acted, _ = solution.policy.act(states, deterministic=True, generator=generator)
    assert acted.mean() > 2.5
    each = [
        solution.reward(states, np.full((7, 1), a, np.float32), states, np.zeros(7, dtype=bool))
        for a in (3.0, 1.0)
    ]
    assert (each[0] > each[1]).all()
