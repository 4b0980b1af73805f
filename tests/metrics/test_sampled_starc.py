"""Sampled STARC gives known answers, and those of a fit over every potential there is."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.errors import UsageError
from irlbench.metrics.sampled_epic import ActionsAndStates, SampledDistance, Transitions
from irlbench.metrics.sampled_starc import sampled_starc_distance
from irlbench.reward import RewardFunction
from irlbench.rewards.linear import LinearReward

GAMMA = 0.9
PLACES = np.random.default_rng(5).normal(size=(6, 3))


class Full(RewardFunction):
    """r(s, a, s') as a function of the three."""

    kind = "transition"

    def __init__(self, function):
        self.function = function

    def __call__(self, observation, action, next_observation, terminated):
        return self.function(observation, action, next_observation, terminated)


def potential(x, steep=4.0):
    return np.tanh(steep * x[:, 0] * x[:, 1]) + np.abs(x[:, 2])


def core(s, a, n, ended):
    return np.sin(3 * s[:, 0]) * a[:, 0] + a[:, 1] ** 2 + 0.3 * n[:, 1]


def shaped(size, scale=1.0):
    def paid(s, a, n, ended):
        following = np.where(ended, 0.0, potential(n))
        return scale * (core(s, a, n, ended) + size * (GAMMA * following - potential(s)))

    return Full(paid)


def sample(seed, n=2000, ends=0.1, states=None):
    """Transitions, what means are over, and groups; of a few states where they are given."""
    rng = np.random.default_rng(seed)
    if states is None:
        here, there, others = (rng.normal(size=(k, 3)) for k in (n, n, 20))
    else:
        here, there, others = (states[rng.integers(len(states), size=k)] for k in (n, n, 20))
    acting = rng.uniform(-1, 1, size=(n + 20, 2))
    transitions = Transitions(here, acting[:n], there, rng.random(n) < ends)
    means = ActionsAndStates(acting[n:], others, np.zeros(20, dtype=bool))
    return transitions, means, np.arange(n) * 8 // n


def distance(first, second, drawn) -> SampledDistance:
    transitions, means, groups = drawn
    return sampled_starc_distance(first, second, transitions, means, discount=GAMMA, groups=groups)


@pytest.mark.parametrize("ends", [0.0, 0.1])
@pytest.mark.parametrize(("size", "scale"), [(0.0, 1e-6), (1.0, 1.0), (100.0, 1e6), (0.1, 7.0)])
def test_shaping_and_scale_leave_0_and_negation_1(ends, size, scale):
    drawn = sample(0, ends=ends)
    found = distance(Full(core), shaped(size, scale), drawn)
    assert found.estimate < 1e-6 and found.error < 1e-6
    negated = distance(Full(core), shaped(size, -scale), drawn)
    assert negated.estimate > 1 - 1e-6


def test_a_distance_is_the_same_both_ways_and_does_not_grow_by_shaping():
    drawn = sample(1)
    other = Full(lambda s, a, n, ended: core(s, a, n, ended) + a[:, 1] * n[:, 0])
    there, back = distance(Full(core), other, drawn), distance(other, Full(core), drawn)
    assert there.estimate == pytest.approx(back.estimate, abs=1e-9)
    assert 0.05 < there.estimate < 0.7 and 0 < there.error < 0.05


def test_rewards_that_have_nothing_to_do_with_each_other_are_at_about_root_a_half():
    """Of rewards that no shaping explains: the noise of each action."""
    found = [
        distance(
            Full(lambda s, a, n, ended: a[:, 0]), Full(lambda s, a, n, ended: a[:, 1]), sample(seed)
        )
        for seed in range(20)
    ]
    estimates = np.array([one.estimate for one in found])
    assert abs(estimates.mean() - np.sqrt(0.5)) < 0.01
    errors = np.array([one.error for one in found])
    assert 0.6 < errors.mean() / estimates.std(ddof=1) < 1.7, "the error is that of repetition"


def test_where_nothing_ends_a_constant_is_nothing_and_where_something_does_it_is_not():
    constant = LinearReward.constant(3.0)
    assert distance(Full(core), constant, sample(0, ends=0.0)).estimate == 0.5
    assert distance(constant, constant, sample(0, ends=0.0)).estimate == 0.0
    survived = Full(lambda s, a, n, ended: 1 + 0.01 * core(s, a, n, ended))
    assert distance(survived, constant, sample(0, ends=0.1)).estimate < 0.05


def test_of_few_states_it_is_the_projection_over_all_potentials():
    """Six states: 64 random features span every potential, and a one-hot fit says the same."""
    transitions, means, groups = sample(3, ends=0.2, states=PLACES)
    first, second = (
        Full(core),
        Full(lambda s, a, n, ended: s[:, 0] + a[:, 1] * n[:, 2] - 0.5 * ended),
    )
    s, n = (
        (x[:, None] == PLACES).all(axis=2).astype(float)
        for x in (transitions.observations, transitions.next_observations)
    )
    shaping = GAMMA * n * ~transitions.terminated[:, None] - s
    canonical = []
    for reward in (first, second):
        paid = reward(
            transitions.observations,
            transitions.actions,
            transitions.next_observations,
            transitions.terminated,
        )
        left = paid - shaping @ np.linalg.lstsq(shaping, paid, rcond=None)[0]
        canonical.append(left / np.linalg.norm(left))
    wanted = np.linalg.norm(canonical[0] - canonical[1]) / 2
    found = distance(first, second, (transitions, means, groups))
    assert found.estimate == pytest.approx(wanted, abs=1e-6)


def test_what_cannot_be_compared_is_refused():
    transitions, means, groups = sample(0)
    for few in (np.zeros(2000, dtype=np.int64), groups[:10]):
        with pytest.raises(UsageError, match="transitions in 2 groups are needed"):
            distance(Full(core), Full(core), (transitions, means, few))
    with pytest.raises(UsageError, match="got 200 in 8"):
        distance(Full(core), Full(core), sample(0, n=200))
    broken = Full(lambda s, a, n, ended: np.where(s[:, 0] > 2, np.nan, 0.0))
    with pytest.raises(UsageError, match="is nan"):
        distance(Full(core), broken, sample(0))
