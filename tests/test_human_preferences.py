"""`benchmarks/human_preferences.py`: what is held out as one, what is counted, and its page."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from irlbench.data.demonstrations import Episode
from irlbench.data.preferences import Preference, Preferences
from irlbench.registry import registry

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The benchmark, which is in no package and finds its parts beside itself."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module("human_preferences")
    finally:
        sys.path.pop(0)


def segment(observations, seed=0):
    """Of Hopper's shapes, with actions of its own."""
    steps = len(observations) - 1
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, 3)).astype(np.float32)
    return Episode(observations, actions, *np.zeros((2, steps), dtype=bool))


def judged(benchmark, observations, labels):
    """Pairs `[pairs, 2, time, 11]` with their labels: 1 where the first is preferred."""
    ranks = {1.0: (0, 1), 0.0: (1, 0), 0.5: (0, 0)}
    preferences = Preferences(
        tuple(
            Preference((segment(pair[0], 1), segment(pair[1], 2)), ranks[label], "human")
            for pair, label in zip(observations, labels, strict=True)
        )
    )
    pairs = preferences.pairs()
    groups, copies = benchmark.groups_of(pairs.observations), benchmark.copies_of(pairs)
    return benchmark.Judged(preferences, pairs, groups, copies, {})


def episodes(count, steps=30):
    """Long ones, of which segments are cut."""
    return np.random.default_rng(5).normal(size=(count, steps, 11))


def cut(seed, pairs, length=8):
    """Pairs of segments from few episodes, so that many overlap."""
    rng, whole = np.random.default_rng(seed), episodes(100)
    starts = rng.integers(30 - length, size=(pairs, 2))
    chosen = rng.integers(len(whole), size=(pairs, 2))
    return np.array(
        [
            [whole[e, s : s + length] for e, s in zip(*pair, strict=True)]
            for pair in zip(chosen, starts, strict=True)
        ]
    )


# --- groups, copies and folds


def test_what_overlaps_is_one_group_also_over_a_third_pair(benchmark):
    a, b, c, d, e = episodes(5)
    observations = np.array(
        [
            [a[:8], b[:8]],
            [c[:8], c[8:16]],  # one episode, nothing in common: alone
            [b[7:15], d[:8]],  # has one observation of the first pair's second segment
            [e[:8], a[8:16]],
            [e[20:28], d[:8]],  # the very segment of the third pair
        ]
    )
    assert benchmark.groups_of(observations).tolist() == [0, 1, 0, 2, 0]
    assert benchmark.groups_of(observations[[0, 1, 3, 4]]).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_no_observation_stands_on_both_sides_of_a_split(benchmark, seed):
    observations = cut(seed, 40)
    groups = benchmark.groups_of(observations)
    largest = np.bincount(groups).max()
    assert 1 < largest < 20, "these pairs overlap, and fall apart all the same"
    fold = benchmark.folds_of(groups, 4, seed)
    assert sorted(set(fold)) == [0, 1, 2, 3]
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= largest
    for number in range(4):
        held, rest = (
            {row.tobytes() for row in observations[side].reshape(-1, 11)}
            for side in (fold == number, fold != number)
        )
        assert not held & rest


def test_single_pairs_make_even_folds_that_differ_between_repeats(benchmark):
    one, other, again = (benchmark.folds_of(np.arange(23), 5, seed) for seed in (0, 1, 0))
    assert sorted(np.bincount(one)) == [4, 4, 5, 5, 5]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    with pytest.raises(ValueError, match="3 groups cannot make 4 folds"):
        benchmark.folds_of(np.array([0, 1, 2, 2, 2]), 4, 0)


def test_a_copy_is_the_same_pair_with_the_same_label(benchmark):
    first, second = cut(0, 2)
    observations = np.array([first, second, first, first[::-1], first, second])
    data = judged(benchmark, observations, [1.0, 0.5, 1.0, 0.0, 0.0, 0.5])
    assert data.copies.tolist() == [False, False, True, False, False, True]


