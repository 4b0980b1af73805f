"""The lock opens by one sequence only, and every observation tells its state and nothing else."""

from __future__ import annotations

import itertools
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.envs.gridworld.emission import NOISE_STREAM, Emission, observations_of, rotate
from irlbench.envs.gridworld.evaluation import GridworldEvaluator
from irlbench.envs.gridworld.rollouts import roll_out
from irlbench.envs.gridworld.tabular_environment import TabularEnv
from irlbench.envs.gridworld.worlds.combination_lock import combination_lock
from irlbench.policies.table import TablePolicy
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import Policy
from irlbench.randomness import row_keys
from irlbench.tabular.planning import value_iteration

LENGTH, ACTIONS = 3, 4


def lock(**more):
    return combination_lock(**{"length": LENGTH, "actions": ACTIONS, **more})


def judge(model, episodes=3):
    horizon = (model.states - 1) // 3
    return GridworldEvaluator(
        model, model.dynamics(horizon, 1.0), None, {"test": np.arange(episodes)}
    )


def right(model):
    """The right action of each step in the two live states, by trying: `[length, 2]`."""
    steps = (model.states - 1) // 3
    found = np.empty((steps, 2), dtype=int)
    for step, live in itertools.product(range(steps), range(2)):
        state = 3 * step + live
        if step < steps - 1:
            leads_on = model.successors[state, :, 0] % 3 != 2
        else:
            leads_on = model.rewards[state] == 5.0
        (found[step, live],) = np.flatnonzero(leads_on)
    return found


def fixed(model, choose):
    """The policy that takes `choose(step, kind)`."""
    logits = np.full((model.states, model.actions), -1000.0)
    for state in range(model.states - 1):
        logits[state, choose(*divmod(state, 3))] = 0.0
    return TablePolicy(logits)


# --- the latent lock


def test_the_right_sequence_opens_it_and_no_other_does():
    model = lock(swap=0.0)
    keys = right(model)
    opened = []
    for sequence in itertools.product(range(ACTIONS), repeat=LENGTH):
        scores = judge(model).evaluate(fixed(model, lambda h, _: sequence[h]), "test").scores  # noqa: B023
        wanted = 0.0
        for start in range(2):
            # Without swaps one stays in the live state one began in.
            correct = [sequence[h] == keys[h, start] for h in range(LENGTH)]
            wanted += 0.5 * (5.0 if all(correct) else 0.1)
            opened += [sequence] if all(correct) else []
        assert scores["return"] == pytest.approx(wanted)
        assert scores["length"] == pytest.approx(LENGTH)
    assert len(opened) == 2, "one sequence for each of the two states to start in"


def test_who_swaps_must_watch_the_state():
    model = lock(swap=0.5)
    keys = right(model)
    watching = fixed(model, lambda h, kind: keys[h, min(kind, 1)])
    assert judge(model).evaluate(watching, "test").scores["return"] == pytest.approx(5.0)
    assert (keys[:, 0] != keys[:, 1]).any()
    blind = fixed(model, lambda h, _: keys[h, 0])
    differ = int((keys[:, 0] != keys[:, 1]).sum())
    opens = 0.5**differ  # at each such step it is in the other state half of the time
    assert judge(model).evaluate(blind, "test").scores["return"] == pytest.approx(
        5.0 * opens + 0.1 * (1 - opens)
    )


@pytest.mark.parametrize(("length", "actions"), [(1, 2), (3, 4), (12, 10)])
def test_chance_opens_it_once_in_actions_to_the_length(length, actions):
    model = combination_lock(length=length, actions=actions)
    scores = judge(model).evaluate(UniformPolicy(actions), "test").scores
    opens = actions**-length
    assert scores["return"] == pytest.approx(5.0 * opens + 0.1 * (1 - opens), rel=1e-12)
    # Without decoys what is left is the chance alone, however small.
    bare = combination_lock(length=length, actions=actions, decoy=0.0, treasure=1.0)
    scores = judge(bare).evaluate(UniformPolicy(actions), "test").scores
    assert scores["return"] == pytest.approx(opens, rel=1e-9)


def test_nothing_leads_back_from_a_dead_state():
    model = lock()
    dead = 3 * np.arange(LENGTH) + 2
    wanted = np.minimum(dead + 3, 3 * LENGTH)
    assert (model.successors[dead] == wanted[:, None, None]).all()
    assert not model.rewards[dead].any()
    assert np.flatnonzero(model.terminal).tolist() == [3 * LENGTH]
    assert model.starts.tolist() == [0, 1]


def test_a_greedy_agent_takes_the_decoy_and_loses():
    model = lock()
    greedy = value_iteration(model.dynamics(LENGTH, 0.0), model.rewards, 0.0).policy
    far_sighted = value_iteration(model.dynamics(LENGTH, 0.99), model.rewards, 0.0).policy
    earned = [
        judge(model).evaluate(TablePolicy(np.log(p + 1e-300)), "test").scores["return"]
        for p in (greedy, far_sighted)
    ]
    assert earned == pytest.approx([0.1, 5.0])


def test_another_combination_leaves_the_reward_as_it_is():
    ours, other = lock(), lock(dynamics_seed=3)
    assert np.array_equal(ours.rewards, other.rewards)
    assert not np.array_equal(ours.successors, other.successors)


# --- what is seen


def test_the_rotation_is_the_hadamard_matrix_and_its_own_inverse():
    from scipy.linalg import hadamard

    for dimension in (1, 2, 8, 32):
        vectors = np.random.default_rng(0).normal(size=(5, dimension))
        assert rotate(vectors) == pytest.approx(vectors @ hadamard(dimension) / sqrt(dimension))
        assert rotate(rotate(vectors)) == pytest.approx(vectors)


