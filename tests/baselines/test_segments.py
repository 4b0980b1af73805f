"""Pairs of segments as tensors, and what functions say of every step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.baselines.learners.functions import TableFunction
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.baselines.learners.segments import segments_of
from irlbench.data.demonstrations import Episode
from irlbench.data.preferences import Pairs, Preference, Preferences
from irlbench.errors import DataError


def item(states, actions, *, ends=False):
    last = np.arange(len(actions)) == len(actions) - 1
    return Episode(np.array(states), np.array(actions), last & ends, last & False)


LONG = item([0, 1, 2, 3], [1, 1, 2])
SHORT = item([6, 7], [3])
ENDED = item([11, 15], [2], ends=True)


def preferences(*ranks, weight=1.0):
    items = [(LONG, SHORT), (ENDED, LONG), (SHORT, ENDED)]
    return Preferences(
        tuple(Preference(i, r, "exact", weight) for i, r in zip(items, ranks, strict=True))
    )


GIVEN = preferences((0, 1), (1, 0), (0, 0))


def table(values):
    made = TableFunction(*values.shape)
    with torch.no_grad():
        made.values.copy_(torch.from_numpy(values))
    return made


def test_padding_is_behind_and_masked():
    segments = segments_of(GIVEN.pairs(), 4, "cpu")
    assert len(segments) == 3
    assert segments.observations.shape == (3, 2, 4)
    assert segments.actions.shape == segments.mask.shape == segments.terminated.shape == (3, 2, 3)
    assert segments.mask.tolist() == [
        [[1, 1, 1], [1, 0, 0]],
        [[1, 0, 0], [1, 1, 1]],
        [[1, 0, 0], [1, 0, 0]],
    ]
    assert segments.observations[0].tolist() == [[0, 1, 2, 3], [6, 7, 0, 0]]
    assert segments.terminated.nonzero().tolist() == [[1, 0, 0], [2, 1, 0]]
    assert segments.present.tolist() == [0, 1, 2, 6, 11, 0, 1, 2, 6, 11]


def test_labels_and_weights():
    segments = segments_of(preferences((0, 1), (1, 0), (0, 0), weight=2.5).pairs(), 4, "cpu")
    assert segments.first_preferred.tolist() == [1.0, 0.0, 0.5]
    assert segments.weight.tolist() == [2.5] * 3
    some = segments[torch.tensor([2, 0])]
    assert some.first_preferred.tolist() == [0.5, 1.0]
    assert some.observations.tolist() == segments.observations[[2, 0]].tolist()
    assert some.mask.tolist() == segments.mask[[2, 0]].tolist()


def test_what_functions_say_of_each_step():
    values = np.random.default_rng(0).normal(size=(16, 4))
    segments = segments_of(GIVEN.pairs(), 4, "cpu")
    chosen = segments.of_chosen(table(values))[0, 0].tolist()
    assert chosen == pytest.approx([values[0, 1], values[1, 1], values[2, 2]])
    of_states = segments.of_chosen(table(values[:, :1]))[0, 0].tolist()
    assert of_states == pytest.approx(values[:3, 0])
    log_pi = values - np.logaddexp.reduce(values, axis=1)[:, None]
    found = segments.log_prob(table(values))
    assert found.shape == (3, 2, 3)
    assert found[1, 0, 0].item() == pytest.approx(log_pi[11, 2])
    assert found[0, 0].tolist() == pytest.approx([log_pi[0, 1], log_pi[1, 1], log_pi[2, 2]])


def test_soft_values_with_the_state_that_came_next(worlds):
    world = worlds(ends=True)
    segments = segments_of(GIVEN.pairs(), 4, "cpu")
    Q, target = table(np.zeros((16, 4))), table(world.plan.Q)
    found = segments.soft_values(Q, world.temperature, target)
    V = world.temperature * np.logaddexp.reduce(world.plan.Q / world.temperature, axis=1)
    assert found.V_next[0, 0].tolist() == pytest.approx(V[[1, 2, 3]])
    assert not found.V_next.requires_grad
    assert found.V.requires_grad
    assert found.Q.requires_grad
    implied = found.reward(0.9)
    assert implied[0, 0].tolist() == pytest.approx(-0.9 * V[[1, 2, 3]])
    assert implied[1, 0].tolist() == [0.0, 0.0, 0.0], "nothing follows an end, nor padding"
    assert implied[0, 1, 0].item() == pytest.approx(-0.9 * V[7])


def test_soft_values_with_known_dynamics_are_expectations(worlds):
    world = worlds(ends=True)
    segments = segments_of(GIVEN.pairs(), 4, "cpu")
    Q, known = table(world.plan.Q), KnownDynamics(world.dynamics)
    found = segments.soft_values(Q, world.temperature, Q, known)
    expected = world.dynamics.expect(world.plan.V)
    assert found.V_next[0, 0].tolist() == pytest.approx(expected[[0, 1, 2], [1, 1, 2]], abs=1e-8)
    assert not found.terminated.any()
    # The soft-optimal Q implies the true reward, wherever a segment went by chance.
    implied = found.reward(0.9).detach().numpy()
    observations, actions = segments.observations.numpy()[:, :, :-1], segments.actions.numpy()
    wanted = world.rewards[observations, actions] * segments.mask.numpy()
    assert implied == pytest.approx(wanted, abs=1e-8)


def test_minibatches_are_drawn_by_the_generator(small_world):
    segments = segments_of(small_world.preferences(50).pairs(), 4, "cpu")
    assert segments.drawn(50, np.random.default_rng(0)) is segments
    drawn = [segments.drawn(8, np.random.default_rng(s)).actions.tolist() for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 8


def test_vectors(small_world):
    problem = small_world.problem(
        "preferences", {"preferences"}, vectors=True, preferences=small_world.preferences(5)
    )
    segments = segments_of(problem.preferences.pairs(), 4, "cpu")
    assert segments.observations.shape == (5, 2, 7, 3)
    assert segments.observations.dtype == torch.float32
    assert segments.present.shape == (int(segments.mask.sum()), 3)


def pairs_of(actions):
    """One pair whose actions are these, `[1, 2, time, ...]`."""
    shape = actions.shape[:3]
    return Pairs(
        observations=np.zeros((1, 2, shape[2] + 1), dtype=np.int64),
        actions=actions,
        terminations=np.zeros(shape, dtype=bool),
        mask=np.ones(shape, dtype=bool),
        first_preferred=np.ones(1),
        weight=np.ones(1),
    )


@pytest.mark.parametrize(
    ("actions", "message", "row"),
    [
        (np.array([[[0, 1], [4, 0]]]), "action 4, but actions are 0 to 3", 0),
        (np.array([[[0, -1], [2, 0]]]), "action -1, but actions are 0 to 3", 0),
        (np.zeros((1, 2, 2)), "one index per step is wanted, got float64", None),
        (
            np.zeros((1, 2, 2, 1), dtype=int),
            r"one index per step is wanted, .* \(1, 2, 2, 1\)",
            None,
        ),
    ],
)
def test_what_is_no_action_is_refused(actions, message, row):
    with pytest.raises(DataError, match=message) as refused:
        segments_of(pairs_of(actions), 4, "cpu")
    assert (refused.value.field, refused.value.row) == ("actions", row)
