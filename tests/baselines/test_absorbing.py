"""What comes after an episode's end: shares of time by enumeration, values by search."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.adversarial import play
from irlbench.baselines.algorithms.gail import GAILConfig, GAILDiscriminator
from irlbench.baselines.algorithms.iq_learn import IQLearn
from irlbench.baselines.learners.experience import Experience
from irlbench.baselines.learners.functions import TableFunction
from irlbench.baselines.learners.rivals import Rival
from irlbench.baselines.learners.steps import Steps
from irlbench.baselines.objectives.absorbing import Absorbing
from irlbench.baselines.objectives.iq_learn import VALUE_TERMS, absorbing_value, iq_learn_loss
from irlbench.baselines.objectives.soft_values import SoftValues
from irlbench.policies.table import TablePolicy


def time_absorbed(end, discount):
    """Share of the discounted time that is spent after the end, by adding up.

    Each step before counts 1, as sampled ones do, and each after it gamma^k; a step ends the
    episode with probability `end`.
    """
    before = sum((1 - end) ** t for t in range(100_000))
    after = sum(discount**k for k in range(20_000))
    return after / (before + after)


@pytest.mark.parametrize(("expert", "policy"), [(0.01, 0.05), (0.002, 0.002), (0.2, 0.01)])
@pytest.mark.parametrize("discount", [0.9, 0.99])
def test_logits_are_those_of_the_shares_of_time(expert, policy, discount):
    e, p = (time_absorbed(end, discount) for end in (expert, policy))
    found = Absorbing.between((expert, policy), discount, (0.0, 0.0))
    assert found.logit == pytest.approx(math.log(e / p), abs=1e-6)
    assert found.shift == pytest.approx(math.log((1 - e) / (1 - p)), abs=1e-6)


def test_an_end_that_nobody_reaches_is_not_worth_nothing():
    nobody = Absorbing.between((0.0, 0.0), 0.99, (1e-4, 0.1))
    assert nobody.logit == pytest.approx(math.log(1e-4 / 0.1))
    assert nobody.shift == pytest.approx(0.0)
    one_sided = Absorbing.between((0.0, 0.5), 0.99, (1e-4, 0.1))
    share = 0.5 / 0.51
    assert one_sided.logit == pytest.approx(math.log(1e-4 / share))
    assert one_sided.shift == pytest.approx(math.log(1 / 0.1)), "the rest is not below it either"
    wanted = Absorbing.between((0.5, 0.0), 0.99, (1e-4, 0.1))
    assert wanted.logit == pytest.approx(math.log(share / 0.1)) and wanted.logit > 0


class Scripted(Rival):
    """Gives the same transitions of each side, and keeps what it is told to answer."""

    def __init__(self, shares):
        self._ends = shares
        ends = torch.tensor([False, True])
        self._steps = Steps(
            torch.tensor([0, 1]),
            torch.tensor([0, 1]),
            torch.tensor([1, 1]),
            ends,
            torch.ones(2).double(),
        )
        self.paid: list[list[float]] = []

    def expert(self):
        return self._steps

    def act(self):
        return True

    def own(self):
        return self._steps

    @property
    def ends(self):
        return self._ends

    def log_prob(self, steps):
        return torch.zeros(len(steps)).double()

    def answer(self, reward):
        with torch.no_grad():
            self.paid.append(reward(self._steps).tolist())
        return {}

    def policy(self):
        return TablePolicy(np.zeros((2, 2)))

    @property
    def steps_taken(self):
        return 1

    def close(self):
        pass


@pytest.mark.parametrize("form", ["log D - log(1-D)", "-log(1-D)"])
@pytest.mark.parametrize("absorbing", [False, True])
def test_an_end_is_paid_for_ever_after(form, absorbing):
    """Logits stand at zero: the step size is next to none, and both sides show the same."""
    rival, gamma = Scripted((0.02, 0.1)), 0.9
    config = GAILConfig(
        gradient_steps=1, reward=form, absorbing=absorbing, discriminator_learning_rate=1e-12
    )
    judge = GAILDiscriminator(TableFunction(2, 2), form, gamma)
    play(rival, judge, config, Run(), limit=None, discount=gamma)
    (found,) = rival.paid

    def pays(logit):
        return logit if form == "log D - log(1-D)" else math.log1p(math.exp(logit))

    if not absorbing:
        assert found == pytest.approx([pays(0.0)] * 2, abs=1e-9)
        return
    e, p = (end / (end + 1 - gamma) for end in (0.02, 0.1))
    on, there = pays(math.log((1 - e) / (1 - p))), pays(math.log(e / p))
    for_ever = sum(gamma**k * there for k in range(1, 2000))
    assert found == pytest.approx([on, on + for_ever], abs=1e-6)


@pytest.mark.parametrize("value_term", VALUE_TERMS)
@pytest.mark.parametrize(("expert", "policy"), [(0.01, 0.05), (0.05, 0.0), (0.0, 0.1), (0.1, 0.1)])
def test_the_value_of_the_end_is_where_the_objective_is_least(value_term, expert, policy):
    """The loss of transitions and the absorbing state together, searched over its V alone.

    The state's own transitions have Q = V and lead to itself; they count by the shares of time.
    """
    gamma, c = 0.95, 0.7
    e, p = (end / (end + 1 - gamma) for end in (expert, policy))

    def loss(V):
        each = [
            SoftValues(
                torch.tensor([0.0, V], dtype=torch.float64),
                torch.tensor([0.0, V], dtype=torch.float64),
                torch.tensor([0.0, V], dtype=torch.float64),
                torch.tensor([False, False]),
                torch.tensor([1 - share, share], dtype=torch.float64),
            )
            for share in (e, p)
        ]
        initial = torch.tensor(0.0) if value_term == "v0" else None
        found = iq_learn_loss(
            *each, discount=gamma, value_term=value_term, chi2_weight=c, initial_value=initial
        )
        return found.item()

    # It is a parabola in V: one through seven points has its bottom where the loss has.
    points = np.linspace(-60, 60, 7)
    curve, slope, _ = np.polyfit(points, [loss(V) for V in points], 2)
    best = -slope / (2 * curve)
    assert curve > 0
    found = absorbing_value(expert, policy, gamma, value_term=value_term, chi2_weight=c)
    assert found == pytest.approx(best, abs=1e-6)
    assert found == 0 or loss(found) <= loss(0.0)


def test_where_nothing_ends_an_end_is_worth_nothing():
    assert absorbing_value(0.0, 0.0, 0.99, value_term="value", chi2_weight=0.5) == 0


def test_an_end_value_takes_the_place_of_zero():
    values = SoftValues(
        torch.tensor([1.0, 2.0]),
        torch.tensor([3.0, 4.0]),
        torch.tensor([5.0, 6.0], requires_grad=True),
        torch.tensor([True, False]),
        torch.ones(2),
    )
    given = values.with_end_value(-7.0)
    assert given.discounted_next(0.5).tolist() == [-3.5, 3.0]
    assert given.reward(0.5).tolist() == [1 + 3.5, 2 - 3.0]
    assert values.discounted_next(0.5).tolist() == [0.0, 3.0], "the other is as it was"
    assert not given.terminated.any()
    given.reward(0.5).sum().backward()
    assert values.V_next.grad.tolist() == [0.0, -0.5], "an end's value is a constant"


def test_values_are_kept_within_a_bound():
    values = SoftValues(
        torch.tensor([1.0, 2.0, 3.0]),
        torch.tensor([90.0, 4.0, 4.0]),
        torch.tensor([-50.0, 6.0, 70.0]),
        torch.tensor([True, False, False]),
        torch.ones(3),
    )
    given = values.bounded(10.0)
    assert given.V_next.tolist() == [-10.0, 6.0, 10.0]
    assert given.V.tolist() == [90.0, 4.0, 4.0], "only what is bootstrapped from"
    assert given.terminated.tolist() == [True, False, False]


class Ended(Experience):
    """Fixed values on both sides, and shares of ends."""

    def __init__(self, shares):
        self._shares = shares

    def advance(self, Q, temperature):
        return True

    def soft_values(self, Q, temperature, target=None):
        def one(first):
            number = torch.tensor([first, 2.0]).double()
            ends, ones = torch.tensor([True, False]), torch.ones(2).double()
            return SoftValues(number, number, number, ends, ones)

        return one(1.0), one(-1.0)

    def initial_value(self, Q, temperature, discount):
        raise NotImplementedError

    def ends(self, newest):
        return self._shares

    @property
    def steps_taken(self):
        return 1

    def close(self):
        pass


@pytest.mark.parametrize("absorbing", [False, True])
def test_iq_learn_counts_with_the_ends_value_where_it_is_told_to(absorbing):
    made = IQLearn.configure("control", {"absorbing": absorbing, "alpha": 0.5, "value_term": "v0"})
    end = made.end_value(Ended((0.01, 0.1)), 0.9)
    wanted = absorbing_value(0.01, 0.1, 0.9, value_term="v0", chi2_weight=0.5)
    assert end == (wanted if absorbing else 0.0) and wanted != 0
    assert made.end_value(Ended(None), 0.9) == 0.0, "offline, and with known dynamics"
    made = IQLearn.configure("control", {"absorbing": absorbing, "value_term": "value"})
    Q = TableFunction(2, 2)
    end = made.end_value(Ended((0.2, 0.01)), 0.9)
    expert, policy = Ended(None).soft_values(Q, 0.1)
    if absorbing:
        assert end != 0
        expert, policy = expert.with_end_value(end), policy.with_end_value(end)
    weight = 1 / (4 * made.config.alpha)
    by_hand = iq_learn_loss(
        expert, policy, discount=0.9, value_term=made.config.value_term, chi2_weight=weight
    )
    assert made.loss(Ended((0.2, 0.01)), Q, Q, 0.9).item() == pytest.approx(by_hand.item())
