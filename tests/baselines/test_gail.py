"""GAIL: the expert's occupancy measure is matched; what each form of reward makes of an end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.adversarial import play
from irlbench.baselines.algorithms.gail import GAIL, REWARD_FORMS, GAILConfig, GAILDiscriminator
from irlbench.baselines.learners.functions import TableFunction
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.baselines.learners.rivals import ExactRival
from irlbench.errors import UsageError
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.policy_iteration import soft_policy_iteration


def played(dynamics, expert, **changes):
    """The occupancy of GAIL's policy after its rounds, and its discriminator."""
    config = GAILConfig(**changes)
    known = KnownDynamics(dynamics, expert)
    states, actions = expert.shape
    logit = TableFunction(states, actions if config.of_actions else 1)
    judge = GAILDiscriminator(logit, config.reward, dynamics.discount)
    rival = ExactRival(known, config.step_size)
    play(rival, judge, config, Run(), limit=None, discount=dynamics.discount)
    return known.occupancy(rival.policy().probabilities), judge


def total_variation(occupancy, expert):
    return np.abs(occupancy - expert).sum() / 2


@pytest.mark.parametrize("form", REWARD_FORMS)
def test_an_exact_occupancy_measure_is_matched(grid, expert_occupancy, form):
    """The expert's horizon and discount are the learner's; the default step sizes."""
    uniform = KnownDynamics(grid, expert_occupancy).occupancy(np.full((49, 4), 0.25))
    assert total_variation(uniform, expert_occupancy) > 0.7
    found, judge = played(grid, expert_occupancy, gradient_steps=800, reward=form)
    assert total_variation(found, expert_occupancy) < 0.01
    # D is a half where the expert goes: the logit of a finished game says next to nothing.
    logit = judge.recovered().arrays()["values"]
    assert (expert_occupancy * np.abs(logit)).sum() < 0.02


def test_a_discriminator_of_states_matches_how_often_they_are_visited(grid, expert_occupancy):
    found, judge = played(grid, expert_occupancy, gradient_steps=600, of_actions=False)
    assert total_variation(found.sum(axis=1), expert_occupancy.sum(axis=1)) < 0.01
    assert judge.recovered().kind == "state"


@pytest.fixture(scope="module")
def corridor():
    """Five cells in a row; begin in the middle, left or right, and the last one ends the episode.

    Returns:
        The dynamics, and the occupancy of an expert that is in no hurry to end.
    """
    successors = [[[max(s - 1, 0)], [min(s + 1, 4)]] for s in range(5)]
    dynamics = TabularDynamics(
        successors=np.array(successors, dtype=np.int32),
        probabilities=np.ones((5, 2, 1)),
        initial=np.array([0, 0, 1.0, 0, 0]),
        terminal=np.array([False, False, False, False, True]),
        horizon=50,
        discount=0.9,
    )
    reward = np.zeros((5, 2))
    reward[3, 1] = 0.8
    plan, chain = soft_policy_iteration(dynamics, reward, 0.5)
    return dynamics, 0.1 * chain.visits(dynamics.initial)[:, None] * plan.policy


def test_the_sign_of_the_reward_decides_what_an_end_is_worth(corridor):
    """Only the logit, which is zero where D is a half, keeps a matched expert where it is.

    The occupancy's total is 1 for episodes that never end, and less the sooner they do.
    """
    dynamics, expert = corridor
    lived = {}
    for form in REWARD_FORMS:
        found, _ = played(dynamics, expert, gradient_steps=1000, reward=form)
        lived[form] = found.sum()
        if form == "log D - log(1-D)":
            assert total_variation(found, expert) < 1e-3
    assert expert.sum() == pytest.approx(0.985, abs=0.001)
    assert lived["-log(1-D)"] > 0.9999  # each step pays: it never ends
    assert lived["log D"] < 0.5  # each step costs: it ends as soon as it can


def test_the_policy_is_paid_by_the_form_and_the_logit_is_handed_back(grid, expert_occupancy):
    logit = TableFunction(49, 4)
    with torch.no_grad():
        logit.values.copy_(torch.from_numpy(np.random.default_rng(0).normal(size=(49, 4))))
    steps = KnownDynamics(grid, expert_occupancy).steps(torch.from_numpy(expert_occupancy))
    said = logit.values.detach().numpy()[steps.observations.numpy(), steps.actions.numpy()]
    D = 1 / (1 + np.exp(-said))
    paid = {
        "-log(1-D)": -np.log(1 - D),
        "log D": np.log(D),
        "log D - log(1-D)": np.log(D) - np.log(1 - D),
    }
    for form in REWARD_FORMS:
        judge = GAILDiscriminator(logit, form, 0.95)
        assert judge.paid_for(judge.logit(steps)).detach().numpy() == pytest.approx(paid[form])
        found = judge.logits_expert_is_high(steps, torch.full_like(steps.weight, -3.0))
        assert found.detach().numpy() == pytest.approx(said)  # log pi plays no part
        assert np.array_equal(judge.recovered().arrays()["values"], logit.values.detach().numpy())
        assert judge.recovered().discount == 0.95


def test_the_reward_is_high_where_the_expert_is(grid, expert_occupancy):
    """Polarity: before the policy has answered, the logit tells the expert's pairs from others."""
    _, judge = played(grid, expert_occupancy, gradient_steps=5, step_size=1e-9)
    uniform = KnownDynamics(grid, expert_occupancy).occupancy(np.full((49, 4), 0.25))
    more = expert_occupancy > uniform
    values = judge.recovered().arrays()["values"]
    assert (values[more] > 0).all()
    assert (values[~more] < 0).all()


def test_what_does_not_fit_is_refused():
    for name, value in (("temperature", 0.0), ("step_size", -1.0)):
        with pytest.raises(UsageError, match=f"{name} must be positive, got {value}"):
            GAIL.configure("gridworld", {name: value})
    with pytest.raises(UsageError, match=r"log d.*log D"):
        GAIL.configure("gridworld", {"reward": "log d"})
