"""The batched environments: Gymnasium's own, with resets of single rows, and quiet."""

from __future__ import annotations

import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from irlbench.envs.control.environments import CartPoleBatch, make_batch, make_one

ROWS = 4


def test_without_a_mask_it_is_gymnasiums_batch():
    ours, theirs = CartPoleBatch(num_envs=ROWS), CartPoleVectorEnv(num_envs=ROWS)
    np.testing.assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    rng = np.random.default_rng(0)
    for _ in range(100):
        actions = rng.integers(2, size=ROWS)
        for one, other in zip(ours.step(actions)[:4], theirs.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("environment", ["CartPole-v1", "Hopper-v5"])
def test_a_mask_resets_its_rows_only(environment):
    env = make_batch(environment, ROWS)
    env.reset(seed=0)
    rng = np.random.default_rng(0)

    def actions():
        if environment == "CartPole-v1":
            return rng.integers(2, size=ROWS)
        return rng.uniform(-1, 1, size=(ROWS, 3)).astype(np.float32)

    for _ in range(4):
        before, *_ = env.step(actions())
    mask = np.array([True, False, True, False])
    after, _ = env.reset(options={"reset_mask": mask.copy()})
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert not np.isclose(after[mask], before[mask]).all(axis=1).any()
    following, *_ = env.step(actions())
    moved = np.abs(following - after).max(axis=1)
    assert (moved > 1e-3).all(), "the next step is a step of every row"
    env.close()


def test_a_mask_restarts_the_clock_of_its_rows():
    env = CartPoleBatch(num_envs=2, max_episode_steps=6)
    env.reset(seed=0)
    left, right = np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.int64)
    for i in range(3):
        env.step(left if i % 2 else right)
    env.reset(options={"reset_mask": np.array([True, False])})
    cut = []
    for i in range(6):
        cut.append(env.step(left if i % 2 else right)[3])
    np.testing.assert_array_equal(np.argmax(cut, axis=0), [5, 2])


def test_misuse_of_the_mask_is_refused():
    env = CartPoleBatch(num_envs=2)
    mask = np.array([True, False])
    with pytest.raises(RuntimeError, match="reset every row once"):
        env.reset(options={"reset_mask": mask})
    env.reset(seed=0)
    with pytest.raises(ValueError, match="no seed"):
        env.reset(seed=1, options={"reset_mask": mask})


def test_single_environments_keep_gymnasiums_limit():
    for environment in ("CartPole-v1", "Hopper-v5"):
        env = make_one(environment)
        assert env.spec is not None
        assert env.spec.max_episode_steps == gymnasium.spec(environment).max_episode_steps
        env.close()


UNSTABLE = """
import sys, numpy as np, gymnasium
from irlbench.envs.control.environments import make_one
make = make_one if sys.argv[1] == "ours" else gymnasium.make
env = make("Hopper-v5")
env.reset(seed=0)
robot = env.unwrapped
robot.set_state(robot.init_qpos, np.full(robot.model.nv, 1e30))
env.step(np.zeros(3, dtype=np.float32))
"""


@pytest.mark.parametrize(("whose", "written"), [("ours", []), ("gymnasium's", ["MUJOCO_LOG.TXT"])])
def test_mujoco_writes_no_log_where_it_stands(tmp_path, whose, written):
    done = subprocess.run(
        [sys.executable, "-c", UNSTABLE, whose],
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [path.name for path in tmp_path.iterdir()] == written, done.stderr
    assert "The simulation is unstable" in done.stderr
