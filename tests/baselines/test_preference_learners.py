"""IPL, Bradley-Terry rewards and DPO: closed forms on a tree, and what they recover on a grid."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from irlbench.baselines.algorithms.bt_reward import BTReward
from irlbench.baselines.algorithms.dpo import DPO
from irlbench.baselines.algorithms.ipl import IPL
from irlbench.baselines.learners.functions import Functions
from irlbench.data.demonstrations import Episode
from irlbench.data.preferences import Preference, Preferences
from irlbench.errors import UsageError
from irlbench.metrics.reward_distances import starc_distance
from irlbench.policies.table import TablePolicy
from irlbench.problem import Budget
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.planning import value_iteration
from irlbench.tabular.rewards import transition_rewards

#: What the tree pays: action 0 and 1 in its first state and in the two that they lead to.
PAID = np.array([[0.3, -0.4], [1.0, -0.2], [0.5, 0.9], [0.0, 0.0]])
TRAJECTORIES = [(first, second) for first in range(2) for second in range(2)]
#: Nothing but the preferences decides.
BARE = {"l2": 0.0, "learning_rate": 0.05}


def along(first, second):
    """The tree from its root to its end."""
    ends = np.array([False, True])
    return Episode(
        np.array([0, 1 + first, 3]), np.array([first, second]), ends, np.zeros(2, dtype=bool)
    )


ALL = [along(*choices) for choices in TRAJECTORIES]
RETURNS = np.array([PAID[0, a] + PAID[1 + a, b] for a, b in TRAJECTORIES])


@pytest.fixture
def tree(worlds):
    """Two choices of two, then the end: four trajectories; no chance."""
    world = worlds()
    successors = np.array([[1, 2], [3, 3], [3, 3], [3, 3]], dtype=np.int32)[:, :, None]
    initial, terminal = np.eye(4)[0], np.arange(4) == 3
    world.dynamics = TabularDynamics(
        successors, np.ones((4, 2, 1)), initial, terminal, horizon=2, discount=0.9
    )
    world.rewards = PAID
    return world


def exact_preferences(more=()):
    """Every pair of trajectories with both answers, weighed by their probabilities."""
    found = []
    for one, other in combinations(range(4), 2):
        first_better = 1 / (1 + np.exp(RETURNS[other] - RETURNS[one]))
        for ranks, weight in (((0, 1), first_better), ((1, 0), 1 - first_better)):
            found.append(Preference((ALL[one], ALL[other]), ranks, "exact", float(weight)))
    ties = [Preference((ALL[i], ALL[i]), (0, 0), "exact") for i in more]
    return Preferences((*found, *ties))


def sums(reward, items):
    """The undiscounted returns of segments under a reward."""
    return np.array(
        [
            reward(i.observations[:-1], i.actions, i.observations[1:], i.terminations).sum()
            for i in items
        ]
    )


def centred(values):
    return values - values.mean()


@pytest.mark.parametrize(
    ("algorithm", "track", "changes"),
    [
        (BTReward, "preferences+dynamics", {"state_only": False}),
        (IPL, "preferences", {"regulariser_weight": 0.0}),
        (IPL, "preferences+dynamics", {"regulariser_weight": 0.0}),
    ],
)
def test_exact_probabilities_give_the_returns_back(tree, algorithm, track, changes):
    """The cross-entropy is least where every difference of returns is the true one."""
    solution, _, _ = tree.fit(
        algorithm,
        track,
        preferences=exact_preferences(),
        gradient_steps=600,
        **changes,
        **BARE,
    )
    assert centred(sums(solution.reward, ALL)) == pytest.approx(centred(RETURNS), abs=1e-3)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_dpo_finds_the_closed_form(tree, beta):
    """pi(trajectory) is proportional to pi_ref(trajectory) exp(R / beta) without discount."""
    solution, _, _ = tree.fit(
        DPO,
        "preferences",
        preferences=exact_preferences(),
        reference="uniform",
        beta=beta,
        gradient_steps=800,
        **BARE,
    )
    pi = solution.policy.probabilities
    found = np.array([pi[0, a] * pi[1 + a, b] for a, b in TRAJECTORIES])
    wanted = np.exp(RETURNS / beta) / np.exp(RETURNS / beta).sum()
    assert found == pytest.approx(wanted, abs=1e-3)
    assert centred(sums(solution.reward, ALL)) == pytest.approx(centred(RETURNS), abs=1e-2)


def test_dpo_departs_from_the_cloned_policy(tree):
    """A trajectory tied with itself says nothing of rewards, but is cloned: the first one here."""
    more = [0] * 6
    solution, run, _ = tree.fit(
        DPO,
        "preferences",
        preferences=exact_preferences(more),
        gradient_steps=800,
        **BARE,
    )
    assert run.gradient_steps == 1600
    counts = np.full(4, 6.0)  # each is in three pairs of two answers
    counts[0] += 2 * len(more)
    reference = np.array([counts[0] / (counts[0] + 6), 6 / (counts[0] + 6), 0.5, 0.5])
    reference *= np.repeat([(counts[0] + 6) / counts.sum(), 12 / counts.sum()], 2)
    wanted = reference * np.exp(RETURNS)
    pi = solution.policy.probabilities
    found = np.array([pi[0, a] * pi[1 + a, b] for a, b in TRAJECTORIES])
    assert found == pytest.approx(wanted / wanted.sum(), abs=2e-3)


@pytest.mark.parametrize("reference", ["uniform", "cloned"])
def test_dpos_reward_is_beta_log_of_the_ratio(small_world, reference):
    preferences = small_world.preferences(40, temperature=1.0)
    solution, _, _ = small_world.fit(
        DPO,
        "preferences",
        preferences=preferences,
        reference=reference,
        beta=0.7,
        gradient_steps=50,
    )
    states, actions = (i.ravel() for i in np.indices((16, 4)))
    log_reference = np.full(64, -np.log(4))
    if reference == "cloned":
        log_reference = TablePolicy(solution.reward.reference.values).log_prob(states, actions)
        assert np.abs(log_reference + np.log(4)).max() > 0.1
    else:
        assert solution.reward.reference is None
    wanted = 0.7 * (solution.policy.log_prob(states, actions) - log_reference)
    found = solution.reward(states, actions, states, np.zeros(64, dtype=bool))
    assert found == pytest.approx(wanted)
    assert solution.reward.temperature == 0.7


def ordered_alike(world, reward):
    """How many of the pairs of 300 new segments a reward orders as the true one does.

    Those whose true returns are nearly equal are left out.
    """
    items = world.episodes(np.full((16, 4), 0.25), 300, seed=99, steps=6)
    true, found = np.array(world.returns(items)), sums(reward, items)
    one, other = np.triu_indices(300, 1)
    apart = np.abs(true[one] - true[other]) > 0.5
    assert apart.sum() > 1000
    return ((true[one] - true[other]) * (found[one] - found[other]) > 0)[apart].mean()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_reward_model_of_many_preferences_is_good_to_plan_with(small_world, temperature):
    solution, _, problem = small_world.fit(
        BTReward,
        "preferences+dynamics",
        preferences=small_world.preferences(1000, temperature=temperature),
        gradient_steps=300,
    )
    reward, dynamics = (
        transition_rewards(solution.reward, small_world.dynamics),
        small_world.dynamics,
    )
    assert ordered_alike(small_world, solution.reward) > 0.98
    assert starc_distance(dynamics, small_world.rewards, reward) < 0.2
    assert small_world.lost(solution.policy.probabilities) < 0.01
    assert solution.reward.kind == "state"
    assert problem.meter.used == 0
    # The policy is soft value iteration's on that very reward.
    plan = value_iteration(dynamics, solution.reward.values, 0.1)
    assert solution.policy.probabilities == pytest.approx(plan.policy, abs=1e-6)


def test_with_interaction_the_solver_learns_from_steps(small_world):
    """The budget of gradient steps is for both: 300 for the model, 700 for the solver."""
    solution, run, problem = small_world.fit(
        BTReward,
        "preferences+interaction",
        preferences=small_world.preferences(500, temperature=1.0),
        gradient_steps=300,
        budget=Budget(gradient_steps=1000),
    )
    assert run.gradient_steps == 1000
    assert problem.meter.used == 20 * (700 - 26)  # every 26th step only begins an episode anew
    assert small_world.lost(solution.policy.probabilities) < 0.05


def test_of_a_small_budget_half_is_left_to_the_solver(small_world):
    given = {"preferences": small_world.preferences(20), "gradient_steps": 300}
    for track, steps in (("preferences+interaction", 20), ("preferences+dynamics", 0)):
        solution, run, problem = small_world.fit(
            BTReward, track, budget=Budget(gradient_steps=40), **given
        )
        assert run.gradient_steps == 40
        assert problem.meter.used == 20 * steps
        assert solution.reward.values.any()


@pytest.mark.parametrize("track", IPL.tracks)
def test_ipl_recovers_a_good_policy(small_world, track):
    solution, run, problem = small_world.fit(
        IPL,
        track,
        preferences=small_world.preferences(1000, temperature=1.0),
        gradient_steps=600,
    )
    assert small_world.lost(solution.policy.probabilities) < 0.1
    assert ordered_alike(small_world, solution.reward) > 0.8
    reward = transition_rewards(solution.reward, small_world.dynamics)
    hard = value_iteration(small_world.dynamics, reward, 0.0).policy
    assert small_world.lost(hard) < 0.05
    assert [step for step, _ in run.saved] == [120, 240, 360, 480, 600]
    assert problem.meter.used == 0


def test_ipl_with_known_dynamics_from_noiseless_preferences(small_world):
    solution, _, _ = small_world.fit(
        IPL,
        "preferences+dynamics",
        preferences=small_world.preferences(1000),
        gradient_steps=600,
    )
    assert small_world.lost(solution.policy.probabilities) < 0.1
    assert ordered_alike(small_world, solution.reward) > 0.9
    reward = transition_rewards(solution.reward, small_world.dynamics)
    assert starc_distance(small_world.dynamics, small_world.rewards, reward) < 0.2


@pytest.mark.parametrize("track", IPL.tracks)
def test_ipls_reward_is_what_the_policys_own_Q_implies(small_world, track):
    solution, _, _ = small_world.fit(
        IPL, track, preferences=small_world.preferences(20), gradient_steps=20
    )
    Q = solution.reward.Q.values
    V = 0.1 * np.logaddexp.reduce(Q / 0.1, axis=1)
    assert solution.policy.log_probabilities == pytest.approx((Q - V[:, None]) / 0.1)
    rng = np.random.default_rng(0)
    states, following = rng.integers(16, size=(2, 50))
    actions, ends = rng.integers(4, size=50), rng.random(50) < 0.3
    wanted = Q[states, actions] - 0.9 * np.where(ends, 0.0, V[following])
    assert solution.reward(states, actions, following, ends) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("algorithm", "field", "value"),
    [
        (BTReward, "state_only", False),
        (BTReward, "regulariser_weight", 0.5),
        (BTReward, "l2", 10.0),
        (BTReward, "batch_size", 16),
        (IPL, "temperature", 0.5),
        (IPL, "regulariser_weight", 0.01),
        (IPL, "target_rate", 1.0),
        (IPL, "l2", 10.0),
        (IPL, "learning_rate", 0.01),
        (DPO, "beta", 0.3),
        (DPO, "reference", "uniform"),
        (DPO, "l2", 10.0),
    ],
)
def test_every_setting_does_something(small_world, algorithm, field, value):
    given = {"preferences": small_world.preferences(50), "gradient_steps": 30}
    for track in algorithm.tracks:
        if "interaction" in track:
            continue
        plain, changed = (
            small_world.fit(algorithm, track, **given, **changes)[0]
            for changes in ({}, {field: value})
        )
        one, other = (transition_rewards(s.reward, small_world.dynamics) for s in (plain, changed))
        # With known dynamics the prior on all rewards takes the regulariser's place.
        replaced = field == "regulariser_weight" and track == "preferences+dynamics"
        assert np.allclose(one, other) == (replaced and algorithm is IPL)


@pytest.mark.parametrize(
    ("algorithm", "track", "wanted"),
    [
        (BTReward, "preferences+dynamics", 3.0 / 20),
        (DPO, "preferences", 3.0 / 20),
        (IPL, "preferences", 3.0 / 20),
        (IPL, "preferences+dynamics", 0.0),
    ],
)
def test_the_prior_weighs_one_over_the_number_of_pairs(
    small_world, monkeypatch, algorithm, track, wanted
):
    """With known dynamics IPL's is on the implied reward of every state, and not on Q as well."""
    given, make = [], Functions.optimiser

    def watched(self, *functions, weight_decay=0.0):
        given.append(weight_decay)
        return make(self, *functions, weight_decay=weight_decay)

    monkeypatch.setattr(Functions, "optimiser", watched)
    preferences = small_world.preferences(20)
    small_world.fit(algorithm, track, preferences=preferences, gradient_steps=2, l2=3.0)
    assert set(given) == {wanted}


@pytest.mark.parametrize(
    ("algorithm", "name", "value"),
    [
        (BTReward, "gradient_steps", 0),
        (BTReward, "batch_size", 0),
        (BTReward, "saves", 0),
        (BTReward, "l2", -1.0),
        (BTReward, "weight_decay", -1.0),
        (BTReward, "regulariser_weight", -0.5),
        (BTReward, "temperature", -0.1),
        (IPL, "temperature", 0.0),
        (IPL, "regulariser_weight", -0.5),
        (IPL, "learning_rate", 0.0),
        (IPL, "target_rate", 0.0),
        (IPL, "target_rate", 1.5),
        (DPO, "beta", 0.0),
        (DPO, "l2", -1.0),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(algorithm, name, value):
    with pytest.raises(UsageError, match=f"{algorithm.id}: {name} must .*{value}"):
        algorithm.configure("gridworld", {name: value})


def test_an_unknown_reference_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"unifrom.*uniform"):
        DPO.configure("gridworld", {"reference": "unifrom"})
