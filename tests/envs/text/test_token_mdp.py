from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import irlbench  # noqa: F401 - registers the environments
from irlbench.envs.text.token_mdp import TokenEnv, TokenMDP, TokenVectorEnv
from irlbench.envs.text.tokenizer import EOS, PAD, ByteTokenizer

PROMPTS = ["a=", "bcd=", "ef="]


def toy(horizon=4, cut_reward=0.0):
    def reward(index, completion):
        return float(completion == "xyz"[index])

    return TokenMDP.over(
        PROMPTS, horizon=horizon, reward=reward, tokenizer=ByteTokenizer(), cut_reward=cut_reward
    )


@pytest.mark.parametrize("render_mode", [None, "ansi"])
def test_checkers_of_gymnasium_and_stable_baselines_are_silent(render_mode):
    from stable_baselines3.common.env_checker import check_env as check_env_sb3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("irlbench:irlbench/Arithmetic-v0", render_mode=render_mode)
        check_env(env.unwrapped)
        check_env_sb3(env.unwrapped)
        check_env_sb3(TokenEnv(toy()))


def test_one_episode_by_hand():
    env = TokenEnv(toy(), render_mode="ansi")
    observation, info = env.reset(seed=0, options={"prompt_index": 1})
    assert info == {}
    assert env.mdp.tokenizer.decode(observation["tokens"][:5]) == "<|bos|>bcd="
    assert observation["length"] == observation["prompt_length"] == 5
    assert (observation["tokens"][5:] == PAD).all()
    observation, reward, terminated, truncated, info = env.step(ord("y"))
    assert (reward, terminated, truncated, info) == (0.0, False, False, {})
    assert observation["length"] == 6 and observation["prompt_length"] == 5
    observation, reward, terminated, truncated, info = env.step(EOS)
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info == {"finish_reason": "stop"}
    assert np.flatnonzero(observation["action_mask"]).tolist() == [5, 6]
    assert observation["tokens"][:7].tolist() == [256, *b"bcd=y", EOS]
    assert env.render() == "bcd=y<|eos|>\n[reward 1]"
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(EOS)


def test_the_horizon_terminates_and_pays_what_is_declared():
    env = TokenEnv(toy(horizon=3, cut_reward=-0.5))
    env.reset(seed=0, options={"prompt_index": 0})
    for _ in range(2):
        assert env.step(ord("x"))[2] is False
    _, reward, terminated, truncated, info = env.step(ord("x"))
    assert (reward, terminated, truncated) == (-0.5, True, False)
    assert info == {"finish_reason": "length"}


def test_the_end_of_sequence_at_the_horizon_is_a_stop():
    env = TokenEnv(toy(horizon=2))
    env.reset(seed=0, options={"prompt_index": 0})
    env.step(ord("x"))
    _, reward, terminated, _, info = env.step(EOS)
    assert (reward, terminated, info["finish_reason"]) == (1.0, True, "stop")


def test_a_special_token_within_a_completion_is_no_way_around_the_verifier():
    env = TokenEnv(toy())
    env.reset(seed=0, options={"prompt_index": 0})
    env.step(ord("x"))
    env.step(PAD)
    assert env.step(EOS)[1] == 0.0


