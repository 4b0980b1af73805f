"""Counter-based random numbers: known values, uniform, independent, and apart from batching."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irlbench.randomness import (
    RowGenerator,
    generator_state,
    restore_generator,
    row_keys,
    sample_categorical,
    uniforms,
)

MASK = 2**64 - 1
FROZEN_KEYS = [13980542158659120529, 14481765734688048519, 10593218217028219875]
FROZEN_UNIFORMS = [0.7484521135163047, 0.3024838645631095, 0.21379644825966593]


def mix(word: int) -> int:
    """The finaliser of SplitMix64, in Python integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def test_the_finaliser_is_that_of_splitmix64():
    """The first outputs of SplitMix64 seeded with 1234567 (Rosetta Code's published values)."""
    golden = 0x9E3779B97F4A7C15
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [mix((1234567 + golden * n) & MASK) for n in (1, 2, 3)] == published
    found = uniforms(np.array([1234567], dtype=np.uint64), np.array([1, 2, 3]))
    assert found.tolist() == [(word >> 11) / 2**53 for word in published]


def test_frozen_values():
    """Data and results hang on these numbers: they must never change."""
    keys = row_keys(np.array([0, 1, 2**30]), stream=1)
    assert keys.tolist() == FROZEN_KEYS
    assert uniforms(keys, 5).tolist() == FROZEN_UNIFORMS


def test_numbers_lie_in_the_unit_interval_and_are_uniform():
    found = uniforms(row_keys(np.arange(500))[:, None], np.arange(400)).ravel()
    assert found.min() >= 0.0 and found.max() < 1.0
    counts = np.histogram(found, bins=200, range=(0, 1))[0]
    expected = found.size / 200
    assert ((counts - expected) ** 2 / expected).sum() < 199 + 4 * np.sqrt(2 * 199)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, 0), (0, 1)),  # neighbouring counters
        ((0, 0), (1, 0)),  # neighbouring seeds
        ((0, 0), (1, 1)),
        ((0, 0), (0, 2**32)),  # the next episode
    ],
)
def test_neighbours_are_independent(first, second):
    seeds, counters = np.arange(0, 400, 2)[:, None], np.arange(0, 400, 2)

    def draw(shift):
        return uniforms(row_keys((seeds + shift[0]).ravel())[:, None], counters + shift[1])

    pairs = (draw(first).ravel() * 8).astype(int) * 8 + (draw(second).ravel() * 8).astype(int)
    counts = np.bincount(pairs, minlength=64)
    expected = pairs.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 4 * np.sqrt(2 * 63)


def test_streams_of_one_seed_are_independent():
    keys = [row_keys(np.arange(200), stream) for stream in (0, 1)]
    draws = [uniforms(k[:, None], np.arange(200)).ravel() for k in keys]
    assert abs(np.asarray(np.corrcoef(draws))[0, 1]) < 4 / np.sqrt(draws[0].size)


def test_seeds_and_streams_do_not_collide():
    seeds = np.concatenate([np.arange(20_000), 2**30 + np.arange(20_000)])
    keys = np.concatenate([row_keys(seeds, stream) for stream in range(3)])
    assert len(np.unique(keys)) == len(keys)


def test_a_row_draws_the_same_in_any_batch():
    seeds = np.array([7, 3, 12])
    together = RowGenerator(seeds, stream=1)
    apart = [RowGenerator(seeds[i : i + 1], stream=1) for i in range(3)]
    for columns in (1, 3, 2):
        whole = together.uniform(columns)
        assert whole.shape == (3, columns)
        assert np.array_equal(whole, np.concatenate([g.uniform(columns) for g in apart]))
    assert len(together) == 3


def test_columns_are_successive_numbers():
    one_by_one, at_once = RowGenerator(np.array([4])), RowGenerator(np.array([4]))
    assert [one_by_one.uniform()[0, 0] for _ in range(4)] == at_once.uniform(4)[0].tolist()


def test_categories_by_hand():
    probabilities = np.array([[0.2, 0.0, 0.8]] * 5)
    uniform = np.array([0.0, 0.1999, 0.2, 0.9, 1 - 2**-53])
    assert sample_categorical(probabilities, uniform).tolist() == [0, 0, 2, 2, 2]


def test_categories_of_probability_zero_are_never_drawn():
    probabilities = np.array([[0.0, 0.5, 0.0, 0.5, 0.0]])
    uniform = np.concatenate([[0.0], uniforms(row_keys(np.arange(1000)), 0), [1 - 2**-53]])
    found = sample_categorical(np.repeat(probabilities, len(uniform), axis=0), uniform)
    assert set(found.tolist()) == {1, 3}


def test_rounding_of_the_sum_draws_no_impossible_category():
    """Ten times 0.1 sums to the largest number below 1, which is also the largest to be drawn."""
    probabilities = np.array([[0.1] * 10 + [0.0]])
    largest = 1 - 2**-53
    assert probabilities.cumsum()[-1] == largest
    assert sample_categorical(probabilities, np.array([largest])).tolist() == [9]


def _draw(generator, draws):
    for kind in draws:
        yield {
            "float": generator.random,
            "half": lambda: int(generator.integers(10, dtype=np.uint32)),  # keeps the other half
            "normal": generator.normal,
            "many": lambda: generator.integers(1000, size=3).tolist(),
        }[kind]()


_DRAWS = st.lists(st.sampled_from(["float", "half", "normal", "many"]), max_size=8)


@given(st.integers(0, 2**64), _DRAWS, _DRAWS)
def test_a_generator_put_back_draws_the_same_numbers(seed, before, after):
    generator = np.random.default_rng(seed)
    list(_draw(generator, before))
    state = generator_state(generator)
    assert state.dtype == np.uint64 and state.shape == (6,)
    wanted = list(_draw(generator, after))
    other = np.random.default_rng(1)
    restore_generator(other, state)
    assert list(_draw(other, after)) == wanted
    assert np.array_equal(generator_state(other), generator_state(generator))


def test_only_generators_of_the_usual_kind_are_kept():
    with pytest.raises(TypeError, match="MT19937"):
        generator_state(np.random.Generator(np.random.MT19937(0)))
