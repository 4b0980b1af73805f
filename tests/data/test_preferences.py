"""Preferences: what a comparison may be, equal draws, and pairs as padded arrays."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.data.demonstrations import Episode, TokenEpisode
from irlbench.data.preferences import Preference, Preferences
from irlbench.errors import DataError


def episode(states, terminated=False, actions=None):
    """Through these states; actions are 10 times the state they are taken in."""
    states = np.array(states)
    last = np.arange(len(states) - 1) == len(states) - 2
    actions = 10 * states[:-1] if actions is None else actions
    return Episode(states, actions, last & terminated, last & (not terminated))


def tokens(*ids):
    return TokenEpisode(np.array(ids, dtype=np.int32), 1, np.arange(len(ids)) > 0, "stop")


def many(count):
    return Preferences(
        tuple(Preference((episode([i, 1]), episode([2, 3])), (0, 1), "me") for i in range(count))
    )


def firsts(preferences):
    return [int(comparison.items[0].observations[0]) for comparison in preferences]


# --- comparisons


@pytest.mark.parametrize(
    ("items", "ranks", "weight", "message"),
    [
        ((episode([1, 2]),), (0,), 1.0, "at least two items, got 1"),
        ((episode([1, 2]), episode([1, 2])), (0, 1, 2), 1.0, "2 items, but 3 ranks"),
        ((episode([1, 2]), episode([1, 2])), (1, 2), 1.0, r"ranks begin with 0.*\(1, 2\)"),
        ((episode([1, 2]), episode([1, 2])), (0, -1), 1.0, r"ranks begin with 0.*\(0, -1\)"),
        ((episode([1, 2]), tokens(1, 2)), (0, 1), 1.0, "all episodes, or all token episodes"),
        ((episode([1, 2]), episode([1, 2])), (0, 1), 0.0, "field 'weight': .*got 0"),
        ((episode([1, 2]), episode([1, 2])), (0, 1), float("nan"), "field 'weight': .*got nan"),
    ],
)
def test_what_is_no_comparison_is_refused(items, ranks, weight, message):
    with pytest.raises(DataError, match=message):
        Preference(items, ranks, "me", weight)


def test_items_of_two_kinds_are_refused():
    one = Preference((episode([1, 2]), episode([1, 2])), (0, 1), "me")
    other = Preference((tokens(1, 2), tokens(1, 2)), (0, 1), "me")
    with pytest.raises(DataError, match="all episodes, or all token episodes"):
        Preferences((one, other))


def test_what_is_shown_is_short():
    found = Preference((episode([1, 2]), episode([1, 2, 3])), (1, 0), "me")
    assert repr(found) == "Preference(steps=1/2, ranks=(1, 0), annotator='me')"
    assert repr(Preferences((found,))) == "Preferences(comparisons=1, steps=3)"
    pairs = Preferences((found,)).pairs()
    assert repr(pairs) == "Pairs(pairs=1, time=2, observations=(1, 2, 3), actions=(1, 2, 2))"


# --- segments


def test_a_segment_keeps_what_its_steps_led_to_and_the_flags_of_its_episode():
    whole = episode([4, 5, 6, 7], terminated=True)
    middle, end = whole.segment(0, 2), whole.segment(1, 3)
    assert middle.observations.tolist() == [4, 5, 6] and middle.actions.tolist() == [40, 50]
    assert not middle.terminations.any() and not middle.truncations.any()
    assert end.observations.tolist() == [5, 6, 7]
    assert end.terminations.tolist() == [False, True]


# --- draws


def test_a_seed_draws_the_same_and_smaller_draws_begin_larger_ones():
    pool = many(50)
    drawn = firsts(pool.draw(20, seed=3))
    assert len(set(drawn)) == 20
    assert firsts(pool.draw(20, seed=3)) == drawn
    assert firsts(pool.draw(5, seed=3)) == drawn[:5]
    assert firsts(pool.draw(20, seed=4)) != drawn
    assert firsts(pool.draw(None, seed=3)) == list(range(50))


@pytest.mark.parametrize("count", [0, -1, 51])
def test_more_than_there_are_cannot_be_drawn(count):
    with pytest.raises(DataError, match=f"{count} preferences asked for, 50 there are"):
        many(50).draw(count, seed=0)


def test_a_draw_keeps_where_it_is_from():
    pool = Preferences(many(3).comparisons, {"id": "x"})
    assert pool.draw(2, 0).provenance == {"id": "x"}


# --- pairs


def test_pairs_are_padded_behind():
    short, long = episode([1, 2], terminated=True), episode([3, 4, 5, 6])
    pairs = Preferences(
        (
            Preference((short, long), (0, 1), "me"),
            Preference((long, long), (0, 0), "me", weight=0.5),
            Preference((long, short), (1, 0), "me"),
        )
    ).pairs()
    assert len(pairs) == 3
    assert pairs.observations[0].tolist() == [[1, 2, 0, 0], [3, 4, 5, 6]]
    assert pairs.actions[0].tolist() == [[10, 0, 0], [30, 40, 50]]
    assert pairs.terminations[0].tolist() == [[True, False, False], [False] * 3]
    assert pairs.mask[0].tolist() == [[True, False, False], [True] * 3]
    assert np.array_equal(pairs.observations[2], pairs.observations[0, ::-1])
    assert pairs.first_preferred.tolist() == [1.0, 0.5, 0.0]
    assert pairs.weight.tolist() == [1.0, 0.5, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        pairs.mask[0] = True


def test_pairs_of_vectors_keep_their_type():
    one = Episode(np.ones((3, 4), np.float32), np.ones((2, 2), np.float32), *np.zeros((2, 2), bool))
    pairs = Preferences((Preference((one, one.segment(0, 1)), (0, 1), "me"),)).pairs()
    assert pairs.observations.shape == (1, 2, 3, 4) and pairs.observations.dtype == np.float32
    assert pairs.actions.shape == (1, 2, 2, 2)
    assert pairs.observations[0, 1].sum(axis=1).tolist() == [4, 4, 0]


def test_a_ranking_gives_all_of_its_pairs():
    items = tuple(episode([i, 9]) for i in range(3))
    pairs = Preferences(
        (
            Preference((items[0], items[1]), (0, 1), "me"),
            Preference(items, (2, 0, 2), "me", weight=2.0),
        )
    ).pairs()
    compared = pairs.observations[:, :, 0].tolist()
    assert compared == [[0, 1], [0, 1], [0, 2], [1, 2]]
    assert pairs.first_preferred.tolist() == [1.0, 0.0, 0.5, 1.0]
    assert pairs.weight.tolist() == [1.0, 2.0, 2.0, 2.0]


def _watched():
    both = np.array([1, 2]), None, np.array([False]), np.array([True])
    return Episode(*both)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((tokens(1, 2), tokens(1, 2)), "token episodes have no fixed-size"),
        ((_watched(), _watched()), "field 'actions': .*observations only"),
        (
            (episode([1, 2]), episode([1.0, 2.0], actions=np.array([3]))),
            "field 'observations', row 1: float64 of shape .* beside int64",
        ),
    ],
)
def test_what_has_no_arrays_of_one_shape_is_refused(items, message):
    with pytest.raises(DataError, match=message):
        Preferences((Preference(items, (0, 1), "me"),)).pairs()


def test_no_preferences_give_no_pairs():
    with pytest.raises(DataError, match="there are no preferences"):
        Preferences(()).pairs()
