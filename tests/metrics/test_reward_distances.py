"""EPIC, DARD and STARC give known answers, and those of their formulas written as loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.errors import UsageError
from irlbench.metrics import canonical_rewards
from irlbench.metrics.canonical_rewards import dard_canonical, epic_canonical, value_canonical
from irlbench.metrics.reward_distances import dard_distance, epic_distance, starc_distance
from irlbench.metrics.sampled_epic import ActionsAndStates, Transitions, sampled_epic_distance
from irlbench.reward import RewardFunction
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.table import TableReward
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.planning import value_iteration
from irlbench.tabular.rewards import transition_rewards

SEEDS = st.integers(0, 2**32 - 1)
ENDS = st.integers(0, 2)
EACH = pytest.mark.parametrize("distance", [epic_distance, dard_distance, starc_distance])


class Full(RewardFunction):
    """r(s, a, s') of any two states."""

    kind = "transition"

    def __init__(self, values):
        self.values = values

    def __call__(self, observation, action, next_observation, terminated):
        return self.values[observation, action, next_observation]


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def full(dynamics, seed):
    return Full(normal(seed, dynamics.states, dynamics.actions, dynamics.states))


def shaped(reward, potential, discount, scale=1.0):
    values = scale * reward.values + discount * potential - potential[:, None, None]
    return Full(values)


# --- by hand


def two_states(discount=0.5):
    """Two states, two actions: 0 stays, 1 goes to the other."""
    return TabularDynamics(
        successors=np.array([[[0], [1]], [[1], [0]]]),
        probabilities=np.ones((2, 2, 1)),
        initial=np.array([1.0, 0.0]),
        terminal=np.zeros(2, dtype=bool),
        horizon=10,
        discount=discount,
    )


def test_the_canonical_rewards_of_two_states_by_hand():
    """r = (0, 1) by state. V = (0.5, 1.5), as each next state is either; the mean reward is 1/2.

    STARC: r(s) + V(s') / 2 - V(s). EPIC and DARD: r(s) + r(s') / 2 - r(s), less a constant 1/4:
    here the next state is either of the two from both.
    """
    rewards = np.array([0.0, 1.0])
    assert value_canonical(two_states(), rewards) == pytest.approx(
        np.array([[-0.25, 0.25], [0.25, -0.25]])
    )
    expected = np.array([[[-0.25], [0.25]], [[0.25], [-0.25]]])
    assert epic_canonical(two_states(), rewards) == pytest.approx(expected)
    assert dard_canonical(two_states(), rewards) == pytest.approx(expected)


@EACH
def test_distances_of_two_states_by_hand(distance):
    """At discount 0 a canonical reward is the reward less its mean over the actions of a state.

    Both rewards are canonical as they stand: (-1, 1, 1, -1) and (0, 0, -1, 1).
    """
    dynamics = two_states(discount=0.0)
    first, second = np.array([[-1.0, 1.0], [1.0, -1.0]]), np.array([[0.0, 0.0], [-1.0, 1.0]])
    # cos = -2 / (2 sqrt 2), so half the distance is sqrt((1 + 1 / sqrt 2) / 2).
    expected = np.sqrt((1 + np.sqrt(0.5)) / 2)
    assert distance(dynamics, first, second) == pytest.approx(expected)


# --- the formulas as loops


def along(dynamics, s, a):
    return zip(dynamics.successors[s, a], dynamics.probabilities[s, a], strict=True)


@given(SEEDS, ENDS)
@settings(deadline=None, max_examples=15)
def test_epic_is_its_formula(random_dynamics, seed, ends):
    dynamics = random_dynamics(seed, 4, 2, 2, discount=0.7, ends=ends)
    reward = full(dynamics, seed)
    rng = np.random.default_rng(seed)
    D_S, D_A = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(2))
    D_S[0], D_A = 0.0, D_A if seed % 2 else np.array([0.0, 1.0])
    D_S /= D_S.sum()

    def mean(s):
        return sum(D_A[a] * D_S[n] * reward.values[s, a, n] for a in range(2) for n in range(4))

    constant = 0.7 * sum(D_S[s] * mean(s) for s in range(4))
    found = epic_canonical(dynamics, reward, states=D_S, actions=D_A)
    for s, a, k in np.ndindex(4, 2, 2):
        n = dynamics.successors[s, a, k]
        expected = reward.values[s, a, n] + 0.7 * mean(n) - mean(s) - constant
        assert found[s, a, k] == pytest.approx(expected)