@pytest.mark.parametrize(("length", "dimension"), [(1, 8), (4, 8), (5, 16), (12, 16), (13, 32)])
def test_observations_are_as_long_as_the_code_asks(length, dimension):
    model = combination_lock(length=length)
    assert model.emission is not None and model.emission.dimension == dimension
    assert TabularEnv(model).observation_space.shape == (dimension,)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 14), noise=st.floats(0, 0.24), seed=st.integers(0, 2**31))
def test_every_observation_tells_its_state(length, noise, seed):
    model = combination_lock(length=length, noise=noise)
    emission = model.emission
    assert emission is not None
    seen = observations_of(emission, seed + np.arange(20))
    assert seen.shape == (20, model.states, emission.dimension) and seen.dtype == np.float32
    assert (np.abs(seen) <= np.float32(emission.bound)).all()
    codes = rotate(seen.reshape(-1, emission.dimension).astype(float))
    assert np.abs(codes - np.tile(emission.codes, (20, 1))).max() <= noise + 1e-6
    nearest = (codes @ emission.codes.T).argmax(axis=1)
    assert np.array_equal(nearest, np.tile(np.arange(model.states), 20))


def test_noise_has_the_deviation_of_the_paper_and_is_independent():
    emission = combination_lock().emission
    assert emission is not None
    seen = observations_of(emission, np.arange(3000))
    noise = rotate(seen.reshape(-1, 16).astype(float)).reshape(seen.shape) - emission.codes
    assert noise.std() == pytest.approx(0.1, abs=0.002)
    assert abs(noise.mean()) < 0.001
    correlation = np.corrcoef(noise[:, :3].reshape(3000, -1).T) - np.eye(48)
    assert np.abs(correlation).max() < 5 / sqrt(3000)


def test_noise_is_drawn_apart_from_moves_and_policies():
    seeds = np.arange(50)
    streams = [row_keys(seeds, stream) for stream in (0, 1, NOISE_STREAM)]
    assert len(np.unique(np.concatenate(streams))) == 150


def test_the_same_state_looks_different_each_time():
    env = TabularEnv(lock())
    first, _ = env.reset(seed=0)
    looks = [first] + [env.reset()[0] for _ in range(30)]
    assert len({look.tobytes() for look in looks}) == 31
    again, _ = env.reset(seed=0)
    assert np.array_equal(again, first)


def test_codes_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="power of two, got 3"):
        Emission(np.eye(3), 0.1)
    with pytest.raises(ValueError, match=r"tell every state, got 0\.5"):
        Emission(np.eye(4), 0.5)
    with pytest.raises(ValueError, match="tell every state"):
        Emission(np.array([[1.0, 0.0], [1.0, 0.0]]), 0.0)


# --- policies over states as networks over observations


def test_a_table_is_a_network_over_observations():
    model = lock()
    assert model.emission is not None
    logits = np.random.default_rng(0).normal(size=(model.states, ACTIONS)) * 3
    table = TablePolicy(logits)
    network = model.emission.network(table.log_probabilities)
    assert network.kind == "categorical-mlp", "it can be saved"
    seen = observations_of(model.emission, np.arange(40)).reshape(-1, model.emission.dimension)
    found = network.log_probabilities(seen).reshape(40, model.states, ACTIONS)
    assert found == pytest.approx(np.broadcast_to(table.log_probabilities, found.shape), abs=1e-5)


def test_scores_over_states_and_over_observations_agree():
    """A table, its network, and the network run as if nothing were known of it."""
    model = lock()
    assert model.emission is not None
    often = 2.0 * (np.arange(ACTIONS) == 0)
    often = np.tile(often, (model.states, 1))
    keys = right(model)
    often[3 * np.arange(LENGTH), keys[:, 0]] = 3.0
    often[3 * np.arange(LENGTH) + 1, keys[:, 1]] = 3.0
    table = TablePolicy(often)
    network = model.emission.network(table.log_probabilities)

    class Opaque(Policy):
        def act(self, observations, state=None, **more):
            return network.act(observations, state, **more)

    judged, few = judge(model, 4000), judge(model, 50)
    over_states = few.evaluate(table, "test").scores
    assert few.evaluate(network, "test").scores == pytest.approx(over_states, abs=1e-4)
    sampled = judged.evaluate(Opaque(), "test")
    returns = np.array(sampled.episodes["return"])
    error = returns.std(ddof=1) / sqrt(len(returns))
    assert 1.0 < over_states["return"] < 4.0
    assert abs(returns.mean() - over_states["return"]) < 4 * error
    assert sampled.scores["length"] == LENGTH


def test_a_policy_is_averaged_over_what_is_seen_of_a_state():
    """A policy that acts on the sign of one coordinate, which the noise changes in some states."""
    model = lock(actions=2)
    emission = model.emission
    assert emission is not None

    class Coordinate(UniformPolicy):
        def log_prob(self, observations, actions):
            certain = np.where(observations[:, 3] > 0, 0, 1) == actions
            return np.where(certain, 0.0, -np.inf)

        def act(self, observations, state=None, **more):
            return np.where(observations[:, 3] > 0, 0, 1), None

    judged = judge(model, 3000)
    exact = judged.evaluate(Coordinate(2), "test").scores["return"]
    returns = roll_out(model, Coordinate(2), np.arange(3000), LENGTH).rewards.sum(axis=1)
    error = returns.std(ddof=1) / sqrt(len(returns))
    signs = observations_of(emission, np.arange(100))[:, :, 3] > 0
    assert (signs.any(axis=0) & ~signs.all(axis=0)).any(), "a state that is seen both ways"
    assert error > 0.01 and abs(returns.mean() - exact) < 4 * error
