"""IQ-Learn and SQIL: known answers on exact occupancies, and imitation on every track."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.baselines.algorithms.iq_learn import IQLearn
from irlbench.baselines.algorithms.sqil import SQIL
from irlbench.baselines.learners import experience
from irlbench.baselines.learners.functions import TableFunction
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.data.demonstrations import Demonstrations
from irlbench.errors import UsageError
from irlbench.metrics.reward_distances import starc_distance
from irlbench.tabular.occupancy import infinite_horizon_occupancy
from irlbench.tabular.planning import value_iteration
from irlbench.tabular.rewards import transition_rewards

PAIRS = [(algorithm, track) for algorithm in (IQLearn, SQIL) for track in algorithm.tracks]
KNOWN = "demonstrations+dynamics"


@pytest.fixture
def exact(monkeypatch):
    """Fits to the exact occupancy of a policy: to infinitely many demonstrations."""

    def fit(algorithm, world, policy, **changes):
        occupancy = infinite_horizon_occupancy(world.dynamics, policy)
        monkeypatch.setattr(experience, "demonstrated_occupancy", lambda *_, **__: (occupancy, 1.0))
        return world.fit(algorithm, KNOWN, demonstrations=Demonstrations(()), **changes)[0]

    return fit


@pytest.mark.parametrize(
    ("value_term", "ends"),
    [("value", False), ("v0", False), ("value_expert", False), ("value", True)],
)
def test_without_a_regulariser_policy_and_reward_come_back(exact, worlds, value_term, ends):
    """The objective is then the likelihood of the expert's actions, and its Q - gamma E[V'] the
    expert's reward but for shaping, where the temperature is the expert's."""
    world, temperature = worlds(ends=ends), 0.5
    plan = value_iteration(world.dynamics, world.rewards, temperature, 1e-13)
    solution = exact(
        IQLearn,
        world,
        plan.policy,
        alpha=1e9,
        temperature=temperature,
        value_term=value_term,
        gradient_steps=800,
    )
    inside = ~world.dynamics.terminal
    found = solution.policy.probabilities
    assert found[inside] == pytest.approx(plan.policy[inside], abs=1e-3)
    recovered = transition_rewards(solution.reward, world.dynamics)
    assert starc_distance(world.dynamics, world.rewards, recovered) < 0.02
    hard = value_iteration(world.dynamics, recovered, 0.0).policy
    best = value_iteration(world.dynamics, world.rewards, 0.0).policy
    assert world.lost(hard) == pytest.approx(world.lost(best), abs=1e-3)


@pytest.mark.parametrize("ends", [False, True])
def test_the_losses_by_hand(worlds, ends):
    """Expectations over both occupancies, each divided by its own sum."""
    world, tau, gamma = worlds(ends=ends), 0.3, 0.9
    dynamics, rng = world.dynamics, np.random.default_rng(0)
    expert = infinite_horizon_occupancy(dynamics, world.plan.policy)
    Q, target = rng.normal(size=(2, 16, 4))

    def soft(values):
        return tau * np.logaddexp.reduce(values / tau, axis=1)

    pi = np.exp((Q - soft(Q)[:, None]) / tau)
    both = [m / m.sum() for m in (expert, infinite_horizon_occupancy(dynamics, pi))]
    r = Q - gamma * dynamics.expect(soft(Q))
    flow = soft(Q)[:, None] - gamma * dynamics.expect(soft(Q))
    values = {
        "value": np.mean([(m * flow).sum() for m in both]),
        "value_expert": (both[0] * flow).sum(),
        "v0": (1 - gamma) * dynamics.initial @ soft(Q) / expert.sum(),
    }
    square = np.mean([(m * r**2).sum() for m in both])
    known = experience.KnownExperience(KnownDynamics(dynamics, expert))
    tables = [table(values) for values in (Q, target)]
    known.advance(tables[0], tau)
    for term, value in values.items():
        made = IQLearn.configure(
            "gridworld", {"alpha": 0.7, "temperature": tau, "value_term": term}
        )
        wanted = value - (both[0] * r).sum() + square / (4 * 0.7)
        assert made.loss(known, tables[0], tables[1], gamma).item() == pytest.approx(wanted)
    slow = Q - gamma * dynamics.expect(soft(target))
    wanted = (both[0] * (slow - 1) ** 2).sum() + 0.4 * (both[1] * slow**2).sum()
    sqil = SQIL.configure("gridworld", {"policy_weight": 0.4, "temperature": tau})
    assert sqil.loss(known, tables[0], tables[1], gamma).item() == pytest.approx(wanted)


def offline(algorithm, updates):
    """So many updates where there is no interaction either, for what learns without."""
    return {"offline_gradient_steps": updates} if algorithm is IQLearn else {}


def table(values):
    made = TableFunction(16, 4)
    with torch.no_grad():
        made.values.copy_(torch.from_numpy(values))
    return made


def test_a_stronger_regulariser_makes_a_smaller_reward(exact, small_world):
    plan = small_world.plan

    def size(alpha):
        reward = exact(IQLearn, small_world, plan.policy, alpha=alpha, gradient_steps=300).reward
        return np.abs(transition_rewards(reward, small_world.dynamics)).mean()

    weak, usual, strong = (size(alpha) for alpha in (5.0, 0.5, 0.005))
    assert weak > usual > 3 * strong


def test_sqil_imitates_an_exact_expert(exact, small_world):
    solution = exact(SQIL, small_world, small_world.plan.policy, gradient_steps=600)
    assert small_world.lost(solution.policy.probabilities) < 0.02
    # Q of reward 1 where the expert is and 0 where it is not: below 1 / (1 - gamma), but near it.
    Q = solution.reward.Q.values
    assert 5 < Q.max() < 10 + small_world.temperature * np.log(4) * 10


@pytest.mark.parametrize(("algorithm", "track"), PAIRS)
def test_demonstrations_are_imitated(small_world, algorithm, track):
    solution, run, problem = small_world.fit(
        algorithm,
        track,
        demonstrations=small_world.demonstrations(20),
        gradient_steps=300,
        num_envs=20,
        **offline(algorithm, 300),
    )
    assert small_world.lost(solution.policy.probabilities) < 0.05, "of 1 for the uniform policy"
    assert run.gradient_steps == 300
    # 20 rows, of whose 300 steps eleven only begin an episode anew: one has 25.
    assert problem.meter.used == (20 * 289 if "interaction" in track else 0)
    steps = [step for step, _ in run.saved]
    assert len(steps) == 5
    assert steps[-1] == (20 * 289 if "interaction" in track else 300)
    assert all(np.isfinite(scalars["loss"]) for _, scalars in run.logged)
    last = run.saved[-1][1]
    assert np.array_equal(last.log_probabilities, solution.policy.log_probabilities)  # type: ignore[attr-defined]


@pytest.mark.parametrize("track", IQLearn.tracks)
def test_an_episode_that_ends_is_imitated_too(worlds, track):
    """The expert's own loss is 0.05 of the uniform policy's: it is soft-optimal for ever."""
    world = worlds(ends=True)
    solution, _, _ = world.fit(
        IQLearn,
        track,
        demonstrations=world.demonstrations(20),
        gradient_steps=300,
        **offline(IQLearn, 300),
    )
    assert world.lost(solution.policy.probabilities) < 0.15


@pytest.mark.parametrize("track", IQLearn.tracks)
def test_the_value_terms_differ_and_all_imitate(small_world, track):
    """Offline the mean over both batches is that of the expert's: the two are one.

    With known dynamics both occupancies begin alike, and all three are one number.
    """
    found = {}
    for term in ("value", "v0", "value_expert"):
        solution, _, _ = small_world.fit(
            IQLearn,
            track,
            demonstrations=small_world.demonstrations(20),
            gradient_steps=200,
            value_term=term,
            **offline(IQLearn, 200),
            offline_value_term=term,
        )
        found[term] = solution.policy.log_probabilities
        assert small_world.lost(solution.policy.probabilities) < 0.1
    known = track == "demonstrations+dynamics"
    assert np.allclose(found["value"], found["v0"], atol=1e-3) == known
    alike = np.allclose(found["value"], found["value_expert"], atol=1e-3)
    assert alike == (track != "demonstrations+interaction")


@pytest.mark.parametrize(("algorithm", "track"), PAIRS)
def test_the_reward_is_what_the_policys_own_Q_implies(small_world, algorithm, track):
    solution, _, problem = small_world.fit(
        algorithm,
        track,
        demonstrations=small_world.demonstrations(3),
        gradient_steps=20,
        **offline(algorithm, 20),
    )
    Q, tau = solution.reward.Q.values, 0.1
    V = tau * np.logaddexp.reduce(Q / tau, axis=1)
    assert solution.policy.log_probabilities == pytest.approx((Q - V[:, None]) / tau)
    rng = np.random.default_rng(0)
    states, following = rng.integers(16, size=(2, 50))
    actions, ends = rng.integers(4, size=50), rng.random(50) < 0.3
    wanted = Q[states, actions] - problem.discount * np.where(ends, 0.0, V[following])
    assert solution.reward(states, actions, following, ends) == pytest.approx(wanted)
    assert solution.reward.discount == problem.discount
    assert solution.reward.temperature == tau


@pytest.mark.parametrize("algorithm", [IQLearn, SQIL])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight_decay", 0.1),
        ("temperature", 0.3),
        ("learning_rate", 0.01),
        ("batch_size", 32),
        ("num_envs", 5),
        ("buffer", 40),
    ],
)
def test_every_setting_does_something(small_world, algorithm, field, value):
    given = {"demonstrations": small_world.demonstrations(5), "gradient_steps": 30}
    track = "demonstrations+interaction"
    plain, _, _ = small_world.fit(algorithm, track, **given)
    other, _, _ = small_world.fit(algorithm, track, **given, **{field: value})
    assert not np.allclose(plain.reward.Q.values, other.reward.Q.values)


@pytest.mark.parametrize(
    ("algorithm", "field", "value"),
    [(SQIL, "policy_weight", 0.1), (SQIL, "target_rate", 0.5), (IQLearn, "alpha", 0.05)],
)
def test_their_own_settings_do_too(small_world, algorithm, field, value):
    given = {"demonstrations": small_world.demonstrations(5), "gradient_steps": 30}
    plain, changed = (
        small_world.fit(algorithm, KNOWN, **given, **changes)[0] for changes in ({}, {field: value})
    )
    assert not np.allclose(plain.reward.Q.values, changed.reward.Q.values)


def test_the_number_of_saves(small_world):
    for saves, wanted in ((1, [30]), (3, [10, 20, 30])):
        _, run, _ = small_world.fit(
            IQLearn,
            "demonstrations",
            demonstrations=small_world.demonstrations(2),
            offline_gradient_steps=30,
            saves=saves,
        )
        assert [step for step, _ in run.saved] == wanted


@pytest.mark.parametrize(
    ("algorithm", "name", "value"),
    [
        (IQLearn, "alpha", 0.0),
        (IQLearn, "gradient_steps", 0),
        (IQLearn, "saves", 0),
        (IQLearn, "temperature", 0.0),
        (IQLearn, "weight_decay", -0.1),
        (IQLearn, "batch_size", 0),
        (IQLearn, "learning_rate", -1.0),
        (SQIL, "policy_weight", -1.0),
        (SQIL, "target_rate", 0.0),
        (SQIL, "target_rate", 1.5),
        (SQIL, "num_envs", 0),
        (SQIL, "temperature", float("nan")),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(algorithm, name, value):
    with pytest.raises(UsageError, match=f"{algorithm.id}[:.] ?{name} must .*{value}"):
        algorithm.configure("gridworld", {name: value})


def test_an_unknown_value_term_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="value_expert") as refused:
        IQLearn.configure("gridworld", {"value_term": "value_exprt"})
    assert "value_exprt" in str(refused.value)