@given(SEEDS, ENDS)
@settings(deadline=None, max_examples=15)
def test_dard_is_its_formula(random_dynamics, seed, ends):
    dynamics = random_dynamics(seed, 4, 2, 2, discount=0.7, ends=ends)
    reward = full(dynamics, seed)
    D_A = np.random.default_rng(seed).dirichlet(np.ones(2))
    found = dard_canonical(dynamics, reward, actions=D_A)
    for s, a, k in np.ndindex(4, 2, 2):
        n = dynamics.successors[s, a, k]
        expected = reward.values[s, a, n]
        for b in range(2):
            for s1, p in along(dynamics, s, b):
                expected -= D_A[b] * p * reward.values[s, b, s1]
                for s2, q in along(dynamics, n, b):
                    expected -= 0.7 * D_A[b] * p * q * reward.values[s1, b, s2]
            for s2, q in along(dynamics, n, b):
                expected += 0.7 * D_A[b] * q * reward.values[n, b, s2]
        assert found[s, a, k] == pytest.approx(expected)


@given(SEEDS, st.sampled_from(["state", "state-action"]))
@settings(deadline=None, max_examples=15)
def test_each_form_of_one_reward_has_one_canonical_reward(random_dynamics, seed, kind):
    """As array, as array per successor, as table function, and as function of transitions."""
    dynamics = random_dynamics(seed, 4, 2, 3, discount=0.7)
    values = normal(seed, 4) if kind == "state" else normal(seed, 4, 2)
    table = TableReward(values)
    per_successor = transition_rewards(table, dynamics)
    # What unused places hold says nothing.
    per_successor[dynamics.probabilities == 0] = 99.0
    by_pair = np.broadcast_to(values.reshape(4, -1), (4, 2))
    whole = Full(np.broadcast_to(by_pair[:, :, None], (4, 2, 4)))
    used = dynamics.probabilities > 0
    for canonical in (epic_canonical, dard_canonical):
        expected = canonical(dynamics, values)[used]
        for form in (table, per_successor, whole):
            assert canonical(dynamics, form)[used] == pytest.approx(expected, abs=1e-12)
    for form in (table, per_successor, whole):
        expected = value_canonical(dynamics, values)
        assert value_canonical(dynamics, form) == pytest.approx(expected, abs=1e-12)


def test_many_states_are_evaluated_a_few_at_a_time(random_dynamics, monkeypatch):
    dynamics = random_dynamics(2, 11, 2, 2)
    reward = full(dynamics, 2)
    at_once = [canonical(dynamics, reward) for canonical in (epic_canonical, dard_canonical)]
    calls = []

    class Counted(Full):
        def __call__(self, observation, *others):
            calls.append(len(observation))
            return super().__call__(observation, *others)

    monkeypatch.setattr(canonical_rewards, "_BATCH", 4 * 2 * 11)
    counted = Counted(reward.values)
    by_and_by = [canonical(dynamics, counted) for canonical in (epic_canonical, dard_canonical)]
    assert max(calls) == 4 * 2 * 11, "four states of eleven with all others"
    assert calls.count(2 * 2**5) == 5, "two states with the four that may follow, twice"
    for whole, parts in zip(at_once, by_and_by, strict=True):
        assert parts == pytest.approx(whole, abs=1e-12)


# --- shaping, scale, sign


@EACH
@given(seed=SEEDS, scale=st.sampled_from([1e-6, 0.3, 1e6]))
@settings(deadline=None, max_examples=20)
def test_shaping_and_positive_scale_are_at_distance_0(random_dynamics, distance, seed, scale):
    dynamics = random_dynamics(seed, 5, 3, 2, discount=0.9)
    reward = full(dynamics, seed)
    other = shaped(reward, scale * normal(seed + 1, 5), 0.9, scale)
    assert distance(dynamics, reward, other) < 1e-8
    negated = shaped(Full(-reward.values), normal(seed + 1, 5), 0.9, scale)
    assert distance(dynamics, reward, negated) == pytest.approx(1.0, abs=1e-8)
    assert distance(dynamics, full(dynamics, seed + 2), reward) > 0.01


