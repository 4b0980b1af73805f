"""Every world keeps Gymnasium's contract, and rows of a batch are single environments."""

from __future__ import annotations

import hashlib
import inspect
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.envs.gridworld import ENVIRONMENTS
from irlbench.envs.gridworld.model import gridworld_model
from irlbench.envs.gridworld.tabular_environment import TabularEnv, TabularVectorEnv
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.envs.gridworld.worlds import WORLDS, build_world
from irlbench.errors import UnknownNameError, UsageError
from irlbench.serialisation import load_named_class

IDS = [declared["id"] for declared in ENVIRONMENTS]
KWARGS = {declared["id"]: declared["kwargs"] for declared in ENVIRONMENTS}

# Small worlds of every kind, for drawn seeds and sizes.
SMALL = st.one_of(
    st.builds(
        dict,
        world=st.just("map"),
        layout=st.sampled_from(["S^.\n.#v\nC>G", "SS\n<C\n..", "..G\n..."]),
        slip=st.sampled_from([0.0, 0.3, 1.0]),
        wind=st.sampled_from([0.0, 0.4, 1.0]),
    ),
    st.builds(
        dict,
        world=st.just("garnet"),
        states=st.integers(3, 9),
        actions=st.integers(1, 4),
        branching=st.integers(1, 3),
        paying=st.just(0.7),
        reward=st.sampled_from(["state", "state-action", "transition"]),
        seed=st.integers(0, 99),
        dynamics_seed=st.integers(0, 99),
    ),
    st.builds(
        dict,
        world=st.just("object-world"),
        size=st.integers(1, 5),
        objects=st.integers(0, 1),
        wind=st.sampled_from([0.0, 0.5]),
        seed=st.integers(0, 99),
    ),
    st.builds(
        dict,
        world=st.just("combination-lock"),
        length=st.integers(1, 6),
        actions=st.integers(2, 3),
        seed=st.integers(0, 99),
        dynamics_seed=st.integers(0, 99),
    ),
    st.builds(dict, world=st.just("early-termination"), end=st.sampled_from([0, 1])),
    st.builds(dict, world=st.just("risky-path"), risk=st.sampled_from([0.0, 0.5])),
)


def same(mine, other):
    return np.array_equal(np.asarray(mine), np.asarray(other))


# --- Gymnasium's and Stable-Baselines3's contracts


@pytest.mark.parametrize("id", IDS)
def test_check_env_of_both_is_silent(id):
    from gymnasium.utils.env_checker import check_env
    from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

    env = gym.make(id, disable_env_checker=True).unwrapped
    env.spec = gym.spec(id)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)
        check_env_of_sb3(gym.make(id))
        check_env_of_sb3(gym.make(id, render_mode="rgb_array"))


