"""Learners with small networks: what they train is what their policies do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bc import BehaviouralCloning
from irlbench.baselines.learners.base import LearnerSettings, learner_for
from irlbench.baselines.learners.continuous import FIRST_STD, LEAST_STD, ContinuousLearner
from irlbench.baselines.learners.discrete import DiscreteLearner
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DataError
from irlbench.policy import load_policy, save_policy
from irlbench.problem import Budget, Problem
from irlbench.randomness import RowGenerator

SETTINGS = LearnerSettings(
    learning_rate=1e-2, weight_decay=0.0, hidden=(16, 16), gradient_clip=1.0, total_steps=400
)
DISCRETE = spaces.Discrete(3)
BOX = spaces.Box(np.array([-1, -2], np.float32), np.array([1, 6], np.float32))
KINDS = pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])


def demonstrations(space, count=4, steps=50):
    """An expert that is a simple function of observations far from zero mean."""
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(count):
        observations = rng.normal([10, -3, 0], [0.1, 4, 1], size=(steps + 1, 3))
        z = (observations[:-1] - [10, -3, 0]) / [0.1, 4, 1]
        if space is DISCRETE:
            actions = (z[:, 0] > 0).astype(np.int64) + (z[:, 1] > 1)
        else:
            actions = np.stack([np.tanh(z[:, 0]), 2 + z[:, 1]], axis=1).astype(np.float32)
        ends = np.arange(steps) == steps - 1
        episodes.append(Episode(observations, actions, ends, ~ends & False))
    return Demonstrations(tuple(episodes))


def problem_of(space, seed=0):
    return Problem(
        task_id="control/toy-v0",
        world="control",
        observation_space=spaces.Box(-np.inf, np.inf, (3,), np.float64),
        action_space=space,
        horizon=100,
        discount=0.99,
        track="demonstrations",
        seed=seed,
        needs=frozenset({"demonstrations"}),
        suppliers={"demonstrations": lambda: demonstrations(space)},
    )


def learner_of(space, seed=0, settings=SETTINGS):
    learner = learner_for(problem_of(space), settings, Run(seed))
    learner.load(demonstrations(space))
    return learner


def train(learner, steps=100, size=64):
    generator = np.random.default_rng(1)
    losses = []
    for _ in range(steps):
        batch = learner.sample(size, generator)
        loss = -learner.log_prob(batch).mean()
        learner.update(loss)
        losses.append(float(loss.detach()))
    return losses


@KINDS
def test_learner_and_policy_agree_before_and_after_training(space, tmp_path):
    learner = learner_of(space)
    steps = demonstrations(space).transitions()
    for _ in range(2):
        batch = learner.sample(10**6, np.random.default_rng(0))
        assert len(batch.mask) == 200, "all of them where they fit into one batch"
        policy = learner.policy()
        save_policy(policy, tmp_path)
        with torch.no_grad():
            wanted = learner.log_prob(batch)
        for ours in (policy, load_policy(tmp_path)):
            given = ours.log_prob(steps.observations, steps.actions)
            np.testing.assert_allclose(given, wanted, atol=1e-4)
        train(learner, 30)


@KINDS
def test_a_policy_does_not_change_with_further_training(space):
    learner = learner_of(space)
    policy = learner.policy()
    before = {name: array.copy() for name, array in policy.arrays().items()}
    train(learner, 10)
    assert all(np.array_equal(before[name], array) for name, array in policy.arrays().items())
    changed = learner.policy().arrays()
    assert not np.array_equal(before["hidden.0.weight"], changed["hidden.0.weight"])


@KINDS
def test_it_learns_what_is_demonstrated(space):
    learner = learner_of(space)
    train(learner, 400)
    steps = demonstrations(space).transitions()
    actions, _ = learner.policy().act(
        steps.observations, deterministic=True, generator=RowGenerator(np.arange(200))
    )
    if space is DISCRETE:
        assert (actions == steps.actions).mean() > 0.95
    else:
        assert np.abs(actions - steps.actions).mean(axis=0).max() < 0.2


@KINDS
def test_observations_are_scaled_by_the_demonstrations(space):
    arrays = learner_of(space).policy().arrays()
    rows = demonstrations(space).transitions().observations
    np.testing.assert_allclose(arrays["observation_mean"], rows.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(arrays["observation_std"], rows.std(axis=0), rtol=1e-4)
    assert all(array.dtype == np.float32 for array in arrays.values())


def test_a_dimension_that_never_moves_is_not_blown_up():
    still = demonstrations(DISCRETE)
    flat = [
        Episode(e.observations * [1, 1, 0], e.actions, e.terminations, e.truncations) for e in still
    ]
    learner = DiscreteLearner(problem_of(DISCRETE), SETTINGS, Run(0))
    learner.load(Demonstrations(tuple(flat)))
    assert learner.policy().arrays()["observation_std"][2] == pytest.approx(1e-3)


@KINDS
def test_equal_seeds_give_equal_learners_whatever_the_global_state(space):
    def arrays(seed):
        torch.manual_seed(int(np.random.default_rng().integers(1000)))
        learner = learner_of(space, seed)
        train(learner, 5)
        return learner.policy().arrays()

    first, again, other = arrays(3), arrays(3), arrays(4)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["hidden.0.weight"], other["hidden.0.weight"])


def test_subsampling_keeps_every_kth_step():
    learner = DiscreteLearner(problem_of(DISCRETE), SETTINGS, Run(0))
    assert learner.load(demonstrations(DISCRETE), subsample=10) == 20
    batch = learner.sample(100, np.random.default_rng(0))
    np.testing.assert_array_equal(batch.actions, demonstrations(DISCRETE).transitions(10).actions)


@KINDS
def test_batches_are_drawn_with_replacement_by_the_generator_given(space):
    learner = learner_of(space)
    one, same = (learner.sample(150, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one.observations, same.observations)
    assert len(torch.unique(one.observations, dim=0)) < 150
    assert one.mask.shape == (150,)
    assert one.mask.all()


def test_the_spread_has_a_floor_and_the_loss_with_it():
    """On actions without noise the likelihood has no maximum: without a floor it diverges."""
    learner = learner_of(BOX, settings=LearnerSettings(5e-2, 0.0, (32,), 0.0))
    assert isinstance(learner, ContinuousLearner)
    half = (BOX.high - BOX.low) / 2
    np.testing.assert_allclose(np.exp(learner.policy().arrays()["log_std"]), FIRST_STD * half)
    losses = train(learner, 1500)
    spread = np.exp(learner.policy().arrays()["log_std"])
    assert (spread >= LEAST_STD * half * (1 - 1e-5)).all()
    assert (spread < 2 * LEAST_STD * half).all(), "it came near the floor"
    least = np.log(LEAST_STD * half).sum() + np.log(2 * np.pi)
    assert least < min(losses) < losses[0]


def test_the_first_policy_is_nearly_uniform():
    arrays = learner_of(DISCRETE).policy()
    rows = demonstrations(DISCRETE).transitions().observations
    np.testing.assert_allclose(np.exp(arrays.log_probabilities(rows)), 1 / 3, atol=0.02)


def test_actions_outside_the_space_are_refused_by_row():
    bad = demonstrations(DISCRETE, count=1)
    actions = np.array(bad[0].actions)
    actions[7] = 3
    episode = Episode(bad[0].observations, actions, bad[0].terminations, bad[0].truncations)
    learner = DiscreteLearner(problem_of(DISCRETE), SETTINGS, Run(0))
    with pytest.raises(DataError, match="row 7: action 3, but actions are 0 to 2"):
        learner.load(Demonstrations((episode,)))


def test_continuous_actions_need_bounds():
    space = spaces.Box(-np.inf, np.inf, (2,))
    with pytest.raises(ValueError, match="finite bounds"):
        ContinuousLearner(problem_of(space), SETTINGS, Run(0))


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_gradients_are_clipped_where_a_limit_is_set(clip):
    learner = learner_of(DISCRETE, settings=LearnerSettings(1.0, 0.0, (8,), clip))
    loss = -learner.log_prob(learner.sample(64, np.random.default_rng(0))).mean() * 1000
    learner.update(loss)
    norm = torch.sqrt(
        sum((p.grad**2).sum() for p in learner.network.parameters() if p.grad is not None)
    )
    assert (float(norm) <= 1.01e-3) == bool(clip)


def test_the_learning_rate_ends_at_zero():
    learner = learner_of(DISCRETE)
    train(learner, SETTINGS.total_steps)
    before = learner.policy().arrays()
    train(learner, 30)
    after = learner.policy().arrays()
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before)


@KINDS
def test_behavioural_cloning_binds_them(space):
    config = {"gradient_steps": 50, "hidden": (16,), "saves": 2}
    run = Run(0)
    solution = BehaviouralCloning.configure("control", config).fit(problem_of(space), Budget(), run)
    assert solution.policy.kind == ("categorical-mlp" if space is DISCRETE else "gaussian-mlp")
    assert run.gradient_steps == 50
    assert [step for step, _ in run.saved] == [25, 50]
    assert run.logged[-1][1]["loss"] < run.logged[0][1]["loss"]
