"""Records, the store, and what an error leaves in them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irlbench.errors import DataError, UsageError
from irlbench.running import claims
from irlbench.running.claims import Claim
from irlbench.running.provenance import describe_error, without_paths
from irlbench.running.record import SCHEMA, Record
from irlbench.running.store import Store
from irlbench.running.trial import TrialSpec


def spec(**changes: Any) -> TrialSpec:
    values: dict[str, Any] = {
        "task": "gridworld/toy-v0",
        "task_hash": "a" * 64,
        "algorithm": "bc",
        "algorithm_version": 1,
        "plugin_hash": None,
        "config": {"learning_rate": 0.1},
        "budget": {"steps": 10, "gradient_steps": None, "seconds": None},
        "track": "demonstrations",
        "demonstrations": 2,
        "preferences": None,
        "seed": 0,
        "demos": None,
        "given": {},
        "model": None,
        "device": "cpu",
        "threads": 1,
    }
    return TrialSpec(**{**values, **changes})


def record(trial: TrialSpec, **changes: Any) -> Record:
    made = Record(
        trial=trial.id,
        status="done",
        spec=trial.to_json(),
        world="gridworld",
        environment="irlbench/Toy-v0",
        primary={"name": "return", "higher_is_better": True, "low": "random", "high": "expert"},
        references={"random": {"return": 0.0}, "expert": {"return": 1.0}},
        scores={"return": 0.5},
        costs={"steps": 0, "seconds": 1.5, "peak_memory_bytes": 100},
    )
    return dataclasses.replace(made, **changes)


def test_every_determining_field_is_in_the_id() -> None:
    changes = {
        "task": "gridworld/toy-v1",
        "task_hash": "b" * 64,
        "algorithm": "dpo",
        "algorithm_version": 2,
        "plugin_hash": "c" * 64,
        "config": {"learning_rate": 0.2},
        "budget": {"steps": 11, "gradient_steps": None, "seconds": None},
        "track": "demonstrations+interaction",
        "demonstrations": 3,
        "preferences": 5,
        "seed": 1,
        "solvers": {"ppo": {"version": 2}},
        "given": {"cs285": "d" * 64},
        "model": "e" * 64,
        "device": "cuda",
        "threads": 2,
    }
    names = {f.name for f in dataclasses.fields(TrialSpec)} - {"changed", "demos"}
    assert set(changes) == names
    ids = {spec(**{name: value}).id for name, value in changes.items()}
    assert len(ids | {spec().id}) == len(changes) + 1
    for label in ({"changed": {"learning_rate": 0.1}}, {"demos": "cs285"}):
        assert spec(**label).id == spec().id
    assert len(spec().id) == 64


def test_the_id_is_the_hash_of_canonical_json() -> None:
    """Old results stay found: the text that is hashed may change only with the schema."""
    text = (
        '{"algorithm":"bc","algorithm_version":1,'
        '"budget":{"gradient_steps":null,"seconds":null,"steps":10},'
        '"config":{"learning_rate":0.1},"demonstrations":2,"device":"cpu",'
        '"given":{},"model":null,"plugin_hash":null,"preferences":null,"seed":0,"solvers":{},'
        '"task":"gridworld/toy-v0","task_hash":"' + "a" * 64 + '","threads":1,'
        '"track":"demonstrations"}'
    )
    assert spec().id == hashlib.sha256(text.encode()).hexdigest()


def test_a_sealed_record_reads_back_and_a_changed_one_does_not() -> None:
    sealed = record(spec()).sealed([(1, "log", "loss", 0.5)])
    value = json.loads(json.dumps(sealed.to_json()))
    assert Record.from_json(value) == sealed
    for change in (
        {"scores": {"return": 0.6}},
        {"status": "failed"},
        {"costs": {"seconds": 1.0}},
        {"versions": {"torch": "9"}},
    ):
        with pytest.raises(DataError, match="changed or damaged"):
            Record.from_json({**value, **change})
    with pytest.raises(DataError, match=f"schema {SCHEMA + 1}.*update irlbench"):
        Record.from_json({**value, "schema": SCHEMA + 1})
    with pytest.raises(DataError, match="lacks scores"):
        Record.from_json({k: v for k, v in value.items() if k != "scores"})
    with pytest.raises(DataError, match="holds no record"):
        Record.from_json([])
    with pytest.raises(DataError, match="no object"):
        Record.from_json({**value, "scores": []})


def test_the_content_hash_leaves_out_times_and_machines() -> None:
    curve = [(1, "log", "loss", 0.5)]
    reference = record(spec()).sealed(curve).content_hash

    def hash_of(**changes: Any) -> str:
        return record(spec(), **changes).sealed(curve).content_hash

    assert hash_of(costs={"steps": 0, "seconds": 9.0, "peak_memory_bytes": 7}) == reference
    assert hash_of(hardware={"processor": "another"}) == reference
    assert hash_of(data={"built": {"demonstrations": "f" * 64}}) == reference
    assert hash_of(files={"log.txt": "f" * 64}) == reference
    assert hash_of(costs={"steps": 1, "seconds": 1.5}) != reference
    assert hash_of(scores={"return": 0.6}) != reference
    assert hash_of(metrics={"epic": 0.1}) != reference
    assert hash_of(metrics={"epic": 0.2}) != hash_of(metrics={"epic": 0.1})
    assert hash_of(files={"policy.safetensors": "f" * 64}) != reference
    assert record(spec()).sealed([(1, "log", "loss", 0.6)]).content_hash != reference


def taken(store: Store, trial: TrialSpec) -> Claim:
    claim = store.claim(trial.id, resumable=False)
    assert isinstance(claim, Claim)
    return claim


def test_the_first_publication_wins(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    store.open_for_writing()
    trial = spec()
    late = claims.claim(store.working / "of a run that does not see our locks")
    assert late is not None
    first = store.publish(record(trial), [], taken(store, trial))
    assert first is not None
    second = record(trial, scores={"return": 0.9})
    assert store.publish(second, [], late) is None
    assert store.read(trial.id) == first
    assert not list(store.working.iterdir())


def test_a_trial_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    store.open_for_writing()
    for seed in range(3):
        trial = spec(seed=seed)
        store.publish(record(trial), [], taken(store, trial))
    assert store.find(spec(seed=1).id[:10]) == spec(seed=1).id
    for prefix in ("", "zz"):
        with pytest.raises(UsageError, match="begin with"):
            store.find(prefix)


def test_a_record_under_another_id_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    store.open_for_writing()
    trial = spec()
    store.publish(record(trial), [], taken(store, trial))
    store.folder(trial.id).rename(store.trials / ("0" * 64))
    with pytest.raises(DataError, match="holds trial"):
        list(store.records())


def test_errors_are_described_without_absolute_paths(tmp_path: Path) -> None:
    try:
        (tmp_path / "missing.json").read_text()
    except OSError as error:
        described = describe_error(error)
    assert described["type"] == "FileNotFoundError"
    assert str(tmp_path) not in str(described)
    assert "missing.json" in described["message"]
    assert "tests/running/test_record.py" not in described["traceback"]
    assert "test_record.py" in described["traceback"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot read /a/b/c.npz: no", "cannot read c.npz: no"),
        ("'/a/b'", "'b'"),
        ("control/hopper and a/b stay", "control/hopper and a/b stay"),
        ("1/2 + 3/4", "1/2 + 3/4"),
        ("https://host/a/b", "https://host/a/b"),
    ],
)
def test_paths_are_cut_to_their_last_part(text: str, expected: str) -> None:
    assert without_paths(text) == expected


def test_a_checkpoint_keeps_what_was_spent(tmp_path: Path) -> None:
    from irlbench.algorithm import Run
    from irlbench.problem import StepMeter

    first = Run(folder=tmp_path, meter=StepMeter(100, used=40))
    assert first.restored is None
    first.spend(gradient_steps=3)
    first.checkpoint({"weights": np.arange(3.0)})
    meter = StepMeter(100)
    second = Run(folder=tmp_path, meter=meter)
    restored = second.restored
    assert restored is not None
    assert restored["weights"].tolist() == [0, 1, 2]
    assert set(restored) == {"weights"}
    assert (meter.used, second.gradient_steps) == (40, 3)


def test_labels_tell_trials_apart() -> None:
    labels = [
        spec(**more).label
        for more in (
            {},
            {"demonstrations": 1},
            {"changed": {"learning_rate": 0.1}},
            {"budget": {"steps": 10, "gradient_steps": 5, "seconds": None}},
            {"threads": 2},
            {"plugin_hash": "c" * 64},
            {"seed": 1},
        )
    ]
    assert labels[0] == "gridworld/toy-v0 bc (2 demonstrations) seed 0"
    assert labels[2] == "gridworld/toy-v0 bc (2 demonstrations, learning_rate=0.1) seed 0"
    assert len(set(labels)) == len(labels)
