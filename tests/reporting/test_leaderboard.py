"""Scores, marks and ranks."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from irlbench.metrics.statistics import t_interval
from irlbench.reporting.leaderboard import leaderboard
from irlbench.reporting.page import page
from irlbench.reporting.trials import Collection, Conflict, Trial
from irlbench.reporting.writers import to_markdown

GRID, POLE, HOPPER = "gridworld/four-rooms-v0", "control/cartpole-v0", "control/hopper-v0"


@pytest.fixture
def board(facts):
    def make(records, **collection):
        trials = [Trial(record.sealed([]), "run", Path("run")) for record in records]
        return leaderboard(Collection(trials=trials, **collection), facts)

    return make


def test_a_row_is_the_t_interval_over_normalised_seeds(board, record):
    scores = [0.9, 0.8, 1.0]
    (row,) = board([record(POLE, seed=i, score=s) for i, s in enumerate(scores)]).rows
    expected = t_interval(scores)
    assert (row.score, row.low, row.high) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )
    # cartpole's anchors: 20 and 500
    assert row.raw == pytest.approx(20 + 0.9 * 480) and row.raw_name == "return"
    assert (row.n, row.failed, row.seeds) == (3, 0, (0, 1, 2))
    assert (row.seconds, row.gradient_steps, row.demonstrations) == (3.2, 2000, 1)
    assert row.low_anchor == {"name": "random", "value": 20.0}


def test_one_seed_has_a_score_and_no_interval(board, record):
    (row,) = board([record(score=0.5)]).rows
    assert (row.n, row.low, row.high, row.raw_low) == (1, None, None, None)
    assert row.score == pytest.approx(0.5)


def test_a_failed_trial_counts_as_the_low_reference(board, record):
    found = board([record(seed=0, score=0.9), record(seed=1, score=None), record(seed=2)])
    (row,) = found.rows
    assert (row.n, row.failed) == (3, 1)
    assert row.score == pytest.approx(0.6) and row.raw == pytest.approx(20 + 0.6 * 480)
    (failure,) = found.failures
    assert failure.seed == 1 and failure.error == "ValueError: the loss is NaN"


def test_a_done_record_without_its_score_counts_as_failed(board, record):
    import dataclasses

    bare = dataclasses.replace(record(seed=1), scores={"length": 3.0})
    found = board([record(seed=0, score=1.0), bare])
    assert found.rows[0].failed == 1 and found.rows[0].score == pytest.approx(0.5)
    assert "no finite 'return'" in found.failures[0].error


def test_lower_is_better_where_the_anchors_say_so(board, record):
    regret = {
        "references": {"random": {"regret": 10.0}, "expert": {"regret": 0.0}},
        "primary": {"name": "regret", "higher_is_better": False, "low": "random", "high": "expert"},
    }
    import dataclasses

    good = dataclasses.replace(record(algorithm="good", **regret), scores={"regret": 1.0})
    bad = dataclasses.replace(record(algorithm="bad", **regret), scores={"regret": 8.0})
    rows = {row.algorithm: row for row in board([good, bad]).rows}
    assert rows["good"].score == pytest.approx(0.9) and rows["bad"].score == pytest.approx(0.2)
    assert (rows["good"].rank, rows["bad"].rank) == (1, 2)


def test_without_both_anchors_the_raw_score_stands_alone(board, record):
    (row,) = board([record(references={"random": {"return": 20.0}}, algorithm="x")]).rows
    assert row.score is None and row.low is None and row.rank is None
    assert row.raw == pytest.approx(20 + 0.9 * 480)


@pytest.mark.parametrize(
    ("task", "seeds", "provisional"),
    [(POLE, 4, True), (POLE, 5, False), (GRID, 9, True), (GRID, 10, False)],
)
def test_too_few_seeds_are_provisional(board, record, task, seeds, provisional):
    (row,) = board([record(task, seed=seed) for seed in range(seeds)]).rows
    assert row.provisional is provisional


def test_ranks_stay_within_a_track_and_leave_references_out(board, record):
    found = board(
        [
            record(GRID, "bc", score=0.5),
            record(GRID, "iq-learn", score=0.7),
            record(GRID, "mce-irl", score=0.9, track="demonstrations+dynamics"),
            record(GRID, "expert", score=1.0),
            record(GRID, "random", score=0.0),
        ]
    )
    ranks = {row.algorithm: row.rank for row in found.rows}
    assert ranks == {"iq-learn": 1, "bc": 2, "mce-irl": 1, "expert": None, "random": None}
    assert [row.algorithm for row in found.rows][-2:] == ["expert", "random"]
    assert [row.reference for row in found.rows] == [False, False, False, True, True]


def test_ranks_compare_only_what_was_given_the_same(board, record):
    found = board(
        [
            record(GRID, "bc", score=0.9, demonstrations=20),
            record(GRID, "gail", score=0.8, demonstrations=20),
            record(GRID, "bc", score=0.5, demonstrations=5),
            record(GRID, "gail", score=0.6, demonstrations=5),
            record(GRID, "gail", score=0.99, demonstrations=5, task_hash="f" * 64),
        ]
    )
    ranks = {round(row.score or 0, 2): row.rank for row in found.rows}
    assert ranks == {0.9: 1, 0.8: 2, 0.6: 1, 0.5: 2, 0.99: 1}


def test_equal_scores_share_a_rank(board, record):
    rows = board(
        [record(algorithm=name, score=s) for name, s in (("a", 0.5), ("b", 0.5), ("c", 0.25))]
    ).rows
    assert [(row.algorithm, row.rank) for row in rows] == [("a", 1), ("b", 1), ("c", 3)]


def test_what_needs_nothing_and_solves_a_task_saturates_all_its_rows(board, record):
    rows = board(
        [
            record(POLE, "gail", score=0.7),
            record(POLE, "survival", score=0.96),
            record(HOPPER, "gail", score=0.7),
            record(HOPPER, "survival", score=0.94),
            record(HOPPER, "expert", score=1.0),
        ]
    ).rows
    assert {(r.task, r.saturated_by) for r in rows} == {(POLE, ("survival",)), (HOPPER, ())}


def test_bc_saturates_its_own_setting_only(board, record):
    rows = board(
        [
            record(POLE, "bc", score=0.99),
            record(POLE, "gail", score=0.9),
            record(POLE, "gail", score=0.9, demonstrations=9),
        ]
    ).rows
    assert {(r.algorithm, r.variant): r.saturated_by for r in rows} == {
        ("bc", ""): ("bc",),
        ("gail", ""): ("bc",),
        ("gail", "9 demonstrations"): (),
    }


def test_imported_demonstrations_have_a_scale_of_their_own(board, record):
    references = {
        "random": {"return": 20.0},
        "expert": {"return": 500.0},
        "demonstrator": {"return": 260.0},
    }
    (row,) = board([record(score=0.45, references=references, demos="mine")]).rows
    assert row.score == pytest.approx(0.45)
    assert row.score_demonstrator == pytest.approx(0.9)
    (row,) = board([record(score=0.45)]).rows
    assert row.score_demonstrator is None


def test_the_best_checkpoint_stands_beside_the_final_score(board, record):
    best = {"step": 10, "scores": {"return": 20 + 0.95 * 480}}
    (row,) = board([record(score=0.5, best=best)]).rows
    assert row.score == pytest.approx(0.5) and row.best_validation == pytest.approx(0.95)


def test_a_conflict_is_marked_on_its_row_and_told(board, record):
    one = record(seed=0)
    found = board([one, record(seed=1)], conflicts=[Conflict(one.trial, ("a", "b"))])
    assert found.rows[0].conflicts == (one.trial,)
    assert "different results in a and b; those of a count" in found.notes[0]


def test_built_data_that_differ_are_told(board, record):
    made = [record(seed=s, data={"built": {"demonstrations": f"{s}" * 64}}) for s in (0, 1)]
    assert "2 different hashes" in board(made).notes[0]
    same = [record(seed=s, data={"built": {"demonstrations": "0" * 64}}) for s in (0, 1)]
    assert board(same).notes == []


@pytest.mark.parametrize("same", [True, False])
def test_a_note_on_a_task_stands_in_every_report_of_that_task_hash(facts, record, tmp_path, same):
    told = "its expert falls short: it returns 1 ± 0 over 50 episodes, and 2 was wanted"
    trials = [Trial(record(seed=seed).sealed([]), "run", Path("run")) for seed in range(2)]
    hash = trials[0].spec["task_hash"] if same else "0" * 64
    found = leaderboard(
        Collection(trials=trials), lambda task: replace(facts(task), note=told, hash=hash)
    )
    assert [row.note for row in found.rows] == [told if same else None]
    assert (told in to_markdown(found)) == (told in page(found, tmp_path)) == same


def test_shuffled_trials_change_nothing(board, record):
    records = [
        record(task, algorithm, seed, score=random.Random(f"{task}{algorithm}{seed}").random())
        for task in (GRID, POLE, HOPPER)
        for algorithm in ("bc", "gail", "random", "expert")
        for seed in range(4)
    ]
    first = board(records)
    for order in range(3):
        shuffled = list(records)
        random.Random(order).shuffle(shuffled)
        assert board(shuffled).rows == first.rows
    assert list(first.worlds) == ["gridworld", "control"]
