"""Records of every schema that was ever written are read, for good.

`golden/schema-<N>` is the output directory of a run, made once in a clean checkout by

    irlbench run gridworld/toy --plugin tests/running/toy_plugin.py \
        --algorithms toy/good,toy/raises --seeds 1 --out tests/running/golden/schema-<N>

A new schema gets a directory of its own; those of older ones stay as they are.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from irlbench.cli import main
from irlbench.errors import DataError, UsageError
from irlbench.reporting import report
from irlbench.running import record as record_module
from irlbench.running.reading import load_results, load_trial
from irlbench.running.record import SCHEMA, UPGRADES, Record
from irlbench.running.store import Store
from irlbench.serialisation import read_json, sha256_json

GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = list(range(1, SCHEMA + 1))
DONE = "6447755ffde065609c6f7f5a5152f675a0ae353280b92a141afc3b2973acf94a"
FAILED = "553ae010c4271c1aae139533f1fe7725b9573f73579b4954a7edb8c8baa4543e"
RETURN = 7.10014897840018


@pytest.fixture(params=SCHEMAS)
def golden(request):
    """The output directory of one schema, as it was written."""
    return GOLDEN / f"schema-{request.param}"


@pytest.fixture
def copy(golden, tmp_path):
    """A copy that may be changed."""
    out = tmp_path / "out"
    shutil.copytree(golden, out)
    return out


def test_there_is_one_of_every_schema_and_a_way_up_from_each():
    assert sorted(p.name for p in GOLDEN.iterdir()) == [f"schema-{n}" for n in SCHEMAS]
    assert sorted(UPGRADES) == SCHEMAS[:-1]


def test_every_file_is_as_it_was_written(golden):
    store = Store(golden)
    store.open_for_reading()
    assert store.ids() == [FAILED, DONE]
    for trial in store.ids():
        found = store.published(trial)
        assert found is not None and found.damage is None


def test_the_records_say_what_they_said(golden):
    failed, done = Store(golden).records()
    assert (done.trial, done.status, done.world) == (DONE, "done", "gridworld")
    assert done.scores == {"return": RETURN, "split_is_test": 1.0}
    assert done.best == {"step": 3, "scores": {"return": 9.47621373120374, "split_is_test": 0.0}}
    assert done.references == {"random": {"return": 5.0}, "expert": {"return": 10.0}}
    assert done.spec["algorithm"] == "toy/good" and done.spec["seed"] == 0
    assert done.spec["config"] == {"strength": 1.0, "steps": 3, "where": ""}
    assert (done.costs["gradient_steps"], done.costs["demonstrations"]) == (3, 2)
    assert (failed.trial, failed.status, failed.scores) == (FAILED, "failed", {})
    assert failed.error is not None
    assert (failed.error["type"], failed.error["message"]) == ("RuntimeError", "lost toy_plugin.py")
    assert failed.curve_points == 1 and not failed.verifiable


def test_ids_are_still_the_hashes_of_what_determined_the_trials(golden):
    for record in Store(golden).records():
        determining = {k: v for k, v in record.spec.items() if k not in ("changed", "demos")}
        assert sha256_json(determining) == record.trial


def test_policy_reward_and_curve_are_loaded(golden):
    trial = load_trial(golden, DONE[:8])
    assert trial.policy is not None and trial.reward is not None
    chosen = np.exp(trial.policy.log_prob(np.arange(3), np.ones(3, dtype=np.int64)))
    assert 10 * chosen.mean() == pytest.approx(RETURN, rel=1e-12)
    states, flags = np.arange(3), np.zeros(3, dtype=bool)
    paid = trial.reward(states, np.ones(3, dtype=np.int64), states, flags)
    assert np.allclose(np.exp(paid) / (1 + np.exp(paid)), chosen, rtol=1e-12)
    rows = trial.curve.select("step", "kind", "name").rows()
    steps = (1, 2, 3)
    assert rows == [
        row
        for step in steps
        for row in (
            (step, "log", "loss"),
            (step, "validation", "return"),
            (step, "validation", "split_is_test"),
        )
    ]
    returns = trial.curve["value"].gather_every(3, 1).to_list()
    assert returns[-1] == 9.47621373120374 and sorted(returns) == returns


def test_they_are_one_table_and_one_report(golden, tmp_path, capsys):
    table = load_results(golden).sort("status")
    assert table["trial"].to_list() == [DONE, FAILED]
    assert table["normalised"].to_list() == [pytest.approx((RETURN - 5) / 5), None]
    summary = report([golden], tmp_path / "report")
    assert (summary.trials, summary.rows, summary.failed, summary.notes) == (2, 2, 1, ())
    rows = {row.algorithm: row for row in summary.board.rows}
    assert rows["toy/good"].score == pytest.approx((RETURN - 5) / 5)
    assert rows["toy/good"].best_validation == pytest.approx((9.47621373120374 - 5) / 5)
    assert (rows["toy/raises"].score, rows["toy/raises"].failed) == (0.0, 1)
    assert 'class="curve"' in summary.page.read_text(encoding="utf-8")
    assert main(["status", str(golden)]) == 0
    assert "1 trial done, 1 failed" in capsys.readouterr().out


# --- schemas to come, and those that were


def rewrite(out: Path, trial: str, **changes: object) -> None:
    """Changes a record and puts in the hash that fits."""
    path = out / "trials" / trial / "record.json"
    value = {**read_json(path), **changes, "integrity": ""}
    path.write_text(json.dumps({**value, "integrity": sha256_json(value)}), encoding="utf-8")


@pytest.mark.parametrize("schema", [SCHEMA + 1, 10**6])
def test_a_newer_record_is_refused_and_left_out(copy, tmp_path, schema):
    rewrite(copy, DONE, schema=schema)
    with pytest.raises(DataError, match=f"schema {schema}.*reads up to {SCHEMA}: update irlbench"):
        Store(copy).read(DONE)
    summary = report([copy], tmp_path / "report")
    (note,) = summary.notes
    assert summary.trials == 1 and "update irlbench" in note
    with pytest.raises(UsageError, match="update irlbench"):
        load_results(copy)


@pytest.mark.parametrize("schema", [0, -1, True, 1.0, "1", None, [1]])
def test_what_names_no_schema_is_refused(copy, schema):
    rewrite(copy, DONE, schema=schema)
    with pytest.raises(DataError, match="names no schema"):
        Store(copy).read(DONE)


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        (json.dumps({"schema": SCHEMA + 1}), "update irlbench"),
        ("{}", "names no schema"),
        ("[1]", "names no schema"),
        ("", "is no JSON"),
        ('{"schema": 1, "schema": 1}', "twice"),
    ],
)
def test_a_directory_that_cannot_be_read_is_refused(copy, marker, told):
    (copy / "irlbench.json").write_text(marker)
    for use in (Store(copy).open_for_reading, Store(copy).open_for_writing):
        with pytest.raises(UsageError, match=told):
            use()


@pytest.fixture
def older(copy, monkeypatch):
    """As if two schemas had come since: in the first the environment had another name."""
    called = []

    def first(value):
        called.append(1)
        value = dict(value)
        value["environment"] = value.pop("gymnasium_id")
        return value

    def second(value):
        called.append(2)
        return {**value, "world": value["world"].lower()}

    monkeypatch.setattr(record_module, "SCHEMA", 3)
    monkeypatch.setattr(record_module, "UPGRADES", {1: first, 2: second})
    wanted = {}
    for trial in (DONE, FAILED):
        path = copy / "trials" / trial / "record.json"
        value = read_json(path)
        wanted[trial] = value
        old = {k: v for k, v in value.items() if k != "environment"}
        old |= {"gymnasium_id": value["environment"], "world": "GRIDWORLD", "schema": 1}
        path.write_text(json.dumps(old))
        rewrite(copy, trial)
    return copy, wanted, called


def test_older_records_are_upgraded_in_memory(older, tmp_path):
    out, wanted, called = older
    before = (out / "trials" / DONE / "record.json").read_bytes()
    record = Store(out).read(DONE)
    assert called == [1, 2]
    same = {k: v for k, v in record.to_json().items() if k not in ("schema", "integrity")}
    assert same == {k: v for k, v in wanted[DONE].items() if k not in ("schema", "integrity")}
    assert (out / "trials" / DONE / "record.json").read_bytes() == before
    assert load_trial(out, DONE).policy is not None
    assert report([out], tmp_path / "report").notes == ()


def test_an_upgraded_record_is_one_of_the_newest_schema(older):
    out, _, called = older
    record = Store(out).read(DONE)
    called.clear()
    assert record.to_json()["schema"] == 3
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert called == []


def test_a_damaged_older_record_is_not_upgraded(older):
    out, _, called = older
    path = out / "trials" / DONE / "record.json"
    path.write_text(path.read_text().replace("7.10014897840018", "7.20014897840018"))
    with pytest.raises(DataError, match="changed or damaged"):
        Store(out).read(DONE)
    assert called == []
