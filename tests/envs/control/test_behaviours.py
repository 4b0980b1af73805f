"""Behaviours between the expert and chance."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from irlbench.envs.control.behaviours import NoisyPolicy
from irlbench.errors import UsageError
from irlbench.policy import Policy
from irlbench.randomness import RowGenerator

BOX = spaces.Box(-2.0, 3.0, (2,), np.float32)


class Counting(Policy):
    """Its action is the number of steps so far, and it insists on its mode."""

    def __init__(self, space):
        self._shape, self._dtype = space.shape, space.dtype

    def act(self, observations, state=None, *, reset_mask=None, deterministic=False, generator):
        assert deterministic
        steps = 0 if state is None else state
        return np.full((len(observations), *self._shape), steps, dtype=self._dtype), steps + 1


def acted(space, share, seeds, steps=200):
    policy, generator = NoisyPolicy(Counting(space), space, share), RowGenerator(np.array(seeds))
    found, state = [], None
    for _ in range(steps):
        actions, state = policy.act(np.zeros((len(seeds), 1)), state, generator=generator)
        found.append(actions)
    return np.stack(found, axis=1)


@pytest.mark.parametrize("space", [BOX, spaces.Discrete(3)], ids=["box", "discrete"])
def test_shares_are_of_steps_and_the_ends_are_the_expert_and_chance(space):
    theirs = acted(space, 0.0, [1, 2, 3, 4])
    steps = np.arange(200).reshape(1, -1, *[1] * len(space.shape))
    np.testing.assert_array_equal(theirs, np.broadcast_to(steps, theirs.shape))
    chance = acted(space, 1.0, [1, 2, 3, 4])
    assert all(space.contains(action) for row in chance for action in row)
    some = acted(space, 0.2, [1, 2, 3, 4])
    same_as_expert = (some == theirs).reshape(4, 200, -1).all(axis=-1)[:, 10:]
    assert same_as_expert.mean() == pytest.approx(0.8, abs=0.05)
    # A step is one or the other, whole.
    same_as_chance = (some == chance).reshape(4, 200, -1).all(axis=-1)[:, 10:]
    assert (same_as_expert ^ same_as_chance).all()
    assert some.dtype == theirs.dtype


def test_an_episode_does_not_depend_on_the_others_of_the_batch():
    np.testing.assert_array_equal(acted(BOX, 0.5, [7, 8, 9])[1:2], acted(BOX, 0.5, [8]))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_no_probability(share):
    with pytest.raises(UsageError, match="is a probability, got"):
        NoisyPolicy(Counting(BOX), BOX, share)
