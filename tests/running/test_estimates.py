"""Estimates of time and disk from earlier records."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import irlbench
from irlbench.running import api, estimates
from irlbench.running.estimates import BLOCK, Basis, estimate, free_bytes, makespan, record_folders
from irlbench.running.record import Record
from irlbench.running.store import Store
from irlbench.running.trial import TrialSpec

FILES = {"curve.parquet": 1, "policy.safetensors": BLOCK + 1, "log.txt": 0}
SIZE = BLOCK * (1 + 1 + 1 + 2)
"""Of the folder, the record, the curve, the policy; an empty log takes nothing."""


def trial(seed: int = 0, **changes: Any) -> TrialSpec:
    values: dict[str, Any] = {
        "task": "gridworld/toy-v0",
        "task_hash": "a" * 64,
        "algorithm": "bc",
        "algorithm_version": 1,
        "plugin_hash": None,
        "config": {"learning_rate": 0.1, "hidden": [8, 8]},
        "budget": {"steps": 10, "gradient_steps": None, "seconds": None},
        "track": "demonstrations",
        "demonstrations": 2,
        "preferences": None,
        "seed": seed,
        "demos": None,
        "given": {},
        "model": None,
        "device": "cpu",
        "threads": 1,
    }
    return TrialSpec(**{**values, **changes})


def keep(out: Path, spec: TrialSpec, seconds: Any = 1.0, **changes: Any) -> Path:
    """Writes a finished record of a trial, learnt in so many seconds and evaluated in half one."""
    record = Record(
        trial=spec.id,
        status="done",
        spec=spec.to_json(),
        world="gridworld",
        environment="irlbench/Toy-v0",
        primary={"name": "return", "higher_is_better": True, "low": "random", "high": "expert"},
        references={"random": {"return": 0.0}, "expert": {"return": 1.0}},
        scores={"return": 0.5},
        costs={"steps": 0, "seconds": seconds, "evaluation_seconds": 0.5},
        files=dict.fromkeys(FILES, "0" * 64),
    )
    sealed = dataclasses.replace(record, **changes).sealed([])
    folder = out / "trials" / spec.id
    folder.mkdir(parents=True)
    (out / "irlbench.json").write_text('{"schema": 1}')
    (folder / "record.json").write_text(json.dumps(sealed.to_json()))
    for name, size in FILES.items():
        (folder / name).write_bytes(b"x" * size)
    return folder


def basis(out: Path, spec: TrialSpec) -> Basis:
    (cell,) = estimate([spec], (), (), out=out, jobs=1).cells
    return cell.basis


def test_a_plan_counts_times_and_sizes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for seed, seconds in enumerate((1.0, 3.0, 11.0)):
        keep(out, trial(seed), seconds)
    keep(out, trial(3), status="failed", error={"type": "E", "message": "", "traceback": ""})
    keep(out, trial(0, algorithm="random"), 0.5)
    done = {trial(seed).id for seed in range(4)} | {trial(0, algorithm="random").id}
    specs = [trial(seed, algorithm=name) for seed in range(8) for name in ("bc", "random", "new")]
    plan = estimate(specs, done, {trial(3).id}, out=out, jobs=2)
    bc, random, new = plan.cells
    assert (bc.task, bc.algorithm, bc.given) == ("gridworld/toy-v0", "bc", "2 demonstrations")
    assert (bc.to_run, bc.retried, bc.there, bc.failed) == (4, 0, 4, 1)
    assert bc.basis == Basis(3, True, 3.5, SIZE)
    assert (random.to_run, random.there, random.failed) == (7, 1, 0)
    assert random.basis == Basis(1, True, 1.0, SIZE)
    assert (new.to_run, new.there, new.basis) == (8, 0, Basis())
    assert (plan.to_run, plan.there) == (19, 5)
    assert (plan.untimed, plan.unsized) == (8, 8)
    assert plan.trial_seconds == 4 * 3.5 + 7 * 1.0
    assert plan.bytes == 11 * SIZE
    # In the order of the plan: three times "random", then "bc" and "random" in turns.
    assert plan.wall_seconds == makespan([1.0] * 3 + [3.5, 1.0] * 4, 2) == 11.0
    retried = estimate(specs, done - {trial(3).id}, {trial(3).id}, out=out, jobs=2).cells[0]
    assert (retried.to_run, retried.retried, retried.there, retried.failed) == (5, 1, 3, 0)


def test_makespan_by_hand() -> None:
    assert makespan([], 3) == 0.0
    assert makespan([2.0, 3.0], 5) == 3.0
    assert makespan([2.0, 3.0], 1) == 5.0
    # Places: 4+2 and 1+1+5, the last one starting at 2.
    assert makespan([4.0, 1.0, 1.0, 5.0, 2.0], 2) == 7.0


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"seed": 5}, True),
        ({"seed": 5, "demos": "renamed"}, True),
        ({"demonstrations": 3}, False),
        ({"config": {"learning_rate": 0.2, "hidden": [8, 8]}}, False),
        ({"budget": {"steps": 11, "gradient_steps": None, "seconds": None}}, False),
        ({"threads": 2}, False),
        ({"algorithm": "other"}, None),
        ({"task": "gridworld/toy-v1"}, None),
        ({"device": "cuda"}, None),
        ({"model": "b" * 64}, None),
    ],
)
def test_what_counts_as_earlier_records_of_a_trial(
    tmp_path: Path, change: dict[str, Any], same: bool | None
) -> None:
    keep(tmp_path / "out", trial(1), 1.0)
    keep(tmp_path / "out", trial(2), 2.0)
    expected = Basis() if same is None else Basis(2, same, 2.0, SIZE)
    assert basis(tmp_path / "out", trial(**change)) == expected


def test_records_of_the_same_settings_go_before_others(tmp_path: Path) -> None:
    keep(tmp_path / "out", trial(1, demonstrations=9), 100.0)
    keep(tmp_path / "beside", trial(1), 1.0)
    assert basis(tmp_path / "out", trial(0)) == Basis(1, True, 1.5, SIZE)


def test_records_of_directories_beside_count_once_and_other_folders_do_not(tmp_path: Path) -> None:
    keep(tmp_path / "runs/a", trial(1), 1.0)
    keep(tmp_path / "runs/b", trial(1), 50.0)  # the same trial, made again
    keep(tmp_path / "runs/b", trial(2), 2.0)
    keep(tmp_path / "runs/c", trial(3), 70.0)
    (tmp_path / "runs/c/irlbench.json").unlink()
    keep(tmp_path / "runs/d/below", trial(4), 70.0)
    (tmp_path / "runs/file").write_text("")
    for name, when in (("a", 2000), ("b", 1000)):
        os.utime(tmp_path / "runs" / name / "trials", (when, when))
    out = tmp_path / "runs/new"
    assert record_folders(out) == [out, tmp_path / "runs/a", tmp_path / "runs/b"]
    assert basis(out, trial(0)) == Basis(2, True, 2.0, SIZE)
    os.utime(tmp_path / "runs/b/trials", (3000, 3000))
    assert record_folders(out)[1:] == [tmp_path / "runs/b", tmp_path / "runs/a"]
    assert basis(out, trial(0)).seconds == 26.5, "the later of the two counts"
    assert not out.exists()


def _truncate(record: Path) -> None:
    record.write_bytes(record.read_bytes()[:-20])


def _flip(record: Path) -> None:
    record.write_text(record.read_text().replace('"seconds": 1.0', '"seconds": 9.0'))


def _nest(record: Path) -> None:
    record.write_text("[" * 100_000)


def _move(record: Path) -> None:
    record.parent.rename(record.parent.with_name("f" * 64))


def _pipe(record: Path) -> None:
    record.unlink()
    os.mkfifo(record)


@pytest.mark.parametrize("harm", [_truncate, _flip, _nest, _move, _pipe, Path.unlink])
def test_what_is_damaged_is_passed_over(tmp_path: Path, harm: Any) -> None:
    harm(keep(tmp_path / "out", trial(1), 1.0) / "record.json")
    assert basis(tmp_path / "out", trial(0)) == Basis()
    keep(tmp_path / "out", trial(2), 2.0)
    (tmp_path / "out/trials" / "0-file").write_text("")
    assert basis(tmp_path / "out", trial(0)) == Basis(1, True, 2.5, SIZE)


@pytest.mark.parametrize(
    "costs", [{}, {"seconds": "1"}, {"seconds": -1.0}, {"seconds": True}, {"seconds": 10**400}]
)
def test_a_record_without_usable_times_tells_nothing(tmp_path: Path, costs: Any) -> None:
    keep(tmp_path / "out", trial(1), costs=costs)
    assert basis(tmp_path / "out", trial(0)) == Basis()


def test_a_folder_that_may_not_be_read_is_passed_over(tmp_path: Path, monkeypatch: Any) -> None:
    keep(tmp_path / "closed", trial(1), 1.0)
    keep(tmp_path / "open", trial(2), 2.0)
    listed = Store.ids

    def ids(store: Store) -> list[str]:
        if store.out.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(store)

    monkeypatch.setattr(Store, "ids", ids)
    assert basis(tmp_path / "out", trial(0)) == Basis(1, True, 2.5, SIZE)


def test_where_files_were_taken_out_the_size_is_not_known(tmp_path: Path) -> None:
    (keep(tmp_path / "out", trial(1), 1.0) / "policy.safetensors").unlink()
    assert basis(tmp_path / "out", trial(0)) == Basis(1, True, 1.5, None)
    plan = estimate([trial(0)], (), (), out=tmp_path / "out", jobs=1)
    assert (plan.untimed, plan.unsized, plan.bytes) == (0, 1, 0)


def test_free_disk_is_that_of_the_nearest_folder_there_is(tmp_path: Path, monkeypatch: Any) -> None:
    asked = []

    def usage(place: Path) -> Any:
        asked.append(place)
        place.stat()
        return SimpleNamespace(free=7)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert free_bytes(tmp_path / "a" / "b") == 7
    assert asked == [tmp_path / "a" / "b", tmp_path / "a", tmp_path]


def test_no_more_records_are_read_than_it_takes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(estimates, "MOST_OF_ONE", 3)
    monkeypatch.setattr(estimates, "MOST_IN_ALL", 5)
    for folder in "abc":
        for seed in range(4):
            keep(tmp_path / folder, trial(seed, demonstrations=ord(folder)))
    assert basis(tmp_path / "new", trial(0)).records == 5
    read = []
    monkeypatch.setattr(Store, "read", lambda store, trial: read.append(trial))
    specs = [trial(seed, demonstrations=ord("a")) for seed in range(4)]
    plan = estimate(specs, {s.id for s in specs}, (), out=tmp_path / "a", jobs=1)
    assert (plan.to_run, plan.there, read) == (0, 4, []), "nothing to run, nothing to look up"


def test_a_dry_run_writes_nothing_and_tells_what_a_run_then_does(tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked: dict[str, Any] = {
        "target": "gridworld/toy",
        "algorithms": ["toy/good", "toy/raises"],
        "plugins": [Path(__file__).with_name("toy_plugin.py")],
        "jobs": 2,
        "out": out,
    }

    def told(**more: Any) -> list[tuple[int, int, int, int]]:
        cells = api.dry_run(**asked, **more).cells
        return [(cell.to_run, cell.retried, cell.there, cell.failed) for cell in cells]

    assert told(seeds=2) == [(2, 0, 0, 0), (2, 0, 0, 0)]
    assert not out.exists()
    summary = irlbench.run(**asked, seeds=2)
    assert (summary.done, summary.failed) == (2, 2)
    left = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}
    assert told(seeds=2) == [(0, 0, 2, 0), (0, 0, 2, 2)]
    assert told(seeds=2, retry_failed=True) == [(0, 0, 2, 0), (2, 2, 0, 0)]
    plan = api.dry_run(**asked, seeds=5)
    good, raises = plan.cells
    assert (good.to_run, raises.to_run, plan.untimed, plan.unsized) == (3, 3, 3, 3)
    costs = [record.costs for record in Store(out).records() if not record.failed]
    mean = sum(c["seconds"] + c["evaluation_seconds"] for c in costs) / 2
    assert (good.basis.records, good.basis.same) == (2, True)
    assert good.basis.seconds == pytest.approx(mean)
    assert good.basis.bytes >= BLOCK * 7, "a folder and six files"
    assert left == {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}


def test_ten_thousand_trials_are_estimated_quickly(tmp_path: Path) -> None:
    specs = [trial(seed, demonstrations=n) for n in range(1, 101) for seed in range(100)]
    for spec in specs[:500]:
        keep(tmp_path / "out", spec)
    for spec in specs:
        assert spec.id
    began = time.process_time()
    plan = estimate(specs, (), (), out=tmp_path / "out", jobs=7)
    assert time.process_time() - began < 2
    assert len(plan.cells) == 100
    assert plan.to_run == 10_000
    assert plan.wall_seconds == pytest.approx(1.5 * 1429)
