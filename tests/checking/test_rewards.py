"""Hidden rewards are changed inside environments: in batches, rows, tables and functions."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from irlbench.checking.rewards import Alteration, HiddenRewardRead, Unreadable
from irlbench.envs.control.environments import make_batch
from irlbench.envs.text.environments import make_arithmetic_batch

STEPS = 40


def gridworld():
    return gymnasium.make_vec(
        "irlbench/RiskyPath-v0",
        num_envs=3,
        vectorization_mode=gymnasium.VectorizeMode.VECTOR_ENTRY_POINT,
    )


MAKE = {
    "a table": gridworld,
    "a batch of Gymnasium's": lambda: make_batch("CartPole-v1", 3),
    "rows": lambda: gymnasium.make_vec("FrozenLake-v1", num_envs=3, disable_env_checker=True),
    "robots": lambda: make_batch("Hopper-v5", 2),
}


def stepped(env, name, safe=frozenset()):
    """Observations, rewards and info of random steps, the hidden reward changed."""
    alteration = Alteration(name, safe)
    assert alteration.apply(env) is env
    env.action_space.seed(0)
    found: list[Any] = [(env.reset(seed=0)[0], None, None)]
    for _ in range(STEPS):
        observations, rewards, _, _, info = env.step(env.action_space.sample())
        found.append((observations, rewards, info))
    assert alteration.paid == STEPS * env.num_envs
    env.close()
    return list(zip(*found, strict=True))


@pytest.mark.parametrize("kind", MAKE)
def test_only_rewards_change(kind):
    true, same = stepped(MAKE[kind](), "true"), stepped(MAKE[kind](), "true")
    rewards = np.array(true[1][1:])
    assert np.array_equal(rewards, same[1][1:])
    assert rewards.any() or kind == "rows"  # nobody finds the goal on the ice
    for name in ("negated", "noise", "nan", "unreadable"):
        other = stepped(MAKE[kind](), name)
        assert np.array_equal(np.array(true[0]), np.array(other[0]))
        if name == "negated":
            assert np.array_equal(np.array(other[1][1:]), -rewards)
        elif name == "noise":
            changed = np.array(other[1][1:])
            assert np.isfinite(changed).all() and (changed != rewards).mean() > 0.5
        elif name == "nan":  # the step that begins an episode pays nothing
            assert np.isnan(np.array(other[1][1:])).mean() > 0.5
        else:
            assert all(isinstance(reward, Unreadable) for reward in other[1][1:])


def test_info_is_changed_but_for_what_is_safe():
    true = stepped(make_batch("Hopper-v5", 2), "true")[2][1:]
    other = stepped(make_batch("Hopper-v5", 2), "negated", frozenset({"z_distance_from_origin"}))[2]
    for before, after in zip(true, other[1:], strict=True):
        assert np.array_equal(after["reward_forward"], -before["reward_forward"])
        assert np.array_equal(after["x_velocity"], -before["x_velocity"])
        assert np.array_equal(after["z_distance_from_origin"], before["z_distance_from_origin"])
    closed = stepped(make_batch("Hopper-v5", 2), "unreadable")[2][1]
    assert isinstance(closed["reward_forward"], Unreadable)


def test_whoever_digs_a_row_out_meets_the_changed_reward():
    env: Any = make_batch("Hopper-v5", 1)
    Alteration("nan", frozenset()).apply(env)
    env.reset(seed=0)
    _, reward, _, _, info = env.envs[0].unwrapped.step(env.single_action_space.sample())
    assert np.isnan(reward) and np.isnan(info["reward_forward"])
    assert type(env.envs[0].unwrapped).__name__ == "HopperEnv"


def test_the_reward_of_the_token_mdp():
    def answered(name):
        env = make_arithmetic_batch(num_envs=1)
        Alteration(name, frozenset()).apply(env)
        env.reset(seed=0)
        mdp = env.mdp
        return mdp.reward(0, "no answer"), mdp.cut_reward, env

    assert answered("true")[:2] == (0.0, 0.0)
    reward, cut, env = answered("noise")
    assert reward != 0.0 and cut != 0.0
    *_, env = answered("nan")
    paid = env.step(np.array([env.mdp.tokenizer.eos_id]))[1]
    assert np.isnan(paid).all()


@pytest.mark.parametrize(
    "read",
    [
        float,
        bool,
        str,
        list,
        len,
        np.asarray,
        np.sum,
        lambda r: r + 1,
        lambda r: 1 + r,
        lambda r: -r,
        lambda r: r > 0,
        lambda r: r == 0,
        lambda r: r[0],
        lambda r: r.sum(),
        lambda r: f"{r}",
    ],
)
def test_what_is_unreadable_cannot_be_read(read):
    with pytest.raises(HiddenRewardRead):
        read(Unreadable())
