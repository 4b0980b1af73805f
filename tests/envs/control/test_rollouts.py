"""Evaluation runs every episode to its own end, whichever others are in the batch."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from irlbench.envs.control.rollouts import run_episodes
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import Policy
from irlbench.randomness import RowGenerator


class Lean(Policy):
    """Pushes to where the pole leans, and counts its steps in a state."""

    def act(self, observations, state=None, *, reset_mask=None, deterministic=False, generator):
        assert reset_mask is not None
        assert reset_mask.all() == (state is None)
        steps = np.zeros(len(observations)) if state is None else state
        return (observations[:, 2] > 0).astype(np.int64), steps + 1


def by_hand(environment, policy, seed, horizon):
    env = gymnasium.make(environment)
    observation, _ = env.reset(seed=seed)
    generator, state = RowGenerator(np.array([seed]), stream=1), None
    rewards, observations, actions = [], [observation], []
    for step in range(horizon):
        action, state = policy.act(
            observation[None], state, reset_mask=np.array([step == 0]), generator=generator
        )
        observation, reward, terminated, truncated, _ = env.step(action[0])
        rewards.append(float(reward))
        observations.append(observation)
        actions.append(action[0])
        if terminated or truncated:
            break
    env.close()
    return sum(rewards), np.array(observations), np.array(actions), terminated


@pytest.mark.parametrize(
    ("environment", "policy"),
    [
        ("CartPole-v1", UniformPolicy(actions=2)),
        ("CartPole-v1", Lean()),
        ("Hopper-v5", UniformPolicy(low=-np.ones(3), high=np.ones(3))),
    ],
    ids=["random cartpole", "leaning cartpole", "random hopper"],
)
def test_each_row_is_the_episode_of_its_seed(environment, policy):
    seeds = [5, 6, 7, 2**30 + 8]
    done = run_episodes(environment, policy, seeds, deterministic=False, horizon=60, record=True)
    assert done.recording is not None
    assert len(set(done.lengths)) > 1, "the rows end at different times"
    for i, seed in enumerate(seeds):
        total, observations, actions, terminated = by_hand(environment, policy, seed, 60)
        episode = done.recording.episodes[i]
        assert done.returns[i] == pytest.approx(total)
        assert done.lengths[i] == len(actions) == len(episode)
        np.testing.assert_array_equal(episode.observations, observations)
        np.testing.assert_array_equal(episode.actions, actions)
        assert bool(episode.terminations[-1]) == terminated
        assert done.recording.returns[i] == pytest.approx(total)
        assert not episode.terminations[:-1].any()
        assert not episode.truncations[:-1].any()


def test_the_horizon_cuts_and_marks_as_truncated():
    done = run_episodes("CartPole-v1", Lean(), [1, 2], deterministic=True, horizon=10, record=True)
    assert done.recording is not None
    assert list(done.lengths) == [10, 10]
    for episode in done.recording.episodes:
        assert episode.truncations[-1]
        assert not episode.terminations.any()
