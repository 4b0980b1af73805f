"""Old records get new scores beside them, and stay what they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import irlbench
from irlbench.cli import main
from irlbench.errors import DataError
from irlbench.registry import registry
from irlbench.reporting import report
from irlbench.reporting.export import export
from irlbench.reward import save_reward
from irlbench.rewards.table import TableReward
from irlbench.running.rescoring import RESCORED, read_rescored, rescore
from irlbench.running.store import Store
from irlbench.serialisation import read_json
from irlbench.task import TaskOptions
from tests.running.test_golden_records import GOLDEN, METRICS, TRIALS

PLUGIN = Path(__file__).with_name("toy_plugin.py")
#: The record of schema 1 tells of no scores of rewards; its reward is that of schema 2.
OLD, GAP = TRIALS[1][0], METRICS[2]["gap"]


@pytest.fixture(autouse=True)
def _toys():
    registry().load_plugin(PLUGIN)


@pytest.fixture
def old(tmp_path):
    """A directory that was written when there were no scores of rewards."""
    shutil.copytree(GOLDEN / "schema-1", tmp_path / "old")
    return tmp_path / "old"


def silent(line: str) -> None:
    """Nobody listens."""


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_record_that_lacks_scores_gets_them_beside_it(old):
    before, told = contents(old), []
    found = rescore(old, told.append)
    assert (found.done, found.complete, found.failed, found.left_out) == (1, 0, {}, {})
    assert told == ["gridworld/toy-v0 toy/good seed 0: gap 0.8955"]
    later = read_rescored(old)[OLD]
    assert later.metrics == {"gap": pytest.approx(GAP, rel=1e-12)}
    assert later.content_hash == Store(old).read(OLD).content_hash
    assert read_json(old / RESCORED)["irlbench"]["version"] == irlbench.__version__
    after = contents(old)
    del after[old / RESCORED]
    assert after == before


def test_reports_tables_and_exports_hold_them(old, tmp_path):
    rescore(old, silent)
    gaps = irlbench.load_results(old).sort("status")["metric.gap"].to_list()
    assert gaps == [pytest.approx(GAP), None]
    export([old], tmp_path / "out")
    for folder in (old, tmp_path / "out"):
        summary = report([folder], tmp_path / "report")
        (row,) = [row for row in summary.board.rows if row.algorithm == "toy/good"]
        assert row.metrics["gap"]["mean"] == pytest.approx(GAP)
        (note,) = summary.notes
        assert note.startswith("Scores of 1 learnt reward were computed after their trials")
    assert read_rescored(tmp_path / "out") == read_rescored(old)


def test_what_is_sealed_counts_and_is_not_computed_again(tmp_path):
    out = tmp_path / "new"
    shutil.copytree(GOLDEN / "schema-2", out)
    trial = TRIALS[2][0]
    found = rescore(out, silent)
    assert (found.done, found.complete) == (0, 1) and not (out / RESCORED).exists()
    other = {"content_hash": Store(out).read(trial).content_hash, "metrics": {"gap": -7.0}}
    (out / RESCORED).write_text(json.dumps({"schema": 1, "irlbench": {}, "trials": {trial: other}}))
    gaps = irlbench.load_results(out).sort("status")["metric.gap"].to_list()
    assert gaps == [METRICS[2]["gap"], None]
    rescore(out, silent)
    assert not (out / RESCORED).exists()


def test_scores_of_another_result_do_not_count(old):
    rescore(old, silent)
    value = read_json(old / RESCORED)
    value["trials"][OLD]["content_hash"] = "0" * 64
    (old / RESCORED).write_text(json.dumps(value))
    assert "metric.gap" not in irlbench.load_results(old).columns


def test_what_cannot_be_scored_is_said_and_does_not_keep_the_others(old, monkeypatch, capsys):
    def no_good(self, reward):
        raise ValueError("no reward of mine")

    task = registry().task("gridworld/toy")
    monkeypatch.setattr(type(task.evaluator(TaskOptions(), old)), "evaluate_reward", no_good)
    assert main(["rescore", str(old)]) == 1
    assert "toy/good seed 0: ValueError: no reward of mine" in capsys.readouterr().err
    assert not (old / RESCORED).exists()


def test_a_reward_that_was_changed_is_not_scored(old):
    save_reward(TableReward(np.array([[0.0, 9.0]] * 3)), Store(old).folder(OLD))
    (reason,) = rescore(old, silent).failed.values()
    assert "changed or damaged" in reason


def test_records_of_another_task_are_left_out(old, monkeypatch, capsys):
    task = registry().task("gridworld/toy")
    monkeypatch.setitem(vars(task), "hash", "0" * 64)
    assert main(["rescore", str(old)]) == 0
    said = capsys.readouterr()
    assert "1 trial left out: gridworld/toy-v0 is another task by now" in said.err
    assert "0 rewards scored" in said.out


def test_the_command_says_what_it_did(old, capsys):
    assert main(["rescore", str(old), "--plugin", str(PLUGIN)]) == 0
    assert "1 reward scored, 0 had every score already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "schema None"),
        ('{"schema": 2, "trials": {}}', "schema 2"),
        ('{"schema": 1, "trials": {"a": {}}}', "no scores by trial"),
        (
            json.dumps(
                {
                    "schema": 1,
                    "trials": {OLD: {"content_hash": "0" * 64, "metrics": {"gap": "1"}}},
                }
            ),
            "no scores by trial",
        ),
        ("[", "is no JSON"),
    ],
)
def test_damaged_scores_are_left_out_with_a_note(old, tmp_path, text, told):
    (old / RESCORED).write_text(text)
    with pytest.raises(DataError, match=told):
        rescore(old, silent)
    (note,) = report([old], tmp_path / "report").notes
    assert note.startswith("Left out, unreadable") and told in note
