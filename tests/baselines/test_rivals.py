"""The policy's side of an adversarial game: exact answers by hand, and what is replayed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.learners import known_dynamics, rivals
from irlbench.baselines.learners.functions import Functions
from irlbench.baselines.learners.interaction import Interaction
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.baselines.learners.rivals import ExactRival, SampledRival
from irlbench.baselines.learners.soft_q import SoftQLearner
from irlbench.baselines.learners.steps import steps_of
from irlbench.baselines.settings import FunctionConfig
from irlbench.problem import Budget
from irlbench.registry import registry
from irlbench.tabular.chain import MarkovChain
from irlbench.tabular.policy_iteration import soft_policy_iteration
from irlbench.task import ProblemRequest


def tabled(rewards):
    """A reward of transitions, `[states, actions, states]`, as a discriminator pays it."""
    table = torch.from_numpy(rewards)
    return lambda steps: table[steps.observations, steps.actions, steps.next_observations]


@pytest.fixture(scope="module")
def known(grid, expert_occupancy):
    return KnownDynamics(grid, expert_occupancy)


@pytest.fixture(scope="module")
def rewards():
    """Of every transition, by the next state too."""
    return np.random.default_rng(0).normal(size=(49, 4, 49))


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def exact_q(small_grid, policy, rewards):
    """Q of a policy from one dense linear system, without entropy, `[49, 4]`."""
    mean = np.einsum("sat,sat->sa", small_grid.transitions, rewards)
    moves = np.einsum("sa,sat->st", policy, small_grid.transitions)
    system = np.eye(49) - small_grid.discount * moves
    V = np.linalg.solve(system, (policy * mean).sum(axis=1))
    return mean + small_grid.discount * small_grid.transitions @ V


def test_a_natural_gradient_step_multiplies_by_exp_of_q(small_grid, known, rewards):
    """Two in a row, with other rewards: the second begins from the first one's policy."""
    rival = ExactRival(known, 0.3)
    policy = np.full((49, 4), 0.25)
    for paid in (rewards, -0.5 * rewards):
        rival.answer(tabled(paid))
        policy = policy * np.exp(0.3 * exact_q(small_grid, policy, paid))
        policy /= policy.sum(axis=1, keepdims=True)
        assert rival.policy().probabilities == pytest.approx(policy, abs=1e-12)


def test_the_soft_answer_is_the_soft_optimal_policy_of_temperature_one(
    small_grid, grid, known, rewards
):
    rival = ExactRival(known, None)
    for paid in (rewards, -2.0 * rewards):  # the second begins from the first one's plan
        rival.answer(tabled(paid))
        mean = np.einsum("sat,sat->sa", small_grid.transitions, paid)
        Q = np.zeros((49, 4))
        for _ in range(700):  # 0.95^700 is below rounding
            V = np.log(np.exp(Q).sum(axis=1))
            Q = mean + small_grid.discount * small_grid.transitions @ V
        found = rival.policy().probabilities
        assert found == pytest.approx(softmax(Q), abs=1e-9)
        assert found == pytest.approx(soft_policy_iteration(grid, mean, 1.0)[0].policy, abs=1e-9)


def test_its_transitions_are_its_occupancy_and_its_log_prob_is_the_current_one(
    small_grid, known, rewards, expert_occupancy
):
    rival = ExactRival(known, 0.3)
    for turn in range(2):
        own, expert = rival.own(), rival.expert()
        log_pi = rival.policy().log_probabilities
        for steps, occupancy in ((own, small_grid.occupancy(log_pi)), (expert, expert_occupancy)):
            weight = np.zeros((49, 4, 49))
            place = (steps.observations, steps.actions, steps.next_observations)
            np.add.at(weight, tuple(part.numpy() for part in place), steps.weight.numpy())
            wanted = occupancy[:, :, None] * small_grid.transitions
            assert weight == pytest.approx(wanted, abs=1e-12)
        both = expert.joined(own)
        chosen = log_pi[both.observations.numpy(), both.actions.numpy()]
        assert rival.log_prob(both).numpy() == pytest.approx(chosen, abs=0)
        if turn == 0:
            assert chosen == pytest.approx(np.log(0.25), abs=1e-12)
            rival.answer(tabled(rewards))
    assert np.ptp(chosen) > 0.1


def test_one_chain_serves_a_policy(monkeypatch, known, rewards):
    """Its occupancy and its values come from one factorisation, however often it is asked."""
    made = []

    class Counted(MarkovChain):
        def __init__(self, *given):
            made.append(1)
            super().__init__(*given)

    monkeypatch.setattr(rivals, "MarkovChain", Counted)
    monkeypatch.setattr(known_dynamics, "MarkovChain", Counted)
    rival = ExactRival(known, 0.3)
    for turn in range(1, 4):
        rival.own()
        rival.own()
        assert len(made) == turn
        rival.answer(tabled(rewards))