@given(SEEDS, ENDS)
@settings(deadline=None, max_examples=30)
def test_starc_knows_that_episodes_end(random_dynamics, seed, ends):
    """The potential of a terminal state is 0, and what is paid for acting there is nothing."""
    dynamics = random_dynamics(seed, 6, 3, 3, discount=0.9, ends=ends)
    reward = normal(seed, *dynamics.successors.shape)
    potential = np.where(dynamics.terminal, 0.0, normal(seed + 1, 6))
    other = 3 * reward + 0.9 * potential[dynamics.successors] - potential[:, None, None]
    other[dynamics.terminal] = 100.0
    assert starc_distance(dynamics, reward, other) < 1e-9


@EACH
@given(seed=SEEDS, ends=ENDS)
@settings(deadline=None, max_examples=30)
def test_they_are_metrics(random_dynamics, distance, seed, ends):
    dynamics = random_dynamics(seed, 5, 3, 2, ends=ends)
    rewards = [normal(seed, 5, 3), full(dynamics, seed), normal(seed + 2, 5), np.ones(5)]
    found = np.array([[distance(dynamics, x, y) for y in rewards] for x in rewards])
    assert (found >= 0).all() and (found <= 1).all()
    assert np.diag(found) == pytest.approx(0.0, abs=1e-12)
    assert found == pytest.approx(found.T, abs=1e-12)
    for i in range(4):
        for j in range(4):
            for k in range(4):
                assert found[i, k] <= found[i, j] + found[j, k] + 1e-12


# --- rewards that say nothing


@EACH
@pytest.mark.parametrize("discount", [0.5, 0.99])
@pytest.mark.parametrize("value", [0.0, 1.0, -3e7, 1e-9])
def test_a_constant_reward_is_at_one_half_from_others_and_0_from_its_like(
    random_dynamics, distance, discount, value
):
    dynamics = random_dynamics(4, 30, 3, 2, discount=discount)
    constant = np.full(30, value)
    assert distance(dynamics, constant, normal(4, 30)) == pytest.approx(0.5)
    assert distance(dynamics, full(dynamics, 4), constant) == pytest.approx(0.5)
    assert distance(dynamics, constant, LinearReward.constant(5.0)) == 0.0
    # Nothing but shaping says nothing, too.
    potential = normal(5, 30)
    only_shaping = shaped(Full(np.zeros((30, 3, 30))), potential, discount)
    assert distance(dynamics, only_shaping, constant) == 0.0


def test_where_episodes_end_a_constant_reward_pays_for_staying_alive():
    """State 0 stays or goes to the end: paying 1 a step is the negation of paying -1."""
    dynamics = TabularDynamics(
        successors=np.array([[[0], [1]], [[1], [1]]]),
        probabilities=np.ones((2, 2, 1)),
        initial=np.array([1.0, 0.0]),
        terminal=np.array([False, True]),
        horizon=10,
        discount=0.9,
    )
    found = starc_distance(dynamics, LinearReward.constant(1.0), LinearReward.constant(-1.0))
    assert found == pytest.approx(1.0)
    to_stay = np.array([[0.0, -7.0], [0.0, 0.0]])
    assert starc_distance(dynamics, LinearReward.constant(1.0), to_stay) == pytest.approx(0.0)


# --- what they weigh


@EACH
def test_the_coverage_says_what_counts(random_dynamics, distance):
    """Two rewards that differ in what state 0 pays, at discount 0: without it, they are alike."""
    dynamics = random_dynamics(6, 5, 3, 2, discount=0.0)
    reward = normal(6, 5, 3)
    other = reward.copy()
    other[0, 1] += 5.0
    assert distance(dynamics, reward, other) > 0.1
    coverage = np.random.default_rng(0).random((5, 3))
    coverage[0] = 0.0
    assert distance(dynamics, reward, other, coverage=coverage) < 1e-8
    uniform = distance(dynamics, reward, other, coverage=np.full((5, 3), 7.0))
    assert uniform == pytest.approx(distance(dynamics, reward, other))


def test_the_policy_of_the_values_is_a_choice(random_dynamics):
    dynamics = random_dynamics(6, 5, 3, 2)
    first, second = normal(1, 5, 3), normal(2, 5, 3)
    policy = np.random.default_rng(0).dirichlet(np.ones(3), size=5)
    usual = starc_distance(dynamics, first, second)
    assert abs(starc_distance(dynamics, first, second, policy=policy) - usual) > 1e-4
    shaping = 0.9 * dynamics.expect(normal(3, 5)) - normal(3, 5)[:, None]
    assert starc_distance(dynamics, first, first + shaping, policy=policy) < 1e-9


