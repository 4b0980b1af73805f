"""The true rewards as functions of what is observed are what the environments pay, or nearly."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from irlbench.envs.control.environments import make_one
from irlbench.envs.control.protocol import reward_scores
from irlbench.envs.control.rollouts import run_episodes
from irlbench.envs.control.true_rewards import is_constant, observed_reward
from irlbench.policies.uniform import UniformPolicy

#: Least correlation with what was paid, over steps of random actions, which jerk more than an
#: expert's; docs/metrics.md has those over the graded behaviours.
KNOWN = {
    "Pendulum-v1": 1 - 1e-9,
    "Hopper-v5": 0.9998,
    "HalfCheetah-v5": 0.98,
    "Walker2d-v5": 0.999,
    "Ant-v5": 0.99,
    "Humanoid-v5": 0.9999,
    "irlbench/HopperFixed-v0": 0.9995,
    "irlbench/AntTransfer-v0": 0.98,
    "irlbench/PointMaze-v0": 1 - 1e-9,
    "irlbench/CartPoleFixed-v0": 1 - 1e-9,
}


def recorded(environment, count, horizon=150):
    env = make_one(environment)
    env.close()
    policy = UniformPolicy.over(env.action_space)
    done = run_episodes(
        environment, policy, range(count), deterministic=True, horizon=horizon, record=True
    )
    assert done.recording is not None
    return done.recording


@pytest.mark.parametrize("environment", KNOWN)
def test_it_is_close_to_what_was_paid(environment):
    made = recorded(environment, 6)
    reward = observed_reward(environment)
    assert reward is not None
    told = [
        reward(e.observations[:-1], e.actions, e.observations[1:], e.terminations)
        for e in made.episodes
    ]
    said, paid = np.concatenate(told), np.concatenate(made.rewards)
    assert np.corrcoef(said, paid)[0, 1] > KNOWN[environment]
    # Nothing is missing from it: the mean error is small beside how rewards differ.
    assert abs((said - paid).mean()) < 0.02 * paid.std()


def test_a_robot_that_lies_is_not_paid_for_its_health():
    env = gymnasium.make("Hopper-v5", terminate_when_unhealthy=False).unwrapped
    observation, _ = env.reset(seed=0)
    reward = observed_reward("Hopper-v5")
    assert reward is not None
    said, paid = [], []
    for _ in range(150):
        action = np.array([1.0, -1.0, 1.0], np.float32)
        following, r, *_ = env.step(action)
        given = (observation[None], action[None], following[None], np.zeros(1, dtype=bool))
        said.append(reward(*given)[0])
        paid.append(float(r))
        observation = following
    assert env.unwrapped.is_healthy is False  # type: ignore[attr-defined]
    np.testing.assert_allclose(said, paid, atol=0.2)


def test_a_task_declares_the_scores_that_its_reward_allows():
    names = {
        environment: [score.name for score in reward_scores(environment)]
        for environment in ("CartPole-v1", "Acrobot-v1", "Hopper-v5", "MountainCarContinuous-v0")
    }
    assert names["CartPole-v1"] == names["Acrobot-v1"] == ["pair_accuracy", "survival"]
    assert names["Hopper-v5"][:3] == ["epic", "epic_error", "starc"]
    assert names["Hopper-v5"][4:] == names["MountainCarContinuous-v0"]
    assert names["MountainCarContinuous-v0"][0] == "pearson"
    assert is_constant("CartPole-v1") and not is_constant("Pendulum-v1")