# --- what is counted


def test_credit_is_for_the_preferred_segment_and_ties_have_none(benchmark):
    scores = np.array([[2.0, 1.0], [2.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    found = benchmark.credit_of(scores, np.array([1.0, 0.0, 1.0, 0.5]))
    assert found[:3].tolist() == [1.0, 0.0, 0.5]
    assert np.isnan(found[3])


def test_the_interval_is_that_of_groups(benchmark):
    credit = np.tile([1.0, 1.0, 1.0, 0.0], 100)
    alone = benchmark.interval(credit, np.arange(400))
    wanted = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert alone["estimate"] == 0.75
    assert alone["high"] - 0.75 == pytest.approx(wanted, rel=0.1)
    assert 0.75 - alone["low"] == pytest.approx(wanted, rel=0.1)
    # Every pair four times says no more than once: the interval is that of the hundred.
    copied = benchmark.interval(np.repeat(credit[:100], 4), np.repeat(np.arange(100), 4))
    once = benchmark.interval(credit[:100], np.arange(100))
    assert copied == pytest.approx(once)
    assert copied["high"] - copied["low"] == pytest.approx(4 * wanted, rel=0.1)


def test_ties_and_groups_of_ties_have_no_part_in_an_interval(benchmark):
    credit, groups = np.array([1.0, np.nan, 0.0, np.nan, 1.0]), np.array([0, 0, 1, 2, 3])
    found = benchmark.interval(credit, groups)
    assert found == benchmark.interval(credit[[0, 2, 4]], np.arange(3))
    assert (found["estimate"], found["low"], found["high"]) == (pytest.approx(2 / 3), 0.0, 1.0)


def test_differences_are_paired(benchmark):
    """Methods that differ on one pair alone: the interval of the difference is far narrower."""
    reference = np.tile([1.0, 0.0], 20)
    other = reference.copy()
    other[0] = 0.0
    found = benchmark.summary(
        {benchmark.REFERENCE: reference, "other": other}, np.arange(40), np.zeros(40, dtype=bool)
    )
    less = found["other"]["less_reference"]
    assert less["estimate"] == pytest.approx(-1 / 40)
    assert less["high"] == 0.0
    assert less["low"] >= -0.1
    assert found["other"]["accuracy"]["low"] < 0.35


def test_a_measure_is_turned_by_the_training_pairs(benchmark):
    scores = np.array([[1.0, 2.0]])
    assert np.array_equal(benchmark.turned(scores, np.array([1.0, 0.0, np.nan])), scores)
    assert np.array_equal(benchmark.turned(scores, np.array([1.0, 0.0, 0.0])), -scores)


# --- the whole of it


def test_predictions_are_for_pairs_that_were_held_out(benchmark, monkeypatch):
    """Who remembers only what it was given has seen nothing of what it is asked."""
    rng = np.random.default_rng(0)
    observations = cut(3, 24)
    data = judged(benchmark, observations, rng.choice([0.0, 0.5, 1.0], size=24))

    def remembering(train, pairs, seed):
        seen = {r.tobytes() for p in train for item in p.items for r in item.observations}
        known = [[any(r.tobytes() in seen for r in s) for s in p] for p in pairs.observations]
        sign = 2 * pairs.first_preferred[:, None] - 1
        return {"memory": np.where(known, sign * [1.0, -1.0], 0.0)}

    monkeypatch.setattr(benchmark, "learnt", remembering)
    found = benchmark.judge(data, repeats=2, folds=4)
    untied = data.pairs.first_preferred != 0.5
    assert found["fitted"] == {"memory": 1.0}
    assert (found["credit"]["memory"][:, untied] == 0.5).all()
    assert np.isnan(found["credit"]["memory"][:, ~untied]).all()
    for rows in found["repeats"]:
        assert sum(row["pairs"] for row in rows) == 24
        assert sum(row["untied"] for row in rows) == untied.sum()
        assert sum(row["correct"]["memory"] for row in rows) == untied.sum() / 2
    height = observations[:, :, :-1, 0].mean(axis=-1)
    wanted = (height[:, 0] > height[:, 1]) == (data.pairs.first_preferred == 1)
    for row in found["credit"]["torso height"]:
        assert np.array_equal(row[untied], wanted[untied])


def test_both_algorithms_score_by_what_they_learnt(benchmark, monkeypatch):
    """On segments of which the higher is always preferred."""
    rng = np.random.default_rng(1)
    observations = rng.normal(size=(30, 2, 10, 11))
    observations[:, 0, :, 0] += 2.0
    flipped = rng.random(30) < 0.5
    observations[flipped] = observations[flipped, ::-1]
    data = judged(benchmark, observations, np.where(flipped, 0.0, 1.0))
    short = {
        name: (algorithm, {**changed, "gradient_steps": 60, "hidden": (16,)})
        for name, (algorithm, changed) in benchmark.SETTINGS.items()
        if "50" not in name
    }
    monkeypatch.setattr(benchmark, "SETTINGS", short)
    train = Preferences(data.preferences.comparisons[:20])
    found = benchmark.learnt(train, data.pairs, seed=0)
    assert list(found) == ["bt-reward", "ipl", "ipl, policy"]
    for name in short:
        held = benchmark.credit_of(found[name], data.pairs.first_preferred)[20:]
        assert held.mean() >= 0.9, name


def test_where_there_are_no_archives_it_says_what_to_give(benchmark, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["human_preferences.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert "--data names the folder of the archives" in capsys.readouterr().err


def test_the_archives(benchmark):
    if not benchmark.DATA.exists():
        pytest.skip("the shared data sets are not here")
    data = benchmark.read(benchmark.DATA)
    record = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
    assert data.files == record["files"]
    assert data.groups.tolist() == record["groups"]
    assert np.flatnonzero(data.copies).tolist() == record["copies"] == list(range(100, 110))
    measured = benchmark.measured(data.pairs)
    for name, scores in measured.items():
        credit = benchmark.credit_of(scores, data.pairs.first_preferred)
        assert np.nanmean(credit) == record["methods"][name]["accuracy"]["estimate"]
    height = benchmark.credit_of(measured["torso height"], data.pairs.first_preferred)
    assert (np.nansum(height), (~np.isnan(height)).sum()) == (62, 81)


# --- the record and the page


def test_the_page_is_that_of_the_committed_record(benchmark):
    record = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
    assert benchmark.page(record) == benchmark.PAGE.read_text(encoding="utf-8")
    assert benchmark.written(record) == benchmark.RECORD.read_text(encoding="utf-8")


def test_the_record_agrees_with_itself(benchmark):
    record = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
    credit = {
        name: np.array([np.nan if value is None else value for value in values])
        for name, values in record["credit"].items()
    }
    copies = np.zeros(record["pairs"], dtype=bool)
    copies[record["copies"]] = True
    again = benchmark.summary(credit, np.array(record["groups"]), copies)
    for name, found in record["methods"].items():
        for column, values in found.items():
            assert again[name][column] == pytest.approx(values), (name, column)
            assert values["low"] <= values["estimate"] <= values["high"]
        by_repeat = [
            sum(row["correct"][name] for row in rows) / record["untied"]
            for rows in record["repeats"]
        ]
        assert by_repeat == pytest.approx(record["by_repeat"][name])
        assert np.mean(by_repeat) == pytest.approx(found["accuracy"]["estimate"])


def test_the_record_is_of_the_settings_here(benchmark):
    record = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
    assert list(record["algorithms"]) == list(benchmark.SETTINGS)
    for name, (algorithm, changed) in benchmark.SETTINGS.items():
        told = record["algorithms"][name]
        assert told["id"] == algorithm
        assert told["changed"] == json.loads(json.dumps(changed))
        assert told["version"] == registry().algorithm(algorithm).version
    assert len(record["repeats"]) == benchmark.REPEATS
    assert all(len(rows) == benchmark.FOLDS for rows in record["repeats"])