class Recording(SoftQLearner):
    """Keeps what it is told to learn."""

    def update(self, steps, rewards):
        self.told = (steps, rewards)
        return super().update(steps, rewards)


@pytest.fixture
def sampled(tmp_path):
    """A rival on windy-cliff with 10 environments and a buffer of 60, its learner and problem."""

    def make(limit=None, newest=10, shown=0.0):
        needs = frozenset({"demonstrations", "interaction"})
        request = ProblemRequest(
            0, needs, "demonstrations+interaction", 2, budget=Budget(steps=limit)
        )
        problem = registry().task("gridworld/windy-cliff-v0").problem(request, tmp_path)
        run = Run(0, meter=problem.meter)
        learner = Recording(Functions(problem, FunctionConfig(), run), 0.5, 0.05, 0.9)
        demonstrated = steps_of(problem.demonstrations.transitions(), "cpu")
        interaction = Interaction(problem, 10, 60, run)
        rival = SampledRival(demonstrated, interaction, learner, 32, newest, run, 0, shown)
        return SimpleNamespace(rival=rival, learner=learner, problem=problem, shown=demonstrated)

    return make


def test_replayed_transitions_are_paid_what_the_discriminator_says_now(sampled):
    parts = sampled()
    assert parts.rival.act()
    for paid in (1.0, -2.0):  # no step in between: the same transitions, paid anew
        parts.rival.answer(lambda steps, paid=paid: torch.full_like(steps.weight, paid))
        steps, rewards = parts.learner.told
        assert len(steps) == 32
        assert rewards.tolist() == [paid] * 32


def test_a_share_of_what_the_policy_learns_from_is_demonstrated(sampled):
    parts = sampled(shown=0.25)
    assert parts.rival.act()
    paid = []

    def reward(steps):
        paid.append(steps)
        return steps.weight

    parts.rival.answer(reward)
    steps, _ = parts.learner.told
    assert paid == [steps] and len(steps) == 32, "demonstrated ones are paid as its own are"
    known, own = (
        set(zip(some.observations.tolist(), some.next_observations.tolist(), strict=True))
        for some in (parts.shown, parts.rival._interaction.sample(500))
    )
    met = list(zip(steps.observations.tolist(), steps.next_observations.tolist(), strict=True))
    assert set(met[:24]) <= own
    assert set(met[24:]) <= known and set(met[24:]) - own


def test_no_gradient_reaches_the_discriminator_through_the_policy(sampled):
    parts, weight = sampled(), torch.ones((), dtype=torch.float64, requires_grad=True)
    assert parts.rival.act()
    parts.rival.answer(lambda steps: steps.weight * weight)
    assert not parts.learner.told[1].requires_grad
    assert weight.grad is None


def test_the_discriminator_sees_the_newest_and_the_policy_learns_from_all(sampled):
    parts = sampled(newest=10)
    for _ in range(4):
        assert parts.rival.act()
    own = parts.rival.own()
    interaction = parts.rival._interaction
    assert len(interaction) == parts.rival.steps_taken == 40
    last = {
        (int(s), int(a), int(n))
        for s, a, n in zip(
            interaction._observations[30:40],
            interaction._actions[30:40],
            interaction._following[30:40],
            strict=True,
        )
    }
    met = zip(own.observations, own.actions, own.next_observations, strict=True)
    assert {tuple(int(x) for x in step) for step in met} <= last
    parts.rival.answer(lambda steps: steps.weight)
    assert len(set(parts.learner.told[0].observations.tolist())) > 1


def test_log_pi_is_that_of_the_policy_as_it_is_now(sampled):
    parts = sampled()
    assert parts.rival.act()
    own = parts.rival.own()
    assert parts.rival.log_prob(own).tolist() == pytest.approx([-np.log(4)] * len(own))
    for _ in range(20):
        parts.rival.answer(lambda steps: steps.actions.double())
    after = parts.rival.log_prob(own)
    assert not after.requires_grad
    table = parts.rival.policy().log_probabilities
    chosen = table[own.observations.numpy(), own.actions.numpy()]
    assert after.numpy() == pytest.approx(chosen, abs=1e-12)
    assert np.abs(chosen + np.log(4)).max() > 0.1


def test_it_acts_until_the_budget_has_no_room_for_a_step_of_every_row(sampled):
    parts = sampled(limit=35)
    given = [parts.rival.act() for _ in range(5)]
    assert given == [True, True, True, False, False]
    assert parts.rival.steps_taken == parts.problem.meter.used == 30


def test_the_experts_are_drawn_from_the_demonstrations(sampled):
    parts = sampled()
    shown = set(zip(parts.shown.observations.tolist(), parts.shown.actions.tolist(), strict=True))
    drawn = [parts.rival.expert() for _ in range(3)]
    for steps in drawn:
        pairs = set(zip(steps.observations.tolist(), steps.actions.tolist(), strict=True))
        assert len(steps) == 32
        assert pairs <= shown
    assert drawn[0].observations.tolist() != drawn[1].observations.tolist()
