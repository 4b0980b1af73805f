"""Reading and merging the records of output directories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irlbench.errors import IrlbenchError, UsageError
from irlbench.reporting.trials import collect, number, source_names
from irlbench.running.record import SCHEMA


def test_reads_every_record_in_order_of_id(tmp_path, record, published):
    made = [published(tmp_path, record(seed=seed)) for seed in (2, 0, 1)]
    found = collect([tmp_path])
    assert [trial.id for trial in found.trials] == sorted(r.trial for r in made)
    assert not found.conflicts and not found.unreadable and found.merged == 0


def _costs(seconds):
    return {"steps": 0, "gradient_steps": 2000, "demonstrations": 1, "seconds": seconds}


def test_equal_results_in_two_directories_are_one_trial_whatever_time_and_machine(
    tmp_path, record, published
):
    published(tmp_path / "a", record(processor="One", costs=_costs(seconds=1.0)))
    published(tmp_path / "b", record(processor="Two", costs=_costs(seconds=9.0)))
    found = collect([tmp_path / "a", tmp_path / "b"])
    assert (len(found.trials), found.merged, found.conflicts) == (1, 1, [])


def test_other_results_under_one_id_are_a_conflict_and_the_first_directory_counts(
    tmp_path, record, published
):
    published(tmp_path / "a", record(score=0.5))
    published(tmp_path / "b", record(score=0.75))
    for order in (("a", "b"), ("b", "a")):
        found = collect([tmp_path / name for name in order])
        assert [c.sources for c in found.conflicts] == [order]
        assert len(found.trials) == 1
        assert found.trials[0].score == pytest.approx({"a": 0.5, "b": 0.75}[order[0]])


def test_a_directory_named_twice_is_read_once(tmp_path, record, published, monkeypatch):
    published(tmp_path / "a", record())
    monkeypatch.chdir(tmp_path)
    found = collect([tmp_path / "a", Path("a"), tmp_path / "b" / ".." / "a"])
    assert len(found.trials) == 1 and found.merged == 0


def test_a_damaged_record_is_left_out_and_named(tmp_path, record, published):
    good = published(tmp_path, record(seed=0))
    bad = published(tmp_path, record(seed=1))
    path = tmp_path / "trials" / bad.trial / "record.json"
    changed = json.loads(path.read_text())
    changed["scores"]["return"] = 1e6
    path.write_text(json.dumps(changed))
    found = collect([tmp_path])
    assert [trial.id for trial in found.trials] == [good.trial]
    assert len(found.unreadable) == 1
    assert bad.trial[:12] in found.unreadable[0] and "changed or damaged" in found.unreadable[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"primary": {"low": "random"}},
        {"world": None},
        {"spec": {"task": "control/cartpole-v0"}},
        {"spec": {"task": ["x"], "algorithm": "bc", "track": "t", "seed": 0}},
    ],
)
def test_a_sealed_record_of_another_shape_is_left_out_and_named(
    tmp_path, record, published, forged, changes
):
    published(tmp_path, record(seed=0))
    forged(tmp_path, record(seed=1), **changes)
    found = collect([tmp_path])
    assert len(found.trials) == 1 and len(found.unreadable) == 1


def test_a_newer_schema_is_said_at_once(tmp_path, record, published):
    published(tmp_path, record())
    (tmp_path / "irlbench.json").write_text(json.dumps({"schema": SCHEMA + 1}))
    with pytest.raises(IrlbenchError, match="update irlbench"):
        collect([tmp_path])


def test_refuses_directories_without_records(tmp_path, record, published):
    with pytest.raises(UsageError, match="no directory of irlbench records"):
        collect([tmp_path / "nowhere"])
    published(tmp_path, record())
    (next((tmp_path / "trials").iterdir()) / "record.json").unlink()
    with pytest.raises(UsageError, match="no finished trial"):
        collect([tmp_path])
    with pytest.raises(UsageError, match="name a directory"):
        collect([])


def test_directories_of_one_name_are_told_apart_by_what_stands_before():
    places = [Path("/x/a/quick"), Path("/x/b/quick"), Path("/x/b/full")]
    assert source_names(places) == ["a/quick", "b/quick", "b/full"]
    assert source_names(places[1:]) == ["quick", "full"]


@pytest.mark.parametrize("value", [True, None, "1", float("nan"), float("inf"), 1e200, [1.0]])
def test_no_number(value):
    assert number(value) is None


def test_numbers():
    assert number(3) == 3.0 and number(-0.5) == -0.5
