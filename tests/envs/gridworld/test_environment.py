"""The gridworld environments keep Gymnasium's contract, and rows of a batch are single ones."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from irlbench.envs.gridworld.environment import GridworldEnv, GridworldVectorEnv
from irlbench.envs.gridworld.maps import FOUR_ROOMS
from irlbench.envs.gridworld.model import gridworld_model

ID = "irlbench/FourRooms-v0"
SMALL = "...\n.#.\n..G"


def batch(num_envs, layout=FOUR_ROOMS, slip=0.1, limit=100, **kwargs):
    return GridworldVectorEnv(num_envs, layout, slip, limit, **kwargs)


def actions_for(steps, rows, seed=0):
    return np.random.default_rng(seed).integers(4, size=(steps, rows))


# --- Gymnasium's and Stable-Baselines3's contracts


@pytest.mark.parametrize("make", [gym.make, lambda id: gym.make(f"irlbench:{id}")])
def test_gym_make_finds_it_and_limits_its_time(make):
    env = make(ID)
    assert isinstance(env.unwrapped, GridworldEnv)
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(100)]
    assert ends == [(False, False)] * 99 + [(False, True)]


def test_gymnasium_check_env_is_silent():
    from gymnasium.utils.env_checker import check_env

    env = gym.make(ID, disable_env_checker=True).unwrapped
    env.spec = gym.spec(ID)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)


def test_stable_baselines_check_env_is_silent():
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(ID))
        check_env(gym.make(ID, render_mode="rgb_array"))


def test_make_vec_takes_the_native_batch():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.make_vec(ID, num_envs=3)
    assert isinstance(envs, GridworldVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, info = envs.reset(seed=5)
    assert observations in envs.observation_space
    assert info == {}
    for _ in range(100):
        observations, rewards, terminations, truncations, info = envs.step(np.zeros(3, int))
    assert observations in envs.observation_space
    assert rewards.dtype == np.float64
    assert terminations.dtype == truncations.dtype == np.bool_
    assert truncations.all() and not terminations.any()
    assert info == {}


# --- rows are single environments


@pytest.mark.parametrize(("layout", "slip"), [(FOUR_ROOMS, 0.1), (SMALL, 0.0), (SMALL, 1.0)])
@pytest.mark.parametrize("seed", [0, 2**30 + 17])
def test_row_i_is_the_single_environment_with_seed_plus_i(layout, slip, seed):
    rows, limit, steps = 7, 13, 60
    envs = batch(rows, layout, slip, limit)
    singles = [
        gym.wrappers.TimeLimit(GridworldEnv(layout, slip), max_episode_steps=limit)
        for _ in range(rows)
    ]
    observed, _ = envs.reset(seed=seed)
    expected = [single.reset(seed=seed + i)[0] for i, single in enumerate(singles)]
    assert observed.tolist() == expected
    ended = [False] * rows
    autoresets = 0
    for actions in actions_for(steps, rows):
        observed, rewards, terminations, truncations, _ = envs.step(actions)
        for i, single in enumerate(singles):
            if ended[i]:
                wanted: tuple = (single.reset()[0], 0.0, False, False)
                autoresets += 1
            else:
                wanted = single.step(actions[i])[:4]
            assert (observed[i], rewards[i], terminations[i], truncations[i]) == wanted
            ended[i] = wanted[2] or wanted[3]
    assert autoresets == 4 * rows


def test_rows_agree_with_gymnasiums_own_batching():
    from gymnasium.vector import SyncVectorEnv

    rows, limit = 5, 11
    ours = batch(rows, limit=limit)

    def single():
        return gym.wrappers.TimeLimit(GridworldEnv(FOUR_ROOMS, 0.1), max_episode_steps=limit)

    theirs = SyncVectorEnv([single] * rows)
    assert np.array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    for step, actions in enumerate(actions_for(70, rows)):
        for mine, other in zip(ours.step(actions)[:4], theirs.step(actions)[:4], strict=True):
            assert np.array_equal(mine, other)
        if step % 20 == 19:
            mask = np.arange(rows) % 2 == 0
            mine, _ = ours.reset(options={"reset_mask": mask})
            other, _ = theirs.reset(options={"reset_mask": mask})
            assert np.array_equal(mine, other)


def test_episodes_do_not_depend_on_how_they_are_grouped():
    together, apart = batch(6, limit=9), [batch(2, limit=9) for _ in range(3)]
    together.reset(seed=40)
    for i, part in enumerate(apart):
        part.reset(seed=40 + 2 * i)
    for actions in actions_for(40, 6):
        whole = together.step(actions)[:4]
        parts = [part.step(actions[2 * i : 2 * i + 2])[:4] for i, part in enumerate(apart)]
        for field in range(4):
            assert np.array_equal(whole[field], np.concatenate([part[field] for part in parts]))


def test_seeds_may_be_listed_and_none_goes_on():
    envs, other = batch(3), batch(3)
    first, _ = envs.reset(seed=[9, 4, 7])
    assert first.tolist() == [GridworldEnv(FOUR_ROOMS, 0.1).reset(seed=s)[0] for s in (9, 4, 7)]
    single = GridworldEnv(FOUR_ROOMS, 0.1)
    single.reset(seed=4)
    second, _ = envs.reset(seed=[9, None, 8])
    assert second.tolist() == [
        first[0],
        single.reset()[0],
        GridworldEnv(FOUR_ROOMS, 0.1).reset(seed=8)[0],
    ]
    assert not np.array_equal(other.reset(seed=[1, 2, 3])[0], other.reset()[0]), "a new episode"


def test_episodes_of_one_seed_differ_and_repeat():
    def starts():
        env = GridworldEnv(FOUR_ROOMS, 0.1)
        return [int(env.reset(seed=1)[0])] + [int(env.reset()[0]) for _ in range(40)]

    assert starts() == starts()
    assert len(set(starts())) > 20


def test_without_a_seed_two_environments_differ():
    starts = [tuple(batch(8).reset()[0].tolist()) for _ in range(4)]
    assert len(set(starts)) > 1
    assert len({int(GridworldEnv(FOUR_ROOMS, 0.1).reset()[0]) for _ in range(20)}) > 1


def test_long_episodes_go_past_one_block_of_random_numbers():
    env, envs = GridworldEnv(SMALL, 0.5), batch(1, SMALL, 0.5, None)
    env.reset(seed=3), envs.reset(seed=3)
    for action in actions_for(400, 1):
        assert env.step(action[0])[0] == envs.step(action)[0][0]


# --- what it does


def test_the_reward_is_of_the_cell_that_is_left():
    envs = batch(64, SMALL, 0.3, 20)
    model = gridworld_model(SMALL, 0.3)
    before, _ = envs.reset(seed=0)
    paid = 0.0
    for actions in actions_for(20, 64):
        after, rewards, *_ = envs.step(actions)
        assert np.array_equal(rewards, model.rewards[before])
        before, paid = after, paid + rewards.sum()
    assert paid > 0


def test_the_step_after_the_end_only_begins_an_episode():
    envs = batch(32, "GG\nGG", 0.1, 3)
    envs.reset(seed=0)
    rewards = [envs.step(actions)[1] for actions in actions_for(8, 32)]
    assert [r.tolist() for r in rewards] == [[float(t % 4 != 3)] * 32 for t in range(8)]


def test_rows_reset_apart_end_apart():
    envs = batch(2, limit=5)
    envs.reset(seed=0)
    for _ in range(2):
        envs.step(np.zeros(2, int))
    envs.reset(options={"reset_mask": np.array([False, True])})
    truncations = [envs.step(np.zeros(2, int))[3].tolist() for _ in range(6)]
    assert truncations == [[t == 2, t == 4] for t in range(6)]


def test_a_masked_reset_cancels_a_pending_autoreset():
    envs = batch(2, limit=2)
    envs.reset(seed=0)
    for _ in range(2):
        envs.step(np.zeros(2, int))
    begun, _ = envs.reset(options={"reset_mask": np.array([True, False])})
    truncations = envs.step(np.zeros(2, int))[3]
    assert not truncations.any()
    single = GridworldEnv(FOUR_ROOMS, 0.1)
    single.reset(seed=0)
    assert begun[0] == single.reset()[0]
    assert envs.step(np.zeros(2, int))[3].tolist() == [True, False]


def test_frequencies_of_moves_and_starts_are_those_of_the_model():
    rows, limit = 4096, 50
    envs, model = batch(rows, limit=limit), gridworld_model(FOUR_ROOMS, 0.1)
    states, _ = envs.reset(seed=0)
    starts = np.bincount(states, minlength=104).astype(float)
    turned = np.zeros(4)
    centre = int(np.flatnonzero((model.cells == [9, 3]).all(axis=1))[0])  # all four moves differ
    for step, actions in enumerate(actions_for(204, rows)):
        following, *_ = envs.step(actions)
        if step % (limit + 1) == limit:
            starts += np.bincount(following, minlength=104)
        else:
            at = np.flatnonzero(states == centre)
            led = model.successors[centre, actions[at]] == following[at, None]
            assert (led.sum(axis=1) == 1).all()
            turned += led.sum(axis=0)
        states = following
    assert turned.sum() > 5000
    error = np.sqrt(model.turns * (1 - model.turns) / turned.sum())
    assert (np.abs(turned / turned.sum() - model.turns) < 4 * error).all()
    expected = starts.sum() / 104
    chi_squared = ((starts - expected) ** 2 / expected).sum()
    assert chi_squared < 103 + 4 * np.sqrt(2 * 103)


def test_successive_slips_are_independent():
    envs = batch(20_000, "...\n...\n...", 1.0, None)
    envs.reset(seed=0)
    slips = []
    for _ in range(2):
        envs._states[:] = 4
        observed, *_ = envs.step(np.zeros(20_000, int))
        slips.append(np.searchsorted([1, 3, 5, 7], observed))
    counts = np.zeros((4, 4))
    np.add.at(counts, tuple(slips), 1)
    expected = 20_000 / 16
    assert ((counts - expected) ** 2 / expected).sum() < 15 + 4 * np.sqrt(30)


def test_what_is_returned_belongs_to_the_caller():
    envs, untouched = batch(4, limit=3), batch(4, limit=3)
    envs.reset(seed=0)[0][:] = 0
    untouched.reset(seed=0)
    for actions in actions_for(10, 4):
        found = envs.step(actions)[:4]
        wanted = untouched.step(actions)[:4]
        for mine, other in zip(found, wanted, strict=True):
            assert np.array_equal(mine, other)
            mine[:] = 1


# --- drawing


def test_text_shows_the_agent_on_the_map():
    env = gym.make(ID, render_mode="ansi")
    state, _ = env.reset(seed=0)
    row, column = gridworld_model(FOUR_ROOMS, 0.1).cells[state]
    frame = env.render()
    assert isinstance(frame, str)
    lines = frame.splitlines()
    assert lines[row][column] == "A"
    restored = frame.replace("A", FOUR_ROOMS.splitlines()[row][column]).strip()
    assert restored == FOUR_ROOMS


def test_images_show_walls_goal_and_agent_apart():
    envs = batch(2, "#G\n..", 0.0, None, render_mode="rgb_array")
    assert envs.render() is None, "nothing to draw before the first reset"
    envs.reset(seed=0)
    envs._states[:] = [1, 2]
    first, second = envs.render()
    assert first.shape == second.shape == (32, 32, 3) and first.dtype == np.uint8
    colours = {tuple(first[y, x]) for y, x in [(1, 1), (1, 17), (17, 17), (24, 8)]}
    assert len(colours) == 4
    assert np.array_equal(first[24, 8], second[24, 24])
    assert batch(2).render() is None


# --- bad input


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 4, 0], "got 4 in row 1"),
        ([0, 0, -1], "got -1 in row 2"),
        ([0, 0], r"3 integer actions, got int64 \(2,\)"),
        ([0.0, 0.0, 0.0], "float64"),
    ],
)
def test_unusable_actions_are_refused(actions, message):
    envs = batch(3)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(np.array(actions))


def test_a_single_environment_refuses_unknown_actions():
    env = GridworldEnv(FOUR_ROOMS, 0.1)
    env.reset(seed=0)
    for action in (4, -1):
        with pytest.raises(ValueError, match=str(action)):
            env.step(np.int64(action))


@pytest.mark.parametrize(
    ("seed", "options", "message"),
    [
        ([1, 2], None, "3 seeds, got 2"),
        (-1, None, "-1"),
        ([1, -4, None], None, "-4"),
        (0, {"reset_mask": np.array([True, False])}, "3 booleans"),
        (0, {"reset_mask": np.array([1, 0, 1])}, "int64"),
    ],
)
def test_unusable_resets_are_refused(seed, options, message):
    with pytest.raises(ValueError, match=message):
        batch(3).reset(seed=seed, options=options)


def test_stepping_needs_a_reset_of_every_row():
    with pytest.raises(gym.error.ResetNeeded):
        batch(2).step(np.zeros(2, int))
    with pytest.raises(gym.error.ResetNeeded):
        GridworldEnv(FOUR_ROOMS, 0.1).step(np.int64(0))
    with pytest.raises(gym.error.ResetNeeded, match="every row"):
        batch(2).reset(options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize(("rows", "limit"), [(0, 10), (2, 0)])
def test_unusable_sizes_are_refused(rows, limit):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        batch(rows, limit=limit)
