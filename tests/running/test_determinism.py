"""The same trial leaves the same record, bit for bit, times aside: jobs, order and kills are nothing."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

import irlbench
from irlbench.running import plan
from irlbench.running.record import TIMINGS
from irlbench.running.store import LOG, Store
from irlbench.serialisation import read_json

from .drivers import (  # noqa: TID252 - the tests are no package with a name
    PLUGIN,
    TASK,
    Driver,
    hashes,
    short,
    until,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def contents(out: Path) -> dict[str, dict[str, Any]]:
    """Trial to everything in its folder, without log and times."""
    store = Store(out)
    found = {}
    for trial, digest in hashes(out).items():
        record = read_json(store.folder(trial) / "record.json")
        assert record["content_hash"] == digest
        del record["integrity"]
        for name in TIMINGS:
            record["costs"].pop(name, None)
        for name in (LOG, "curve.parquet"):
            del record["files"][name]
        files = {
            path.name: path.read_bytes()
            for path in store.folder(trial).iterdir()
            if path.name not in (LOG, "curve.parquet", "record.json")
        }
        assert set(files) == set(record["files"])
        curve = store.curve(trial).drop("seconds").rows()
        found[trial] = {"record": record, "curve": curve, **files}
    return found


def assert_same(out: Path, reference: Path) -> None:
    ours, theirs = contents(out), contents(reference)
    assert set(ours) == set(theirs)
    for trial, there in theirs.items():
        for name, content in there.items():
            assert ours[trial][name] == content, f"{name} of {there['record']['spec']}"


def shuffle(monkeypatch: pytest.MonkeyPatch, seed: int) -> list[list[str]]:
    """Has runs plan their trials in another order; gives those orders, as they come."""
    trials, orders = plan.trials, []

    def shuffled(*arguments: Any) -> Any:
        planned = trials(*arguments)
        random.Random(seed).shuffle(planned)
        orders.append([spec.id for spec in planned])
        return planned

    monkeypatch.setattr(plan, "trials", shuffled)
    return orders


@pytest.mark.parametrize("jobs", [2, 3])
def test_toys_do_not_depend_on_jobs_and_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    more: dict[str, Any] = {
        "algorithms": ["short/walk", "short/goes-on", "short/forks", "short/fails"],
        "seeds": 2,
        "plugins": [PLUGIN],
        "settings": {"short/walk.nap": 0.001, "short/walk.steps": 40},
    }
    irlbench.run(TASK, jobs=1, out=tmp_path / "reference", **more)
    assert len(hashes(tmp_path / "reference")) == 8
    orders = shuffle(monkeypatch, jobs)
    irlbench.run(TASK, jobs=jobs, out=tmp_path / "other", **more)
    assert len(orders[0]) == 8
    assert_same(tmp_path / "other", tmp_path / "reference")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_smoke_suite_does_not_depend_on_jobs_and_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for jobs in (1, 2):
        assert irlbench.run("smoke", jobs=jobs, out=tmp_path / f"jobs-{jobs}").failed == 0
    orders = shuffle(monkeypatch, 0)
    assert irlbench.run("smoke", jobs=2, out=tmp_path / "shuffled").failed == 0
    monkeypatch.undo()
    assert irlbench.run("smoke", jobs=2, out=tmp_path / "jobs-1").reused == len(orders[0])
    assert sorted(orders[0]) == Store(tmp_path / "jobs-1").ids() != orders[0]
    assert_same(tmp_path / "jobs-2", tmp_path / "jobs-1")
    assert_same(tmp_path / "shuffled", tmp_path / "jobs-1")


@linux
def test_a_toy_that_is_killed_twice_ends_in_the_same_record(tmp_path: Path) -> None:
    given = short(tmp_path / "out", algorithms=["short/goes-on"], checkpoint_seconds=0.0)
    for number, step in enumerate((2, 6)):  # before the first policy is handed in, and after it
        driver = Driver(tmp_path / f"driver-{number}", given, held=step)
        until(lambda step=step: steps_kept(tmp_path / "out") == step, f"step {step} to be kept")
        driver.kill()
    last = Driver(tmp_path / "last", given)
    assert last.wait() == 0
    assert "goes on from its checkpoint" in last.text
    target, more = given
    irlbench.run(target, **{**more, "out": tmp_path / "calm"})
    assert_same(tmp_path / "out", tmp_path / "calm")
    (trial,) = Store(tmp_path / "out").ids()
    log = (tmp_path / "out/trials" / trial / LOG).read_text()
    assert "goes on from a checkpoint with 0 policies" in log
    assert "goes on from a checkpoint with 1 policies" in log


def steps_kept(out: Path) -> int:
    """How far the checkpoint of the only trial under way has come."""
    from safetensors.numpy import load_file

    for path in out.glob("working/*/checkpoint.safetensors"):
        return int(load_file(path)["done"][0])
    return 0


@linux
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("task", "algorithm", "more", "kills"),
    [
        ("gridworld/four-rooms", "bc", {"settings": {"bc.gradient_steps": 2000}}, 2),
        ("control/cartpole", "bc", {"settings": {"bc.gradient_steps": 1000}}, 2),
        ("text/arithmetic", "bc", {"settings": {"bc.gradient_steps": 15}}, 2),
        # PPO keeps a checkpoint where all episodes begin anew: after 40,000 steps.
        ("control/cartpole", "survival", {"budget": {"steps": 46_000}}, 1),
    ],
)
def test_a_trial_that_is_killed_ends_in_the_same_record(
    tmp_path: Path, task: str, algorithm: str, more: dict[str, Any], kills: int
) -> None:
    given = {"algorithms": [algorithm], "seeds": 1, "checkpoint_seconds": 0.2, **more}
    calm = {**given, "out": tmp_path / "calm"}
    out = tmp_path / "out"
    for number in range(kills):
        driver = Driver(tmp_path / f"driver-{number}", (task, {**given, "out": out}))
        kept = {path.stat().st_mtime_ns for path in out.glob("working/*/checkpoint.json")}
        until(
            lambda kept=kept: any(
                path.stat().st_mtime_ns not in kept
                for path in out.glob("working/*/checkpoint.json")
            ),
            "a checkpoint",
            120,
        )
        driver.kill()
        assert not Store(out).ids(), "the trial was too short to be killed"
    last = Driver(tmp_path / "last", (task, {**given, "out": out}))
    assert last.wait(120) == 0, last.text
    assert "goes on from its checkpoint" in last.text
    irlbench.run(task, **calm)
    assert_same(out, tmp_path / "calm")
    for trial in Store(out).ids():
        assert "goes on from a checkpoint" in (out / "trials" / trial / LOG).read_text()