@pytest.mark.parametrize("make", ["toy", "registered"])
def test_row_i_is_the_single_environment_reset_with_seed_plus_i(make):
    rows, seed, steps = 5, 11, 60
    batch: Any
    singles: list[Any]
    if make == "toy":
        batch = TokenVectorEnv(rows, toy())
        singles = [TokenEnv(toy()) for _ in range(rows)]
    else:
        batch = gymnasium.make_vec(
            "irlbench/Arithmetic-v0", rows, vectorization_mode="vector_entry_point"
        )
        singles = [gymnasium.make("irlbench/Arithmetic-v0").unwrapped for _ in range(rows)]
    observations, _ = batch.reset(seed=seed)
    for i, env in enumerate(singles):
        single, _ = env.reset(seed=seed + i)
        for name, value in single.items():
            assert (observations[name][i] == value).all()
    generator, ended = np.random.default_rng(0), np.zeros(rows, dtype=bool)
    episodes = 0
    for _ in range(steps):
        actions = np.where(generator.random(rows) < 0.4, EOS, generator.integers(0, 256, rows))
        observations, rewards, terminations, truncations, info = batch.step(actions)
        assert batch.observation_space.contains(observations)
        assert not truncations.any()
        for i, env in enumerate(singles):
            if ended[i]:
                single, _ = env.reset()
                reward, terminated, reason = 0.0, False, {}
                episodes += 1
            else:
                single, reward, terminated, _, reason = env.step(actions[i])
            for name, value in single.items():
                assert (observations[name][i] == value).all()
            assert (rewards[i], terminations[i]) == (reward, terminated)
            if terminated:
                assert info["finish_reason"][i] == reason["finish_reason"]
                assert info["_finish_reason"][i]
        ended = terminations
    assert episodes > rows


def test_prompts_vary_with_the_seed_and_all_come_up():
    env = TokenVectorEnv(300, toy())
    env.reset(seed=0)
    first = env.prompt_index.copy()
    assert set(first) == {0, 1, 2}
    env.reset()
    assert (env.prompt_index != first).any()
    env.reset(seed=0)
    assert (env.prompt_index == first).all()
    env.reset(seed=1)
    assert (env.prompt_index[:-1] == first[1:]).all()


def test_disabled_autoreset_keeps_ended_rows_and_resets_by_mask():
    env = TokenVectorEnv(3, toy(), autoreset_mode=AutoresetMode.DISABLED)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    env.reset(seed=0, options={"prompt_index": [0, 1, 2]})
    _, _, terminations, _, _ = env.step(np.array([EOS, 1, 2]))
    assert terminations.tolist() == [True, False, False]
    before, _rewards, terminations, _, _ = env.step(np.array([5, 5, EOS]))
    assert terminations.tolist() == [False, False, True]
    assert before["length"].tolist() == [4, 7, 6]
    after, _ = env.reset(options={"reset_mask": np.array([True, False, False])})
    assert after["length"][0] == after["prompt_length"][0]
    assert after["length"][1:].tolist() == [7, 6]
    assert env.completion_ids(1).tolist() == [1, 5]


def test_observations_are_copies_unless_asked():
    for copies in (True, False):
        env = TokenVectorEnv(2, toy(), copy=copies)
        first, _ = env.reset(seed=0)
        before = first["length"].copy()
        env.step(np.array([1, 2]))
        assert (first["length"] == before).all() == copies


def test_prompts_are_shared_and_cannot_be_written():
    mdp = toy()
    first, second = TokenVectorEnv(2, mdp), TokenVectorEnv(2, mdp)
    assert first.mdp.prompts is second.mdp.prompts
    with pytest.raises(ValueError, match="read-only"):
        mdp.prompts[0, 0] = 1


def test_what_is_refused():
    env = TokenVectorEnv(2, toy())
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.array([0, 0]))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="token ids lie in"):
        env.step(np.array([0, 264]))
    with pytest.raises(ValueError, match="2 actions are needed"):
        env.step(np.array([0]))
    with pytest.raises(ValueError, match="prompt_index must lie"):
        env.reset(options={"prompt_index": [0, 3]})
    with pytest.raises(ValueError, match="seeds from 0 on"):
        env.reset(seed=[1, -2])
    with pytest.raises(ValueError, match="same-step"):
        TokenVectorEnv(2, toy(), autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match="both at least 1"):
        TokenMDP.over([], horizon=3, reward=lambda i, c: 0.0, tokenizer=ByteTokenizer())


def test_many_environments_fit_into_little_memory():
    env = TokenVectorEnv(4096, toy(horizon=512 - 5), copy=False)
    observations, _ = env.reset(seed=0)
    held = sum(value.nbytes for value in observations.values())
    assert observations["tokens"].shape == (4096, 512)
    assert held < 16 * 2**20
