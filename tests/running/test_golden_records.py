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
#: The done and the failed trial of each schema; the plug-in file, and so the ids, changed between.
TRIALS = {
    1: (
        "6447755ffde065609c6f7f5a5152f675a0ae353280b92a141afc3b2973acf94a",
        "553ae010c4271c1aae139533f1fe7725b9573f73579b4954a7edb8c8baa4543e",
    ),
    2: (
        "60329a5c742d2e0309c40fbcaea1bcf96844f1ba50ffadfeba484c806c8a68d4",
        "3722a6bb345f2b1d1222f39b170ec1c7b3f4d6f2e54e377da47cac85208054cf",
    ),
}
#: What the learnt reward was found to be, since there are such scores.
METRICS: dict[int, dict[str, float]] = {1: {}, 2: {"gap": 0.8954564028896789}}
RETURN = 7.10014897840018


@pytest.fixture(params=SCHEMAS)
def schema(request):
    """Every schema that was ever written."""
    return request.param


@pytest.fixture
def golden(schema):
    """The output directory of one schema, as it was written."""
    return GOLDEN / f"schema-{schema}"


@pytest.fixture
def done(schema):
    """Id of the trial that was done."""
    return TRIALS[schema][0]


@pytest.fixture
def failed(schema):
    """Id of the trial that failed."""
    return TRIALS[schema][1]


@pytest.fixture
def copy(golden, tmp_path):
    """A copy that may be changed."""
    out = tmp_path / "out"
    shutil.copytree(golden, out)
    return out


def test_there_is_one_of_every_schema_and_a_way_up_from_each():
    assert sorted(p.name for p in GOLDEN.iterdir()) == [f"schema-{n}" for n in SCHEMAS]
    assert sorted(UPGRADES) == SCHEMAS[:-1]


def test_every_file_is_as_it_was_written(golden, done, failed):
    store = Store(golden)
    store.open_for_reading()
    assert store.ids() == [failed, done]
    for trial in store.ids():
        found = store.published(trial)
        assert found is not None and found.damage is None


def test_the_records_say_what_they_said(golden, schema, done, failed):
    lost, found = Store(golden).records()
    assert (found.trial, found.status, found.world) == (done, "done", "gridworld")
    assert found.scores == {"return": RETURN, "split_is_test": 1.0}
    assert (found.metrics, lost.metrics) == (METRICS[schema], {})
    assert found.best == {"step": 3, "scores": {"return": 9.47621373120374, "split_is_test": 0.0}}
    assert found.references == {"random": {"return": 5.0}, "expert": {"return": 10.0}}
    assert found.spec["algorithm"] == "toy/good" and found.spec["seed"] == 0
    assert found.spec["config"] == {"strength": 1.0, "steps": 3, "where": ""}
    assert (found.costs["gradient_steps"], found.costs["demonstrations"]) == (3, 2)
    assert (lost.trial, lost.status, lost.scores) == (failed, "failed", {})
    assert lost.error is not None
    assert (lost.error["type"], lost.error["message"]) == ("RuntimeError", "lost toy_plugin.py")
    assert lost.curve_points == 1 and not lost.verifiable


def test_ids_are_still_the_hashes_of_what_determined_the_trials(golden):
    for record in Store(golden).records():
        determining = {k: v for k, v in record.spec.items() if k not in ("changed", "demos")}
        assert sha256_json(determining) == record.trial


def test_policy_reward_and_curve_are_loaded(golden, done):
    trial = load_trial(golden, done[:8])
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


def test_they_are_one_table_and_one_report(golden, tmp_path, capsys, done, failed):
    table = load_results(golden).sort("status")
    assert table["trial"].to_list() == [done, failed]
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


@pytest.mark.parametrize("claimed", [SCHEMA + 1, 10**6])
def test_a_newer_record_is_refused_and_left_out(copy, tmp_path, claimed, done):
    rewrite(copy, done, schema=claimed)
    with pytest.raises(DataError, match=f"schema {claimed}.*reads up to {SCHEMA}: update irlbench"):
        Store(copy).read(done)
    summary = report([copy], tmp_path / "report")
    (note,) = summary.notes
    assert summary.trials == 1 and "update irlbench" in note
    with pytest.raises(UsageError, match="update irlbench"):
        load_results(copy)


@pytest.mark.parametrize("claimed", [0, -1, True, 1.0, "1", None, [1]])
def test_what_names_no_schema_is_refused(copy, claimed, done):
    rewrite(copy, done, schema=claimed)
    with pytest.raises(DataError, match="names no schema"):
        Store(copy).read(done)


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
def older(copy, monkeypatch, done, failed):
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

    monkeypatch.setattr(record_module, "SCHEMA", SCHEMA + 2)
    coming = {SCHEMA: first, SCHEMA + 1: second}
    monkeypatch.setattr(record_module, "UPGRADES", {**UPGRADES, **coming})
    wanted = {}
    for trial in (done, failed):
        path = copy / "trials" / trial / "record.json"
        value = read_json(path)
        wanted[trial] = {"metrics": {}, **value}
        old = {k: v for k, v in value.items() if k != "environment"}
        old |= {"gymnasium_id": value["environment"], "world": "GRIDWORLD"}
        path.write_text(json.dumps(old))
        rewrite(copy, trial)
    return copy, wanted, called


def test_older_records_are_upgraded_in_memory(older, tmp_path, done):
    out, wanted, called = older
    before = (out / "trials" / done / "record.json").read_bytes()
    record = Store(out).read(done)
    assert called == [1, 2]
    same = {k: v for k, v in record.to_json().items() if k not in ("schema", "integrity")}
    assert same == {k: v for k, v in wanted[done].items() if k not in ("schema", "integrity")}
    assert (out / "trials" / done / "record.json").read_bytes() == before
    assert load_trial(out, done).policy is not None
    assert report([out], tmp_path / "report").notes == ()


def test_an_upgraded_record_is_one_of_the_newest_schema(older, done):
    out, _, called = older
    record = Store(out).read(done)
    called.clear()
    assert record.to_json()["schema"] == SCHEMA + 2
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert called == []


def test_a_damaged_older_record_is_not_upgraded(older, done):
    out, _, called = older
    path = out / "trials" / done / "record.json"
    path.write_text(path.read_text().replace("7.10014897840018", "7.20014897840018"))
    with pytest.raises(DataError, match="changed or damaged"):
        Store(out).read(done)
    assert called == []
