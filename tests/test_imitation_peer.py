"""The `imitation` package, installed beside the versions it declares, still trains.

imitation 1.0.1 declares gymnasium 0.29 and stable-baselines3 2.2 and is installed without its
dependencies; this test is where it shows if a newer release breaks it.
"""

from __future__ import annotations

import importlib.util

import gymnasium as gym
import numpy as np
import pytest

if importlib.util.find_spec("imitation") is None:
    pytest.skip("imitation is not installed (make setup installs it)", allow_module_level=True)

TRANSITIONS = 512
BATCH = 64


def _labelled_transitions(seed: int):
    """CartPole transitions of a random walk, each labelled with the side the pole falls to."""
    from imitation.data.types import Transitions

    env = gym.make("CartPole-v1")
    rng = np.random.default_rng(seed)
    observations: list[np.ndarray] = []
    next_observations: list[np.ndarray] = []
    dones: list[bool] = []
    observation, _ = env.reset(seed=seed)
    while len(observations) < TRANSITIONS:
        following, _, terminated, truncated, _ = env.step(int(rng.integers(2)))
        observations.append(observation)
        next_observations.append(following)
        dones.append(terminated)
        observation = following
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()
    states = np.stack(observations)
    return Transitions(
        obs=states,
        acts=(states[:, 2] + states[:, 3] > 0).astype(np.int64),
        infos=np.array([{}] * TRANSITIONS),
        next_obs=np.stack(next_observations),
        dones=np.array(dones),
    )


def test_behavioural_cloning_trains():
    import torch
    from imitation.algorithms import bc

    torch.manual_seed(0)
    data = _labelled_transitions(seed=0)
    space = gym.make("CartPole-v1")
    trainer = bc.BC(
        observation_space=space.observation_space,
        action_space=space.action_space,
        rng=np.random.default_rng(0),
        demonstrations=data,
        batch_size=BATCH,
        device="cpu",
    )

    def negative_log_likelihood() -> float:
        with torch.no_grad():
            _, log_prob, _ = trainer.policy.evaluate_actions(
                torch.tensor(data.obs), torch.tensor(data.acts)
            )
        assert log_prob is not None
        return float(-log_prob.mean())

    before = negative_log_likelihood()
    trainer.train(n_epochs=20, progress_bar=False, log_interval=10_000)
    after = negative_log_likelihood()

    assert before == pytest.approx(np.log(2), abs=0.05), "an untrained policy of two actions"
    assert after < 0.5 * before, "20 epochs should more than halve the loss of a linear rule"
    actions, _ = trainer.policy.predict(data.obs, deterministic=True)
    assert np.mean(actions == data.acts) > 0.9
