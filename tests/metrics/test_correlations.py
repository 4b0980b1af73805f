"""Correlations are scipy's, and undefined where nothing varies; pairs are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from irlbench.metrics.correlations import pair_accuracy, pearson, spearman


@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_of_scipy_ties_too(seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 6, size=50) * 1e6
    second = first * 1e-9 + rng.normal(size=50) * 0.002
    assert pearson(first, second) == pytest.approx(stats.pearsonr(first, second)[0])
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second)[0])
    assert pearson(first, 3 * first - 2) == pytest.approx(1)
    assert spearman(first, -(first**3)) == pytest.approx(-1)


@pytest.mark.parametrize("constant", [np.zeros(5), np.full(5, 0.1), np.full(5, 1e9)])
def test_what_does_not_vary_has_none(constant):
    other = np.arange(5.0)
    for correlation in (pearson, spearman):
        assert correlation(constant, other) is None
        assert correlation(other, constant) is None


def test_pairs_by_hand():
    true = np.array([1.0, 2.0, 3.0, 3.0])
    pairs = np.array([[0, 1], [1, 0], [0, 2], [3, 1], [2, 3]])
    assert pair_accuracy(true, true, pairs) == 1
    assert pair_accuracy(-true, true, pairs) == 0
    assert pair_accuracy(np.zeros(4), true, pairs) == 0.5
    # Right about the first two pairs, wrong about the third, none about the fourth.
    assert pair_accuracy(np.array([1.0, 2.0, 0.0, 2.0]), true, pairs) == (1 + 1 + 0 + 0.5) / 4
    assert pair_accuracy(true, np.ones(4), pairs) is None
