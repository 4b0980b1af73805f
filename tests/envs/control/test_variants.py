"""Variants of control environments: without ends, with other dynamics, and those of our own."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from irlbench.checking.environments import check_environments
from irlbench.envs.control import ENVIRONMENTS
from irlbench.envs.control.cartpole_fixed import CartPoleFixedEnv, CartPoleFixedVectorEnv
from irlbench.envs.control.environments import make_batch, make_one
from irlbench.envs.control.native import SystemEnv
from irlbench.envs.control.point_maze import (
    BARRIER,
    BOTTOM,
    GOAL,
    LEFT,
    OPENING,
    RIGHT,
    TOP,
    PointMazeEnv,
    PointMazeSystem,
    PointMazeVectorEnv,
)
from irlbench.registry import registry
from irlbench.task import TaskOptions

IDS = [each["id"] for each in ENVIRONMENTS]
OURS = ["irlbench/CartPoleFixed-v0", "irlbench/PointMaze-v0", "irlbench/PointMazeTransfer-v0"]
FIXED = {
    "irlbench/HopperFixed-v0": "Hopper-v5",
    "irlbench/Walker2dFixed-v0": "Walker2d-v5",
    "irlbench/AntFixed-v0": "Ant-v5",
    "irlbench/HumanoidFixed-v0": "Humanoid-v5",
}


@pytest.mark.parametrize("name", IDS)
def test_the_checkers_are_content(name):
    # Warnings about an environment of Gymnasium's own are theirs; ours are given none.
    with warnings.catch_warnings():
        warnings.simplefilter("error" if name in OURS else "ignore")
        env = gymnasium.make(name, disable_env_checker=True).unwrapped
        env.spec = gymnasium.spec(name)
        check_env(env, skip_render_check=name not in OURS)
        check_env_sb3(gymnasium.make(name, disable_env_checker=True))


@pytest.mark.parametrize("task", ["cartpole-fixed", "point-maze", "point-maze-transfer"])
def test_a_row_of_a_batch_is_a_single_environment(task):
    checks = check_environments(registry().task(f"control/{task}"), TaskOptions())
    assert [check.verdict for check in checks] == ["held"] * 3, checks


def test_variants_of_gymnasiums_environments_are_judged_as_gymnasiums():
    checks = check_environments(registry().task("control/ant-transfer"), TaskOptions())
    assert [check.verdict for check in checks] == ["held", "held", "not applicable"], checks


# --- MuJoCo without ends


@pytest.mark.parametrize(("name", "base"), FIXED.items())
def test_a_robot_that_falls_goes_on_and_is_paid_no_bonus(name, base):
    fixed, ends = make_one(name), make_one(base)
    fixed.reset(seed=0)
    ends.reset(seed=0)
    assert fixed.observation_space == ends.observation_space
    assert fixed.action_space == ends.action_space
    fixed.action_space.seed(0)
    fallen = None
    for step in range(1000):
        action = fixed.action_space.sample()
        observation, reward, terminated, truncated, info = fixed.step(action)
        assert not terminated and truncated == (step == 999)
        robot: Any = fixed.unwrapped
        healthy = robot.is_healthy
        assert (info["reward_survive"] > 0) == healthy
        terms = [value for key, value in info.items() if key.startswith("reward_")]
        assert reward == pytest.approx(sum(terms))
        if fallen is None:
            theirs = ends.step(action)
            np.testing.assert_array_equal(observation, theirs[0])
            assert (reward, not healthy) == (theirs[1], theirs[2]), "until it falls they are one"
            fallen = None if healthy else step
    assert fallen is not None and fallen < 999, "it was to fall"


# --- CartPole without ends


def test_it_moves_as_gymnasiums_until_the_pole_has_fallen():
    ours: Any = CartPoleFixedEnv()
    theirs: Any = gymnasium.make("CartPole-v1").unwrapped
    ours.reset(seed=3)
    theirs.reset(seed=3)
    theirs.state = ours._state[:, 0].copy()
    draws = np.random.default_rng(0)
    for _ in range(200):
        action = int(draws.integers(2))
        mine, reward, terminated, truncated, _ = ours.step(action)
        observation, _, fallen, _, _ = theirs.step(action)
        np.testing.assert_allclose(mine, observation, rtol=1e-6)
        assert reward == (0.0 if fallen else 1.0)
        assert not terminated and not truncated
        if fallen:
            break
    assert fallen


def test_a_pole_that_has_fallen_swings_and_can_be_caught_again():
    env = CartPoleFixedEnv()
    env.reset(seed=0)
    paid, angles = [], []
    for _ in range(500):
        observation, reward, *_ = env.step(1)
        assert env.observation_space.contains(observation)
        paid.append(reward)
        angles.append(float(observation[2]))
    assert paid[0] == 1 and paid[-1] == 0, "a cart that runs away is not paid"
    assert min(angles) < -3 and max(angles) > 3, "the pole goes round"
    system = env.system
    tilted = np.array([[0.0, 0.0], [0.0, 0.0], [0.3, 0.1], [-6.0, 0.0]])
    after, rewards = system.advance(tilted, np.array([0, 0]))
    assert rewards.tolist() == [1, 1] and abs(after[2, 0]) < 0.21, "it came back"


def test_the_reward_tells_policies_apart_although_all_episodes_are_as_long():
    task = registry().task("control/cartpole-fixed")
    random, expert = (task.info.references[name] for name in ("random", "expert"))
    assert random["length"] == expert["length"] == 500
    assert expert["return"] == 500 > 5 * random["return"]


# --- the point-maze


def walk(opening, places, seed=0, steps=100):
    """Goes from place to place with full force; the path and the rewards."""
    env = PointMazeEnv(opening)
    observation, _ = env.reset(seed=seed)
    env._state[:, 0] = [*places[0], 0.0, 0.0]
    path, paid, targets = [], [], list(places[1:])
    observation = np.array([*places[0], 0, 0])
    for _ in range(steps):
        ahead = np.array(targets[0]) - observation[:2]
        if len(targets) > 1 and np.abs(ahead).max() < 0.03:
            targets.pop(0)
        action = np.clip(10 * ahead - 3 * observation[2:], -1, 1).astype(np.float32)
        observation, reward, *_ = env.step(action)
        path.append(observation)
        paid.append(reward)
    return np.array(path), np.array(paid)


def test_the_way_leads_through_the_opening_and_nowhere_else():
    middle = {"right": RIGHT - OPENING / 2, "left": LEFT + OPENING / 2}
    for opening in ("right", "left"):
        around = [(0.3, 0.0), (middle[opening], 0.2), (middle[opening], 0.4), tuple(GOAL)]
        path, paid = walk(opening, around)
        assert np.abs(path[-1, :2] - GOAL).max() < 0.01
        assert paid[-1] > -0.01
        other = middle["left" if opening == "right" else "right"]
        for x in (0.3, other):
            path, _ = walk(opening, [(x, 0.0), (x, 0.5)])
            assert path[:, 1].max() < BARRIER and path[-1, 1] > BARRIER - 0.01
            path, _ = walk(opening, [(x, 0.5), (x, 0.0)])
            assert path[:, 1].min() > BARRIER and path[-1, 1] < BARRIER + 0.01


@pytest.mark.parametrize("corner", [(-9, -9), (9, -9), (-9, 9), (9, 9)])
def test_walls_hold(corner):
    path, paid = walk("right", [(0.3, 0.0 if corner[1] < 0 else 0.4), corner])
    wanted = [LEFT if corner[0] < 0 else RIGHT, BOTTOM if corner[1] < 0 else TOP]
    np.testing.assert_allclose(path[-1], [*wanted, 0, 0], atol=1e-6)
    assert paid[-1] == pytest.approx(-np.hypot(*(np.array(wanted) - GOAL)))


def test_the_variants_are_mirror_images_with_the_same_reward():
    draws = np.random.default_rng(0)
    right, left = PointMazeSystem("right"), PointMazeSystem("left")
    mirrored = np.array([[-1.0], [1.0], [-1.0], [1.0]])
    shift = np.array([[LEFT + RIGHT], [0.0], [0.0], [0.0]])
    states = right.start(draws.random((2, 50)))
    other = shift + mirrored * states
    stopped = 0
    for _ in range(300):
        actions = draws.uniform([-0.9, -0.6], [1.1, 1.4], (50, 2))
        states, paid = right.advance(states, actions)
        other, paid_there = left.advance(other, actions * [-1, 1])
        np.testing.assert_allclose(other, shift + mirrored * states, atol=1e-9)
        np.testing.assert_allclose(paid, paid_there, atol=1e-9)
        stopped += int(((BARRIER - states[1] < 0.002) & (states[3] == 0)).sum())
    assert stopped > 50 and (states[1] > BARRIER).any(), "some met the barrier, some the opening"


def test_the_transfer_tasks_expert_is_far_better_there_than_the_copied_one(tmp_path):
    from irlbench.running.experts import measure, shipped_expert

    home = registry().task("control/point-maze")
    away = registry().task(home.info.transfer or "")
    expert = away.info.references["expert"]["return"]
    assert expert == pytest.approx(home.info.references["expert"]["return"], abs=1.0)
    copied = measure(away, shipped_expert(home, tmp_path), tmp_path)["return"]
    assert copied < 3 * expert


# --- the machinery of our own systems


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="opening must be 'right' or 'left', got 'up'"):
        PointMazeEnv("up")  # type: ignore[arg-type]
    env = PointMazeEnv()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2))
    env.reset(seed=0)
    for action in (np.zeros(3), np.array([np.nan, 0]), np.array(["a", "b"])):
        with pytest.raises(ValueError, match="actions are"):
            env.step(action)
    cart = CartPoleFixedEnv()
    cart.reset(seed=0)
    for number in (2, -1, 0.5):
        with pytest.raises(ValueError, match="actions are"):
            cart.step(number)
    for rows, steps in ((0, 10), (1, 0)):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            CartPoleFixedVectorEnv(rows, steps)
    batch = PointMazeVectorEnv(2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        batch.step(np.zeros((2, 2)))
    with pytest.raises(gymnasium.error.ResetNeeded):
        batch.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match="2 rows need 2 seeds, got 1"):
        batch.reset(seed=[1])
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        batch.reset(seed=-1)
    batch.reset(seed=0)
    with pytest.raises(ValueError, match="reset_mask needs 2 booleans"):
        batch.reset(options={"reset_mask": np.array([1, 0])})


def test_rows_are_reset_alone_and_an_autoreset_is_no_transition():
    batch: Any = make_batch("irlbench/PointMaze-v0", 3)
    assert batch.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, _ = batch.reset(seed=5)
    actions = np.ones((3, 2), dtype=np.float32)
    for _ in range(40):
        before, *_ = batch.step(actions)
    mask = np.array([True, False, False])
    after, _ = batch.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert (after[0, 2:] == 0).all() and (after[0, :2] != first[0, :2]).all(), "a new episode"
    for step in range(41, 101):
        *_, rewards, terminated, truncated, _ = batch.step(actions)
        assert not terminated.any()
        assert truncated.tolist() == [False, step == 100, step == 100]
    begun, rewards, _, truncated, _ = batch.step(actions)
    assert (begun[1:, 2:] == 0).all() and (rewards[1:] == 0).all() and not truncated.any()
    assert begun[0, 0] == np.float32(RIGHT) and rewards[0] < 0, "the row that was reset goes on"
    same, _ = batch.reset(seed=[5, None, 7])
    np.testing.assert_array_equal(same[[0, 2]], first[[0, 2]])
    batch.close()


def test_an_episode_without_a_seed_is_the_next_one_of_the_last_seed():
    env = PointMazeEnv()
    starts = [env.reset(seed=4)[0], env.reset()[0], env.reset()[0], env.reset(seed=4)[0]]
    np.testing.assert_array_equal(starts[0], starts[3])
    assert len({tuple(start) for start in starts}) == 3
    again = PointMazeEnv()
    again.reset(seed=4)
    np.testing.assert_array_equal(again.reset()[0], starts[1])


@pytest.mark.parametrize("kind", [CartPoleFixedEnv, PointMazeEnv])
def test_pictures_follow_the_state(kind):
    env: SystemEnv = kind(render_mode="rgb_array")
    assert env.render() is None
    env.reset(seed=0)
    frames = [env.render()]
    for _ in range(10):
        env.step(env.action_space.sample())
    frames.append(env.render())
    assert all(frame.dtype == np.uint8 and frame.ndim == 3 for frame in frames)
    assert (frames[0] != frames[1]).any()
    quiet = kind()
    quiet.reset(seed=0)
    assert quiet.render() is None


# --- the ant


def test_two_legs_of_the_ant_are_shrunk_and_all_but_without_force():
    whole: Any = make_one("Ant-v5")
    cut: Any = make_one("irlbench/AntTransfer-v0")
    assert whole.observation_space == cut.observation_space
    assert whole.action_space == cut.action_space
    models = whole.unwrapped.model, cut.unwrapped.model
    sizes = [{m.geom(i).name: m.geom_size[i] for i in range(m.ngeom)} for m in models]
    halved = {"left_leg_geom", "left_ankle_geom", "right_leg_geom", "right_ankle_geom"}
    for name, size in sizes[0].items():
        share = np.array([1, 0.5, 1]) if name in halved else 1
        np.testing.assert_allclose(sizes[1][name], size * share, atol=1e-9)
    gears = [
        {m.joint(m.actuator_trnid[i, 0]).name: m.actuator_gear[i, 0] for i in range(m.nu)}
        for m in models
    ]
    assert set(gears[0].values()) == {150.0}
    weak = {"hip_1", "ankle_1", "hip_2", "ankle_2"}
    assert gears[1] == {name: 1.0 if name in weak else 150.0 for name in gears[0]}
    # The reward is the same function: forward velocity, bonus, costs of control and contact.
    cut.reset(seed=0)
    action = np.full(8, 0.5, dtype=np.float32)
    _, reward, _, _, info = cut.step(action)
    assert info["reward_ctrl"] == pytest.approx(-0.5 * 8 * 0.25)
    assert reward == pytest.approx(sum(v for k, v in info.items() if k.startswith("reward_")))