# --- the 7 x 7 grid


@EACH
def test_the_log_policy_of_an_expert_is_its_reward_up_to_shaping(seven_by_seven, distance):
    """tau log pi_E = r + gamma E[V(s')] - V(s): so behavioural cloning with infinite data, too."""
    dynamics, rewards = seven_by_seven
    plan = value_iteration(dynamics, rewards, 0.3, tolerance=1e-13)
    log_policy = 0.3 * np.log(plan.policy)
    found = distance(dynamics, rewards, log_policy)
    if distance is starc_distance:
        assert found < 1e-10
    else:
        # The expectation over s' is no shaping to them, the same potential on every s' is.
        assert found > 0.5
        soft = rewards[:, None, None] + 0.95 * plan.V - plan.V[:, None, None]
        whole = Full(np.broadcast_to(soft, (49, 4, 49)))
        assert distance(dynamics, rewards, whole) < 1e-8


def test_rewards_of_the_grid_are_told_apart(seven_by_seven):
    """The reward without its centre is near; the centre alone is far."""
    dynamics, rewards = seven_by_seven
    corner, centre = np.maximum(rewards, 0.0), np.minimum(rewards, 0.0)
    near, far = (starc_distance(dynamics, rewards, other) for other in (corner, centre))
    assert 0.05 < near < far < 0.75


# --- sampled


def draw(rng, rows):
    found = (rows.cumsum(axis=-1) <= rng.random((len(rows), 1))).sum(axis=-1)
    return found.clip(0, rows.shape[1] - 1)


