"""Figures that tasks draw of themselves: from which records, where they go, what is left out."""

from __future__ import annotations

import base64
import shutil
from dataclasses import asdict
from xml.etree import ElementTree

import numpy as np
import pytest

from irlbench.policies.table import TablePolicy
from irlbench.registry import registry
from irlbench.reporting import report
from irlbench.rewards.table import TableReward
from irlbench.task import ShownSolution, TaskFigure

TASK = "gridworld/early-termination-v0"
FILE = "figures/gridworld-early-termination-v0.svg"
ENDS = TablePolicy(np.array([[0.0, 0.0], [0.0, 3.0], [0.0, 0.0]]))
REWARD = TableReward(-np.ones(3))


@pytest.fixture
def trial(tmp_path, record, published):
    """Publishes a trial of the installed task in tmp_path/run."""

    def publish(algorithm="bc", seed=0, score=0.9, task=TASK, policy=ENDS, reward=None, **spec):
        installed = registry().task(task)
        spec = {"task_hash": installed.hash, "budget": asdict(installed.info.budget), **spec}
        made = record(task, algorithm, seed, score, **spec)
        return published(tmp_path / "run", made, None, policy, reward)

    return publish


@pytest.fixture
def drawn(monkeypatch):
    """What the task was asked to draw, in place of a picture."""
    asked: list[ShownSolution] = []

    def figure(self, solutions):
        asked.extend(solutions)
        return TaskFigure("<svg xmlns='http://www.w3.org/2000/svg'/>")

    monkeypatch.setattr(type(registry().task(TASK)), "figure", figure)
    return asked


def texts(svg):
    """The words of a picture, and the tags in it."""
    root = ElementTree.fromstring(svg)
    tags = {node.tag.rpartition("}")[2] for node in root.iter()}
    return [node.text for node in root.iter() if node.tag.endswith("}text")], tags


def test_the_figure_is_a_file_on_the_page_and_linked(trial, tmp_path):
    trial("bc")
    trial("mce-irl", reward=REWARD)
    summary = report([tmp_path / "run"])
    path = summary.out / FILE
    assert path in summary.files and not summary.notes
    words, _ = texts(path.read_text(encoding="utf-8"))
    assert {"true reward", "expert", "bc", "mce-irl", "no reward learnt"} <= set(words)
    assert "score 0.90, reward distance 0.00" in words
    page = summary.page.read_text(encoding="utf-8")
    content = base64.b64encode(path.read_bytes()).decode()
    assert f'src="data:image/svg+xml;base64,{content}"' in page
    assert f'href="{FILE}"' in page and "img-src data:" in page
    assert f"([figure]({FILE}))" in (summary.out / "leaderboard.md").read_text(encoding="utf-8")


def test_records_without_their_policies_have_no_figure(trial, tmp_path):
    trial(policy=None)
    made = trial("mce-irl")
    for file in ("policy.json", "policy.safetensors"):
        (tmp_path / "run" / "trials" / made.trial / file).unlink()
    summary = report([tmp_path / "run"])
    assert not summary.notes and "<img" not in summary.page.read_text(encoding="utf-8")
    assert [path.name for path in (summary.out / "figures").iterdir()] == ["leaderboard.svg"]


def test_they_keep_the_figure_of_them_that_is_there(trial, tmp_path):
    made = trial()
    first = report([tmp_path / "run"], tmp_path / "results")
    whole = (first.out / FILE).read_bytes()
    for path in (tmp_path / "run" / "trials" / made.trial).glob("policy.*"):
        path.unlink()
    again = report([tmp_path / "run"], tmp_path / "results")
    assert again.out / FILE in again.files and (again.out / FILE).read_bytes() == whole
    assert "<img" in again.page.read_text(encoding="utf-8")


def test_a_figure_of_other_trials_is_not_theirs(trial, tmp_path):
    made = trial()
    first = report([tmp_path / "run"], tmp_path / "results")
    shutil.rmtree(tmp_path / "run" / "trials" / made.trial)
    for path in (tmp_path / "run" / "trials" / trial(seed=1).trial).glob("policy.*"):
        path.unlink()
    again = report([tmp_path / "run"], tmp_path / "results")
    assert first.out / FILE in first.files and again.out / FILE not in again.files
    assert "<img" not in again.page.read_text(encoding="utf-8")


def test_a_link_in_place_of_the_figure_is_not_followed(trial, tmp_path):
    made = trial()
    first = report([tmp_path / "run"], tmp_path / "results")
    (first.out / FILE).rename(tmp_path / "elsewhere.svg")
    (first.out / FILE).symlink_to(tmp_path / "elsewhere.svg")
    for path in (tmp_path / "run" / "trials" / made.trial).glob("policy.*"):
        path.unlink()
    again = report([tmp_path / "run"], tmp_path / "results")
    assert again.out / FILE not in again.files


