"""Learning curves read from records."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.reporting.curves import MOST_POINTS, longest, read_curves, thinned
from irlbench.reporting.trials import collect


def test_reads_the_validation_scores_of_the_primary_measure(tmp_path, record, published):
    published(tmp_path, record(seed=4), [(10, 0.25), (20, 0.5), (30, 0.75)])
    curves, problems = read_curves(collect([tmp_path]).trials)
    assert problems == []
    (curve,) = curves
    assert curve.seed == 4
    assert curve.steps.tolist() == [10, 20, 30]
    assert curve.scores == pytest.approx([0.25, 0.5, 0.75])
    assert longest(curves) == 30


def test_a_trial_without_points_has_no_curve(tmp_path, record, published):
    published(tmp_path, record(seed=0))
    assert read_curves(collect([tmp_path]).trials) == ([], [])


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but nothing else", b"PAR1" * 100])
def test_a_curve_that_cannot_be_read_is_told_and_the_others_stay(
    tmp_path, record, published, content
):
    made = [published(tmp_path, record(seed=s), [(1, 0.5)]) for s in (0, 1)]
    path = tmp_path / "trials" / made[0].trial / "curve.parquet"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    curves, problems = read_curves(collect([tmp_path]).trials)
    assert [curve.seed for curve in curves] == [1]
    assert len(problems) == 1 and made[0].trial[:12] in problems[0]
    assert str(tmp_path.parent) not in problems[0], "an absolute path in a report"


@pytest.mark.parametrize(
    "columns",
    [
        {"step": [1], "value": [0.5]},
        {"step": ["a"], "kind": ["validation"], "name": ["return"], "value": ["b"]},
        {"step": [1], "kind": [7], "name": [None], "value": [0.5]},
    ],
)
def test_a_curve_of_another_form_is_told(tmp_path, record, published, columns):
    import polars

    made = published(tmp_path, record(), [(1, 0.5)])
    path = tmp_path / "trials" / made.trial / "curve.parquet"
    polars.DataFrame(columns).write_parquet(path)
    curves, problems = read_curves(collect([tmp_path]).trials)
    assert curves == [] and len(problems) == 1


def test_values_that_are_not_finite_are_no_points(tmp_path, record, published):
    published(tmp_path, record(), [(1, 0.5), (2, float("nan")), (3, float("inf")), (4, 1.0)])
    ((curve,), _) = read_curves(collect([tmp_path]).trials)
    assert curve.steps.tolist() == [1, 4]


def test_long_curves_are_thinned_and_keep_their_ends(tmp_path, record, published):
    published(tmp_path, record(), [(step, 0.5) for step in range(1, 1001)])
    ((curve,), _) = read_curves(collect([tmp_path]).trials)
    assert len(curve.steps) == MOST_POINTS
    assert (curve.steps[0], curve.steps[-1]) == (1, 1000)
    assert np.all(np.diff(curve.steps) > 0)


@pytest.mark.parametrize("points", [0, 1, 2, 59, 60, 61, 10_000])
def test_thinning(points):
    kept = thinned(points, 60)
    assert len(kept) == min(points, 60) == len(set(kept.tolist()))