def sample(dynamics, seed, n, m):
    rng = np.random.default_rng(seed)
    states = rng.choice(np.flatnonzero(~dynamics.terminal), size=n)
    actions = rng.integers(dynamics.actions, size=n)
    places = draw(rng, dynamics.probabilities[states, actions])
    following = dynamics.successors[states, actions, places]
    others = rng.integers(dynamics.states, size=m)
    return (
        Transitions(states, actions, following, dynamics.terminal[following]),
        ActionsAndStates(rng.integers(dynamics.actions, size=m), others, dynamics.terminal[others]),
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_sampled_distance_agrees_with_the_exact_one(random_dynamics, seed):
    dynamics = random_dynamics(seed, 8, 3, 2, discount=0.9, ends=seed % 2)
    first, noise = full(dynamics, seed), full(dynamics, seed + 100)
    second = Full(first.values + (0.3 + 0.5 * seed) * noise.values)
    found = sampled_epic_distance(first, second, *sample(dynamics, seed, 4000, 500), discount=0.9)
    exact = epic_distance(dynamics, first, second)
    assert 0 < found.error < 0.05
    assert abs(found.estimate - exact) < 4 * found.error


def test_the_error_is_that_of_repeated_samples(random_dynamics):
    dynamics = random_dynamics(1, 8, 3, 2, discount=0.9)
    first, second = full(dynamics, 1), full(dynamics, 2)
    found = [
        sampled_epic_distance(first, second, *sample(dynamics, seed, 400, 100), discount=0.9)
        for seed in range(60)
    ]
    spread = np.std([one.estimate for one in found], ddof=1)
    errors = np.array([one.error for one in found])
    assert 0.7 < errors.mean() / spread < 1.5


def test_samples_leave_shaping_at_0_and_negation_at_1(random_dynamics):
    dynamics = random_dynamics(1, 8, 3, 2, discount=0.9)
    reward, samples = full(dynamics, 1), sample(dynamics, 1, 100, 50)
    other = shaped(reward, 10 * normal(2, 8), 0.9, 4.0)
    found = sampled_epic_distance(reward, other, *samples, discount=0.9)
    assert found.estimate < 1e-8 and found.error < 1e-8
    negated = Full(-other.values)
    assert sampled_epic_distance(reward, negated, *samples, discount=0.9).estimate > 1 - 1e-8
    nothing = LinearReward.constant(2.0)
    assert sampled_epic_distance(reward, nothing, *samples, discount=0.9).estimate == 0.5
    assert sampled_epic_distance(nothing, nothing, *samples, discount=0.9).estimate == 0.0


def test_observations_may_have_many_numbers():
    """A reward linear in three numbers: its distance to another is that of the angle."""
    rng = np.random.default_rng(0)
    n, m = 3000, 200
    transitions = Transitions(
        rng.normal(size=(n, 3)), np.zeros((n, 1)), rng.normal(size=(n, 3)), np.zeros(n, dtype=bool)
    )
    means = ActionsAndStates(np.zeros((m, 1)), rng.normal(size=(m, 3)), np.zeros(m, dtype=bool))
    first = LinearReward(np.array([1.0, 0.0, 0.0]), 0.0)
    second = LinearReward(np.array([1.0, 1.0, 0.0]), 0.0)
    found = sampled_epic_distance(first, second, transitions, means, discount=0.9)
    # Canonical: gamma w . s' and a constant. cos 45 degrees = sqrt(1/2).
    assert abs(found.estimate - np.sqrt((1 - np.sqrt(0.5)) / 2)) < 4 * found.error


# --- what cannot be compared


@EACH
def test_rewards_of_another_problem_are_refused(random_dynamics, distance):
    with pytest.raises(UsageError, match=r"a reward here has shape .* got \(6,\)"):
        distance(random_dynamics(), np.zeros(5), np.zeros(6))
    broken = np.zeros((5, 3))
    broken[2, 1] = np.nan
    with pytest.raises(UsageError, match="state 2, action 1 is nan"):
        distance(random_dynamics(), broken, np.zeros(5))


@pytest.mark.parametrize("distance", [epic_distance, dard_distance])
def test_an_array_per_successor_does_not_say_what_other_transitions_pay(random_dynamics, distance):
    dynamics = random_dynamics()
    values = np.zeros(dynamics.successors.shape)
    state, action = np.argwhere((dynamics.probabilities > 0).all(axis=2))[0]
    values[state, action] = [1.0, 2.0]
    with pytest.raises(UsageError, match=f"state {state}, action {action} depends .* RewardFunct"):
        distance(dynamics, values, np.zeros(5))
    assert starc_distance(dynamics, values, np.zeros(5)) == pytest.approx(0.5)


@pytest.mark.parametrize("distance", [epic_distance, dard_distance])
def test_a_function_that_is_not_finite_off_the_support_is_named(distance):
    values = np.zeros((2, 2, 2))
    values[0, 0, 1] = np.inf  # staying never leads to the other state
    with pytest.raises(UsageError, match="state 0, action 0, next state 1 is inf"):
        distance(two_states(), Full(values), np.zeros(2))
    assert starc_distance(two_states(), Full(values), np.zeros(2)) == 0.0


@EACH
@pytest.mark.parametrize(
    ("coverage", "message"),
    [
        (np.ones((3, 5)), r"coverage must have shape \(5, 3\), got \(3, 5\)"),
        (np.zeros((5, 3)), r"not all zero, got 0\.0 to 0\.0"),
        (np.full((5, 3), -1.0), r"from 0 on .* got -1\.0 to -1\.0"),
        (np.full((5, 3), np.nan), "got nan to nan"),
        (np.eye(5)[4][:, None] * np.ones(3), "terminal states only"),
    ],
)
def test_what_is_no_coverage_is_refused(random_dynamics, distance, coverage, message):
    dynamics = random_dynamics(ends=1)
    with pytest.raises(UsageError, match=message):
        distance(dynamics, np.zeros(5), np.zeros(5), coverage=coverage)


def test_starc_needs_a_discount_and_a_policy(random_dynamics):
    with pytest.raises(UsageError, match=r"below 1, got 1\.0"):
        starc_distance(random_dynamics(discount=1.0), np.zeros(5), np.zeros(5))
    with pytest.raises(UsageError, match=r"a policy here has shape \(5, 3\)"):
        starc_distance(random_dynamics(), np.zeros(5), np.zeros(5), policy=np.ones((5, 1)))


def test_samples_that_are_too_small_are_refused(random_dynamics):
    dynamics = random_dynamics()
    reward = TableReward(normal(0, 5))
    for n, m, groups in ((30, 100, 20), (100, 39, 20), (100, 100, 1)):
        with pytest.raises(UsageError, match=f"groups need .* got {n} transitions and {m}"):
            sampled_epic_distance(
                reward, reward, *sample(dynamics, 0, n, m), discount=0.9, groups=groups
            )
    broken = TableReward(np.array([0.0, np.nan, 0.0, 0.0, 0.0]))
    with pytest.raises(UsageError, match=r"observation 1, action .* is nan"):
        sampled_epic_distance(reward, broken, *sample(dynamics, 0, 100, 40), discount=0.9)