@pytest.mark.parametrize("id", IDS)
def test_make_vec_takes_the_native_batch(id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.make_vec(id, num_envs=3)
    assert isinstance(envs, TabularVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert envs.reset(seed=5)[0] in envs.observation_space
    limit = gym.spec(id).max_episode_steps
    assert limit is not None
    ends = np.zeros(3, dtype=int)
    for _ in range(limit + 1):
        observed, rewards, terminations, truncations, info = envs.step(envs.action_space.sample())
        assert observed in envs.observation_space
        assert rewards.dtype == np.float64 and info == {}
        assert terminations.dtype == truncations.dtype == np.bool_
        ends += terminations | truncations
    assert (ends >= 1).all()


@pytest.mark.parametrize("id", IDS)
def test_rows_agree_with_gymnasiums_own_batching(id):
    ours, theirs = gym.make_vec(id, 4), gym.make_vec(id, 4, vectorization_mode="sync")
    assert same(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    ours.action_space.seed(0)
    ends = 0
    for step in range(230):
        actions = ours.action_space.sample()
        for mine, other in zip(ours.step(actions)[:4], theirs.step(actions)[:4], strict=True):
            assert same(mine, other)
            ends += int(mine.dtype == bool and mine.sum())
        if step % 160 == 159:
            mask = np.arange(4) % 2 == 0
            mine, _ = ours.reset(options={"reset_mask": mask})
            other, _ = theirs.reset(options={"reset_mask": mask})
            assert same(mine, other)
    assert ends >= 6


@settings(max_examples=60, deadline=None)
@given(
    parameters=SMALL, seed=st.integers(0, 2**31), rows=st.integers(1, 5), limit=st.integers(1, 9)
)
def test_row_i_is_the_single_environment_with_seed_plus_i(parameters, seed, rows, limit):
    model = build_world(**parameters)
    envs = TabularVectorEnv(rows, model, limit)
    singles = [
        gym.wrappers.TimeLimit(TabularEnv(model), max_episode_steps=limit) for _ in range(rows)
    ]
    observed, _ = envs.reset(seed=seed)
    assert same(observed, [single.reset(seed=seed + i)[0] for i, single in enumerate(singles)])
    ended = [False] * rows
    draws = np.random.default_rng(seed)
    for _ in range(25):
        actions = draws.integers(model.actions, size=rows)
        observed, rewards, terminations, truncations, _ = envs.step(actions)
        for i, single in enumerate(singles):
            if ended[i]:
                wanted: tuple = (single.reset()[0], 0.0, False, False)
            else:
                wanted = single.step(actions[i])[:4]
            assert same(observed[i], wanted[0])
            assert (rewards[i], terminations[i], truncations[i]) == wanted[1:]
            ended[i] = wanted[2] or wanted[3]


@settings(max_examples=60, deadline=None)
@given(parameters=SMALL, seed=st.integers(0, 2**31))
def test_steps_do_what_the_model_says(parameters, seed):
    model = build_world(**parameters)
    envs = TabularVectorEnv(200, model, 9)
    envs.reset(seed=seed)
    assert np.isin(envs._states, model.starts).all()
    for actions in np.random.default_rng(seed).integers(model.actions, size=(9, 200)):
        before, pending = envs._states, envs._pending
        _, rewards, terminations, _, _ = envs.step(actions)
        after = envs._states
        possible = model.probabilities[before, actions] > 0
        led = (model.successors[before, actions] == after[:, None]) & possible
        moved = np.setdiff1d(np.arange(200), pending)
        assert led[moved].any(axis=1).all()
        by_place = model.rewards.reshape(*model.rewards.shape, *[1] * (3 - model.rewards.ndim))
        paid = np.broadcast_to(by_place, model.successors.shape)[before, actions]
        assert (rewards[moved] == paid[moved, led.argmax(axis=1)[moved]]).all()
        assert not rewards[pending].any() and np.isin(after[pending], model.starts).all()
        assert same(terminations, model.terminal[after])


def test_frequencies_are_those_of_a_model_whose_rows_all_differ():
    model = build_world("garnet", states=6, actions=3, branching=4)
    envs = TabularVectorEnv(60_000, model)
    envs.reset(seed=1)
    envs._states[:] = 2
    envs.step(np.full(60_000, 1))
    found = np.bincount(envs._states, minlength=6) / 60_000
    exact = np.zeros(6)
    exact[model.successors[2, 1]] = model.probabilities[2, 1]
    assert (np.abs(found - exact) <= 4 * np.sqrt(exact * (1 - exact) / 60_000)).all()
    assert (exact[found > 0] > 0).all()


def test_rounding_never_leads_to_an_impossible_successor():
    """Three times 1/3 falls short of 1: a number beyond the sum is the last possible successor."""
    probabilities = np.zeros((4, 1, 4))
    probabilities[:, :, :3] = 1 / 3 - 1e-8
    model = TabularModel(
        layout=("....",),
        cells=np.array([[0, c] for c in range(4)]),
        successors=np.broadcast_to(np.arange(4, dtype=np.int32), (4, 1, 4)).copy(),
        probabilities=probabilities,
        starts=np.array([0]),
        terminal=np.array([False] * 4),
        rewards=np.zeros(4),
    )
    envs = TabularVectorEnv(1, model)
    assert envs._thresholds[2] > 1
    single = TabularEnv(model)
    assert single._thresholds[0][2] > 1


def test_one_of_two_live_rows_may_end_before_the_other():
    envs = TabularVectorEnv(2, build_world("early-termination"), 10)
    envs.reset(seed=0)
    assert not envs.step(np.array([0, 0]))[2].any()
    assert envs.step(np.array([1, 0]))[2].tolist() == [True, False]
    observed, rewards, terminations, *_ = envs.step(np.array([1, 1]))
    assert observed.tolist() == [0, 1] and rewards.tolist() == [0.0, -1.0]
    assert not terminations.any()


# --- what ids fix


@pytest.mark.parametrize("id", IDS)
def test_an_id_names_every_parameter_of_its_world(id):
    kwargs = dict(KWARGS[id])
    if "layout" in kwargs:
        assert isinstance(gym.make(id).unwrapped, TabularEnv)
        return
    function = load_named_class(WORLDS[kwargs.pop("world")])
    assert set(kwargs) == set(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("id", "digest"),
    [
        ("irlbench/ObjectWorld-v0", "f495c758897a7155"),
        ("irlbench/Garnet-v0", "2818ff836b23236c"),
        ("irlbench/GarnetTransfer-v0", "44b8266e452e2b3f"),
        ("irlbench/CombinationLock-v0", "6246d9defb1b56d1"),
        ("irlbench/CombinationLockTransfer-v0", "312d3759983f41f8"),
    ],
)
def test_what_is_random_about_a_world_is_the_same_for_ever(id, digest):
    model = build_world(**KWARGS[id])
    found = hashlib.sha256()
    for array in (model.successors, model.probabilities, model.rewards):
        found.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    assert found.hexdigest()[:16] == digest


def test_sizes_are_arguments_of_make():
    assert gym.make("irlbench/Garnet-v0", states=7).observation_space == gym.spaces.Discrete(7)
    envs = gym.make_vec("irlbench/ObjectWorld-v0", num_envs=2, size=4, objects=3)
    assert envs.single_observation_space == gym.spaces.Discrete(16)
    lock = gym.make("irlbench/CombinationLock-v0", length=20, actions=4)
    assert lock.observation_space.shape == (32,)


def test_equal_parameters_give_the_same_model_which_cannot_be_written():
    model = build_world("garnet", states=5)
    assert build_world("garnet", states=5) is model
    for array in (model.successors, model.probabilities, model.rewards, model.starts):
        with pytest.raises(ValueError, match="read-only"):
            array.flat[0] = 0


# --- drawing


@pytest.mark.parametrize("id", IDS)
def test_text_shows_the_agent_and_where_it_is(id):
    env = gym.make(id, render_mode="ansi").unwrapped
    assert isinstance(env, TabularEnv)
    env.reset(seed=0)
    model, state = env.model, env._state
    frame = env.render()
    assert isinstance(frame, str)
    lines = frame.splitlines()
    row, column = model.cells[state]
    assert lines[row][column] == "A" and frame.count("A") == 1
    lines[row] = lines[row][:column] + model.layout[row][column] + lines[row][column + 1 :]
    assert tuple(lines) == model.layout
    assert len({tuple(cell) for cell in model.cells}) == model.states


@pytest.mark.parametrize("id", IDS)
def test_images_are_as_large_as_the_picture(id):
    envs = gym.make_vec(id, 2, render_mode="rgb_array")
    assert isinstance(envs, TabularVectorEnv)
    envs.reset(seed=0)
    model, frames = envs.model, envs.render()
    for frame in frames:
        assert frame.shape == (16 * len(model.layout), 16 * len(model.layout[0]), 3)
        assert frame.dtype == np.uint8 and len(np.unique(frame.reshape(-1, 3), axis=0)) > 1


# --- bad input


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"world": "garnet", "branching": 0}, "branching must be 1 to 100"),
        ({"world": "garnet", "states": 3, "branching": 4}, r"1 to 3 \(states\), got 4"),
        ({"world": "garnet", "actions": 0}, "actions must be at least 1, got 0"),
        ({"world": "garnet", "paying": 1.5}, "1.5"),
        ({"world": "garnet", "reward": "pixels"}, "state, state-action, transition, got 'pixels'"),
        ({"world": "object-world", "size": 3, "objects": 10}, "10 objects do not fit in 3 x 3"),
        ({"world": "object-world", "colours": 1}, "at least 2, got 1"),
        ({"world": "object-world", "slip": 1.5}, "slip must be a probability, got 1.5"),
        ({"world": "object-world", "wind": -1}, "wind must be a probability, got -1"),
        ({"world": "risky-path", "risk": 2}, "risk must be a probability, got 2"),
        ({"world": "risky-path", "detour_risk": -0.5}, "detour_risk"),
        ({"world": "early-termination", "end": 2}, "action 0 or 1, got 2"),
        ({"world": "combination-lock", "length": 0}, "got 0 and 10"),
        ({"world": "combination-lock", "actions": 1}, "got 12 and 1"),
        ({"world": "combination-lock", "swap": 1.1}, "1.1"),
        (
            {"world": "combination-lock", "noise": 0.25},
            "small enough to tell every state, got 0.25",
        ),
        ({"world": "combination-lock", "noise": float("nan")}, "nan"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        build_world(**parameters)


def test_unknown_worlds_and_parameters_are_named():
    with pytest.raises(UnknownNameError, match="did you mean 'garnet'"):
        build_world("garnett")
    with pytest.raises(TypeError, match="colour"):
        build_world("garnet", colour=3)


def of(model, **changed):
    """A model with some of its parts replaced."""
    parts = {name: getattr(model, name) for name in TabularModel.__dataclass_fields__}
    return TabularModel(**{**parts, **changed})


def test_models_that_are_no_finite_world_are_refused():
    model = gridworld_model("..\n..")
    wrong = np.array(model.probabilities)
    wrong[2, 1, 0] = 0.5
    with pytest.raises(UsageError, match=r"state 2.*action 1.*0\.5"):
        of(model, probabilities=wrong)
    with pytest.raises(UsageError, match=r"\(5,\)"):
        of(model, rewards=np.zeros(5))
    with pytest.raises(UsageError, match="state 3 is nan"):
        of(model, rewards=np.array([0.0, 0.0, 0.0, np.nan]))
    with pytest.raises(ValueError, match="none of them terminal"):
        of(model, terminal=np.array([True, False, False, False]))
    with pytest.raises(ValueError, match="states to start in"):
        of(model, starts=np.array([], dtype=int))
    by_transition = np.zeros(model.successors.shape)
    by_transition[0, 0, 3] = 7.0  # up and left both stay in the corner
    with pytest.raises(ValueError, match=r"state 0, action 0 leads to state 0 .* 0\.0 and 7\.0"):
        of(model, rewards=by_transition)
