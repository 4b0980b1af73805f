"""Batched environments as Stable-Baselines3's: every step a transition, and the right one."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from irlbench.adapters import GymnasiumVecEnv
from irlbench.envs.control.environments import CartPoleBatch
from irlbench.problem import HiddenRewardVectorEnv, StepMeter
from irlbench.reward import RewardFunction

ROWS, STEPS, LIMIT = 3, 200, 12


def _make(limit=LIMIT):
    return gymnasium.make("CartPole-v1", max_episode_steps=limit, disable_env_checker=True)


def _sync(mode, limit=LIMIT):
    return SyncVectorEnv([partial(_make, limit) for _ in range(ROWS)], autoreset_mode=mode)


def _play(env, steps=STEPS, seed=5):
    """Steps with fixed actions; the seed is the environments'."""
    env.seed(seed)
    rng = np.random.default_rng(1)
    trace = [(env.reset(), None, None, None)]
    for _ in range(steps):
        trace.append(env.step(rng.integers(2, size=ROWS)))
    return trace


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda m: m.name)
def test_it_is_what_stable_baselines_makes_of_the_single_environments(mode):
    ours = _play(GymnasiumVecEnv(_sync(mode)))
    theirs = _play(DummyVecEnv([_make] * ROWS))
    ends = {True: 0, False: 0}
    for (obs, rewards, dones, infos), (obs2, rewards2, dones2, infos2) in zip(
        ours, theirs, strict=True
    ):
        np.testing.assert_array_equal(obs, obs2)
        if rewards is None:
            continue
        np.testing.assert_array_equal(rewards, rewards2)
        np.testing.assert_array_equal(dones, dones2)
        assert rewards.dtype == rewards2.dtype == np.float32
        for i in np.flatnonzero(dones):
            np.testing.assert_array_equal(
                infos[i]["terminal_observation"], infos2[i]["terminal_observation"]
            )
            assert infos[i]["TimeLimit.truncated"] == infos2[i]["TimeLimit.truncated"]
            ends[infos[i]["TimeLimit.truncated"]] += 1
    assert min(ends.values()) > 5, "both kinds of end were seen"


class _Recorder(RewardFunction):
    """Pays the pole's angle after the step, and keeps what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, observation, action, next_observation, terminated):
        self.calls.append((observation, action, next_observation, terminated))
        return np.asarray(next_observation)[:, 2].astype(np.float64)


def test_every_step_of_native_cartpole_is_a_true_transition():
    reward = _Recorder()
    env = GymnasiumVecEnv(CartPoleBatch(num_envs=ROWS, max_episode_steps=LIMIT), reward)
    trace = _play(env)
    single = CartPoleEnv()
    ended = 0
    for (observation, action, following, terminated), (shown, rewards, dones, _) in zip(
        reward.calls, trace[1:], strict=True
    ):
        for i in range(ROWS):
            single.reset()
            single.state = observation[i].astype(np.float64)
            wanted, _, wanted_end, _, _ = single.step(int(action[i]))
            np.testing.assert_allclose(following[i], wanted, atol=1e-5)
            assert bool(terminated[i]) == wanted_end
        ended += int(dones.sum())
        np.testing.assert_allclose(rewards, following[:, 2])
        first = np.abs(shown[dones]) <= 0.05
        assert first.all(), "after an end comes the first observation of a new episode"
    assert ended > 10


def test_every_billed_step_is_a_transition():
    meter = StepMeter()
    hidden = HiddenRewardVectorEnv(_sync(AutoresetMode.NEXT_STEP), (), meter, seed=3)
    env = GymnasiumVecEnv(hidden)
    env.reset()
    for _ in range(50):
        _, rewards, _, _ = env.step(np.ones(ROWS, dtype=np.int64))
        assert not rewards.any(), "the environment's own reward is hidden"
    assert meter.used == 50 * ROWS


def test_a_batch_that_cannot_reset_single_rows_is_refused():
    env = GymnasiumVecEnv(CartPoleVectorEnv(num_envs=ROWS, max_episode_steps=500))
    env.reset()
    with pytest.raises(TypeError, match="restarts every row"):
        _ = [env.step(np.array([0, 1, i % 2])) for i in range(100)]


def test_a_seed_is_used_once():
    env = GymnasiumVecEnv(_sync(AutoresetMode.NEXT_STEP))
    env.seed(7)
    first = env.reset()
    other = env.reset()
    env.seed(7)
    np.testing.assert_array_equal(env.reset(), first)
    assert not np.array_equal(first, other)


def test_step_before_reset_is_refused():
    env = GymnasiumVecEnv(_sync(AutoresetMode.NEXT_STEP))
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(ROWS, dtype=np.int64))


def test_rows_have_no_attributes_of_their_own():
    env = GymnasiumVecEnv(_sync(AutoresetMode.NEXT_STEP))
    assert env.get_attr("num_envs", [0, 1]) == [ROWS, ROWS]
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * ROWS
    with pytest.raises(NotImplementedError):
        env.set_attr("gravity", 1.0)
    with pytest.raises(NotImplementedError):
        env.env_method("close")
    env.close()
