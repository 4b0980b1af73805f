"""The tabular learner climbs to the answers that counting gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.learners.base import LearnerSettings
from irlbench.baselines.learners.tabular import TabularLearner
from irlbench.baselines.objectives.behavioural_cloning import behavioural_cloning_loss
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DataError
from irlbench.policies.table import TablePolicy

SETTINGS = LearnerSettings(
    learning_rate=0.1, weight_decay=0.0, hidden=(), gradient_clip=1.0, total_steps=500
)


def episode(states, actions):
    ends = np.arange(len(actions)) == len(actions) - 1
    return Episode(np.array(states), np.array(actions), ends & False, ends)


def random_demonstrations(states=6, actions=3, seed=0):
    """Every state but the last is visited, with every action."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(actions, 3.0), size=states - 1)
    visited = np.concatenate([np.repeat(np.arange(states - 1), actions), rng.integers(5, size=200)])
    chosen = [rng.choice(actions, p=probabilities[s]) for s in visited]
    chosen[: (states - 1) * actions] = list(np.tile(np.arange(actions), states - 1))
    half = len(visited) // 2
    return Demonstrations(
        (
            episode([*visited[:half], 0], chosen[:half]),
            episode([*visited[half:], 0], chosen[half:]),
        )
    )


def learner(demonstrations=None, settings=SETTINGS, states=6, actions=3, subsample=1):
    made = TabularLearner(states, actions, settings, Run())
    if demonstrations is not None:
        made.load(demonstrations, subsample=subsample)
    return made


def clone(made, steps=500, size=10**6, seed=0):
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        batch = made.sample(size, generator)
        made.update(behavioural_cloning_loss(made.log_prob(batch), batch.mask))
    return made.policy()


def ratios(demonstrations, states=6, actions=3):
    steps = demonstrations.transitions()
    counts = np.zeros((states, actions))
    np.add.at(counts, (steps.observations, steps.actions), 1)
    return counts[:-1] / counts[:-1].sum(axis=1, keepdims=True)


def test_cloning_converges_to_the_ratios_of_counts():
    demonstrations = random_demonstrations()
    policy = clone(learner(demonstrations))
    assert isinstance(policy, TablePolicy)
    assert policy.probabilities[:-1] == pytest.approx(ratios(demonstrations), abs=1e-4)
    assert policy.probabilities[-1] == pytest.approx([1 / 3] * 3), "never visited: uniform"


def test_minibatches_come_near_the_same_answer():
    demonstrations = random_demonstrations()
    policy = clone(learner(demonstrations), size=32)
    assert np.abs(policy.probabilities[:-1] - ratios(demonstrations)).max() < 0.05


def test_an_action_never_taken_becomes_improbable_yet_stays_finite():
    policy = clone(learner(Demonstrations((episode([0, 1, 0], [2, 1]),))))
    assert policy.is_finite()
    assert policy.probabilities[0, 2] > 0.99 and policy.probabilities[1, 1] > 0.99


def test_the_log_probability_by_hand():
    made = learner(Demonstrations((episode([0, 1, 5], [0, 2]),)))
    with torch.no_grad():
        made.logits[0] = torch.tensor([np.log(1.0), np.log(2.0), np.log(5.0)])
    batch = made.sample(10, np.random.default_rng(0))
    assert made.log_prob(batch).detach().numpy() == pytest.approx([np.log(1 / 8), np.log(1 / 3)])


def test_the_policy_is_apart_from_further_updates():
    made = learner(random_demonstrations())
    before = made.policy()
    kept = before.log_probabilities.copy()
    clone(made, steps=3)
    assert np.array_equal(before.log_probabilities, kept)
    assert not np.allclose(made.policy().log_probabilities, kept)


def test_subsampling_keeps_every_kth_step_of_each_episode():
    made = TabularLearner(6, 3, SETTINGS, Run())
    demonstrations = Demonstrations((episode([0, 1, 2, 3], [0, 1, 2]), episode([4, 0], [1])))
    assert made.load(demonstrations) == 4
    assert made.load(demonstrations, subsample=2) == 3
    batch = made.sample(10, np.random.default_rng(0))
    assert batch.observations.tolist() == [0, 2, 4]
    assert batch.actions.tolist() == [0, 2, 1]
    assert batch.mask.tolist() == [1.0, 1.0, 1.0]


def test_samples_are_drawn_by_the_generator_given():
    made = learner(random_demonstrations())
    drawn = [
        made.sample(16, np.random.default_rng(seed)).observations.tolist() for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 16


def test_the_settings_do_something():
    demonstrations = random_demonstrations()
    plain = clone(learner(demonstrations), steps=20).log_probabilities
    for changes in (
        {"learning_rate": 0.05},
        {"weight_decay": 1.0},
        {"total_steps": 20},
        {"gradient_clip": 1e-9},
    ):
        changed = LearnerSettings(**{**vars(SETTINGS), **changes})
        assert not np.allclose(
            plain, clone(learner(demonstrations, changed), steps=20).log_probabilities
        )


def test_the_step_size_decays_to_zero_along_a_cosine():
    constant = LearnerSettings(**{**vars(SETTINGS), "total_steps": 0})
    made, steady = learner(random_demonstrations()), learner(random_demonstrations(), constant)
    clone(made, steps=250), clone(steady, steps=250)
    assert made._trainer.learning_rate == pytest.approx(0.05)
    assert steady._trainer.learning_rate == 0.1
    clone(made, steps=250)
    assert made._trainer.learning_rate == pytest.approx(0.0, abs=1e-12)


def test_equal_runs_give_equal_bits():
    first, second = (clone(learner(random_demonstrations()), 50, 16) for _ in range(2))
    assert np.array_equal(first.log_probabilities, second.log_probabilities)


@pytest.mark.parametrize(
    ("states", "actions", "field", "row"),
    [
        ([0, 1, 6, 0], [0, 0, 0], "observations", 2),
        ([-1, 1, 2, 0], [0, 0, 0], "observations", 0),
        ([0, 1, 2, 0], [0, 3, 0], "actions", 1),
        ([0.0, 1.0, 2.0, 0.0], [0, 0, 0], "observations", None),
        ([[0], [1], [2], [0]], [0, 0, 0], "observations", None),
    ],
)
def test_what_is_no_index_is_refused(states, actions, field, row):
    with pytest.raises(DataError) as refused:
        learner(Demonstrations((episode(states, actions),)))
    assert (refused.value.field, refused.value.row) == (field, row)


def test_demonstrations_without_actions_are_refused():
    ends = np.array([False, True])
    silent = Demonstrations((Episode(np.array([0, 1, 2]), None, ends & False, ends),))
    with pytest.raises(DataError, match="observations only"):
        learner(silent)


def test_sampling_needs_demonstrations():
    with pytest.raises(RuntimeError, match="load"):
        learner().sample(3, np.random.default_rng(0))