@pytest.mark.parametrize("file", ["policy.safetensors", "policy.json", "reward.safetensors"])
def test_a_damaged_file_is_noted_and_the_others_are_drawn(trial, tmp_path, file):
    trial("bc")
    made = trial("mce-irl", reward=REWARD)
    path = tmp_path / "run" / "trials" / made.trial / file
    path.write_bytes(path.read_bytes() + b" ")
    summary = report([tmp_path / "run"])
    (note,) = summary.notes
    assert made.trial[:12] in note and file in note and TASK in note
    words, _ = texts((summary.out / FILE).read_text(encoding="utf-8"))
    assert "bc" in words and "mce-irl" not in words


def test_a_missing_reward_is_noted(trial, tmp_path):
    made = trial("mce-irl", reward=REWARD)
    (tmp_path / "run" / "trials" / made.trial / "reward.json").unlink()
    summary = report([tmp_path / "run"])
    (note,) = summary.notes
    assert "reward.json" in note and str(tmp_path) not in note
    assert summary.out / FILE not in summary.files


def test_a_policy_of_another_shape_is_noted(trial, tmp_path):
    trial("bc")
    trial("gail", policy=TablePolicy(np.zeros((5, 2))))
    summary = report([tmp_path / "run"])
    (note,) = summary.notes
    assert "gail" in note and "(5, 2)" in note
    assert summary.out / FILE in summary.files


def test_where_nothing_can_be_drawn_there_is_no_figure(trial, tmp_path):
    trial("gail", policy=TablePolicy(np.zeros((5, 2))))
    summary = report([tmp_path / "run"])
    assert len(summary.notes) == 1 and summary.out / FILE not in summary.files


def test_a_task_that_cannot_draw_costs_the_report_its_figure_only(trial, tmp_path, monkeypatch):
    def figure(self, solutions):
        raise RuntimeError("no ink")

    monkeypatch.setattr(type(registry().task(TASK)), "figure", figure)
    trial()
    summary = report([tmp_path / "run"])
    (note,) = summary.notes
    assert "no ink" in note and summary.page.exists()


def test_tasks_of_other_worlds_draw_nothing(trial, tmp_path):
    trial(task="control/cartpole-v0")
    summary = report([tmp_path / "run"])
    assert not summary.notes
    assert [path.name for path in (summary.out / "figures").iterdir()] == ["leaderboard.svg"]


def test_records_of_another_version_of_the_task_are_not_drawn(trial, tmp_path, drawn):
    trial(task_hash="0" * 64)
    report([tmp_path / "run"])
    assert not drawn


def test_reference_rows_are_not_drawn(trial, tmp_path, drawn):
    trial("random")
    report([tmp_path / "run"])
    assert not drawn


def test_the_seed_of_median_score_is_drawn(trial, tmp_path, drawn):
    for seed, score in enumerate([0.5, 0.1, None, 0.9, 0.7]):
        trial(seed=seed, score=score, policy=None if score is None else ENDS)
    report([tmp_path / "run"])
    (shown,) = drawn
    assert shown.score == pytest.approx(0.5)


def test_one_column_per_algorithm_and_track_by_its_defaults(trial, tmp_path, drawn):
    trial("bc", score=0.9, demonstrations=5)
    trial("bc", score=0.2)
    trial("gail", score=0.8, changed={"rate": 1}, config={"rate": 1})
    trial("gail", score=0.3, track="demonstrations+interaction")
    report([tmp_path / "run"])
    assert [(shown.label, round(shown.score or 0, 6), shown.note) for shown in drawn] == [
        ("gail", 0.8, "rate=1"),
        ("bc", 0.2, ""),
        ("gail", 0.3, "demonstrations+interaction"),
    ]


def test_more_than_can_be_taken_in_is_said(trial, tmp_path, drawn, monkeypatch):
    monkeypatch.setattr("irlbench.reporting.task_figures.MOST_SOLUTIONS", 2)
    for name, score in (("a", 0.3), ("b", 0.2), ("c", 0.1)):
        trial(name, score=score)
    summary = report([tmp_path / "run"])
    assert [shown.label for shown in drawn] == ["a", "b"]
    assert [note for note in summary.notes if "the first 2 of 3" in note and TASK in note]


def test_a_nasty_name_is_text_in_the_figure(trial, tmp_path):
    nasty = "</text><script>alert(1)</script>$\\frac{x$\x1b[31m&"
    trial(nasty, track=nasty)
    trial(nasty, track="demonstrations")
    summary = report([tmp_path / "run"])
    words, tags = texts((summary.out / FILE).read_text(encoding="utf-8"))
    assert not tags & {"script", "a", "foreignObject", "iframe"}
    assert [word for word in words if word and word.startswith("</text><script>")]
    assert "<script" not in summary.page.read_text(encoding="utf-8")
