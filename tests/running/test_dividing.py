"""Runs beside each other on one directory, and trials that are run again: never two records."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import irlbench
from irlbench.errors import UsageError
from irlbench.reporting.export import export
from irlbench.running import provenance
from irlbench.running.progress import PlainProgress
from irlbench.running.record_table import open_results
from irlbench.running.store import Store

from .drivers import (  # noqa: TID252 - the tests are no package with a name
    PLUGIN,
    TASK,
    Driver,
    alive,
    at_once,
    hashes,
    short,
    starts,
    superseded,
    until,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def go(out: Path, **more: Any) -> Any:
    """A run in this process."""
    target, choices = short(out, **more)
    return irlbench.run(target, **choices)


def under_way(driver: Driver, number: int = 1) -> None:
    """Waits until so many of its trials have begun to fit."""
    until(lambda: sum(starts(driver).values()) >= number, f"{number} trials to start")


def damage(place: Path, how: str) -> None:
    if how == "truncated":
        text = (place / "record.json").read_text()
        (place / "record.json").write_text(text[: len(text) // 2])
    elif how == "flipped":
        content = bytearray((place / "policy.safetensors").read_bytes())
        content[-1] ^= 1
        (place / "policy.safetensors").write_bytes(content)
    elif how == "missing":
        (place / "curve.parquet").unlink()
    else:
        (place / "record.json").unlink()


@linux
@pytest.mark.parametrize("number", [2, 3])
def test_runs_at_once_divide_the_trials(tmp_path: Path, number: int) -> None:
    drivers = at_once(tmp_path, number, short(tmp_path / "out", seeds=8), held=1)
    for driver in drivers:  # each has one, before anybody goes on
        under_way(driver)
    for driver in drivers:
        driver.let_go()
    assert [driver.wait() for driver in drivers] == [0] * number, [d.text for d in drivers]
    assert starts(*drivers) == {f"short/walk {seed}": 1 for seed in range(8)}
    summaries = [driver.summaries[0] for driver in drivers]
    assert sum(summary["done"] for summary in summaries) == 8
    for driver, summary in zip(drivers, summaries, strict=True):
        assert summary["done"] > 0
        assert summary["planned"] == 8 == summary["done"] + summary["reused"]
        assert summary["failed"] == 0
        # Each says once of every trial of the plan what came of it.
        assert driver.text.count("] done") == 8
        assert "[8/8] done" in driver.text
    assert len(hashes(tmp_path / "out")) == 8
    assert not list((tmp_path / "out/working").iterdir())


@linux
def test_a_run_that_waits_goes_on_when_the_other_has_finished(tmp_path: Path) -> None:
    given = short(tmp_path / "out")
    first = Driver(tmp_path / "first", given, held=1)
    under_way(first)
    second = Driver(tmp_path / "second", given)
    second.awaits("waiting for 1 trial")
    first.let_go()
    assert first.wait() == 0
    ended = time.monotonic()
    assert second.wait() == 0
    assert time.monotonic() - ended < 5
    assert starts(first, second) == {"short/walk 0": 1}
    assert [d.summaries[0]["done"] for d in (first, second)] == [1, 0]
    assert second.summaries[0]["reused"] == 1
    assert "by another run" in second.text


@linux
def test_a_run_takes_over_what_a_killed_one_had_begun(tmp_path: Path) -> None:
    target, more = short(
        tmp_path / "out", seeds=2, algorithms=["short/goes-on"], checkpoint_seconds=0.0
    )
    first = Driver(tmp_path / "first", (target, more), held=1)
    until(lambda: list((tmp_path / "out/working").glob("*/checkpoint.json")), "a checkpoint")
    second = Driver(tmp_path / "second", (target, more))
    second.awaits("waiting for 1 trial")
    first.process.kill()
    first.process.wait()
    assert second.wait() == 0
    assert second.summaries[0]["planned"] == second.summaries[0]["done"] == 2
    assert "goes on from its checkpoint" in second.text
    assert not superseded(tmp_path / "out")
    assert not list((tmp_path / "out/working").iterdir())
    irlbench.run(target, **{**more, "out": tmp_path / "calm"})
    assert hashes(tmp_path / "out") == hashes(tmp_path / "calm")
    until(lambda: not alive(tmp_path / "first"), "the killed run's processes to end", 10)


@linux
def test_a_stopped_run_keeps_its_trial_and_its_trial_keeps_its_time(tmp_path: Path) -> None:
    given = short(tmp_path / "out", seeds=2, timeout=4.0)
    first = Driver(tmp_path / "first", given, held=1)
    under_way(first)
    first.process.send_signal(signal.SIGSTOP)
    second = Driver(tmp_path / "second", given)
    second.awaits("waiting for 1 trial")
    time.sleep(4.0)
    first.let_go()
    first.process.send_signal(signal.SIGCONT)
    assert first.wait() == 0, first.text
    assert second.wait() == 0, second.text
    assert starts(first, second) == {"short/walk 0": 1, "short/walk 1": 1}
    assert [d.summaries[0]["done"] for d in (first, second)] == [1, 1]


@linux
def test_failed_trials_are_retried_once_by_two_runs_at_once(tmp_path: Path) -> None:
    given = short(tmp_path / "out", algorithms=["short/fails"], seeds=2, retry_failed=True)
    assert Driver(tmp_path / "before", given).wait() == 1
    drivers = at_once(tmp_path, 2, given, held=1)
    for driver in drivers:
        under_way(driver)
    for driver in drivers:
        driver.let_go()
    assert [driver.wait() for driver in drivers] == [1, 1]
    assert starts(*drivers) == {"short/fails 0": 1, "short/fails 1": 1}
    for driver in drivers:
        summary = driver.summaries[0]
        assert (summary["planned"], summary["failed"], len(summary["failures"])) == (2, 2, 2)
    ids = Store(tmp_path / "out").ids()
    assert sorted(superseded(tmp_path / "out")) == [f"{trial}.superseded-1" for trial in ids]
    assert len(hashes(tmp_path / "out")) == 2


@pytest.mark.parametrize("form", ["run", "exported"])
def test_what_is_known_elsewhere_is_not_run_again(tmp_path: Path, form: str) -> None:
    there, out = tmp_path / "there", tmp_path / "out"
    both = ["short/walk", "short/fails"]
    go(there, seeds=2, algorithms=both)
    if form == "exported":
        export([there], tmp_path / "table")
        there = tmp_path / "table"
    summary = go(out, seeds=3, algorithms=both, known=there)
    assert (summary.planned, summary.done, summary.reused, summary.failed) == (6, 1, 4, 3)
    assert len(Store(out).ids()) == 2, "what is known is not copied"
    assert (summary.retried, summary.damaged) == (0, [])
    # What is asked for again is run here, and supersedes nothing.
    again = go(out, seeds=3, algorithms=both, known=[there], retry_failed=True)
    assert (again.done, again.failed, again.reused, again.retried) == (0, 3, 3, 1)
    walked = next(r.trial for r in open_results(there).records() if not r.failed)
    rerun = go(out, seeds=3, algorithms=both, known=[there], rerun=walked)
    assert (rerun.done, rerun.retried) == (1, 0)
    assert len(superseded(out)) == 1, "of the trial that had failed here"
    with pytest.raises(UsageError, match="no directory of irlbench records"):
        go(out, known=[tmp_path / "nowhere"])


def test_what_is_superseded_stays_beside_the_new_record(tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(out, seeds=2)
    first, second = Store(out).ids()
    texts = [(out / f"trials/{first}/record.json").read_text()]
    for number in (1, 2):
        summary = go(out, seeds=2, rerun=first[:10])
        assert (summary.done, summary.reused, summary.retried) == (1, 1, 1)
        texts.append((out / f"trials/{first}/record.json").read_text())
        old = out / f"trials/{first}.superseded-{number}"
        assert (old / "record.json").read_text() == texts[-2]
        assert (old / "policy.safetensors").is_file()
    assert len(set(texts)) == 3, "times differ"
    assert Store(out).ids() == [first, second]
    assert {r.content_hash for r in superseded(out).values()} == {hashes(out)[first]}
    assert irlbench.load_results(out).height == 2
    assert irlbench.load_trial(out, first[:10]).record.trial == first
    assert go(out, seeds=2, retry_failed=True).reused == 2


@linux
@pytest.mark.parametrize("algorithm", ["short/walk", "short/goes-on"])
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_rerun_that_is_cut_off_leaves_the_old_record(
    tmp_path: Path, algorithm: str, stop: int
) -> None:
    out = tmp_path / "out"
    given: dict[str, Any] = {"checkpoint_seconds": 0.0, "algorithms": [algorithm]}
    go(out, **given)
    (trial,) = Store(out).ids()
    before = (out / f"trials/{trial}/record.json").read_bytes()
    driver = Driver(tmp_path / "driver", short(out, rerun=trial, **given), held=1)
    under_way(driver)
    driver.process.send_signal(stop)
    driver.process.wait()
    until(lambda: not alive(tmp_path / "driver"), "its processes to end", 10)
    assert (out / f"trials/{trial}/record.json").read_bytes() == before
    assert not superseded(out)
    assert go(out, **given).reused == 1
    assert go(out, rerun=trial, **given).done == 1
    assert list(superseded(out)) == [f"{trial}.superseded-1"]
    assert not list((out / "working").iterdir())


@linux
def test_the_first_publication_wins_and_the_other_is_dropped_and_said(tmp_path: Path) -> None:
    go(tmp_path / "elsewhere")
    (trial,) = Store(tmp_path / "elsewhere").ids()
    driver = Driver(tmp_path / "driver", short(tmp_path / "out"), held=1)
    under_way(driver)
    place = tmp_path / "out/trials" / trial
    shutil.copytree(tmp_path / "elsewhere/trials" / trial, place)
    record = (place / "record.json").read_bytes()
    driver.let_go()
    assert driver.wait() == 0
    assert "another run published it first; this one is dropped" in driver.text
    summary = driver.summaries[0]
    assert (summary["done"], summary["reused"], summary["planned"]) == (0, 1, 1)
    assert (place / "record.json").read_bytes() == record
    assert [path.name for path in place.parent.iterdir()] == [trial]
    assert not list((tmp_path / "out/working").iterdir())


@linux
def test_a_record_that_cannot_be_read_is_no_publication(tmp_path: Path) -> None:
    go(tmp_path / "elsewhere")
    (trial,) = Store(tmp_path / "elsewhere").ids()
    driver = Driver(tmp_path / "driver", short(tmp_path / "out"), held=1)
    under_way(driver)
    place = tmp_path / "out/trials" / trial
    shutil.copytree(tmp_path / "elsewhere/trials" / trial, place)
    damage(place, "flipped")
    driver.let_go()
    assert driver.wait() == 0
    assert driver.summaries[0]["done"] == 1
    assert hashes(tmp_path / "out") == hashes(tmp_path / "elsewhere")
    damaged = place.with_name(f"{trial}.superseded-1")
    assert (damaged / "record.json").is_file()
    assert len(list(place.parent.iterdir())) == 2


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing", "gone"])
@pytest.mark.parametrize("again", ["retry_failed", "rerun"])
def test_a_damaged_record_is_named_and_run_again_on_request(
    tmp_path: Path, how: str, again: str
) -> None:
    out = tmp_path / "out"
    go(out, seeds=2)
    reference = hashes(out)
    first, _ = Store(out).ids()
    damage(out / "trials" / first, how)
    summary = go(out, seeds=2)
    assert (summary.planned, summary.done, summary.reused, summary.failed) == (2, 0, 1, 0)
    ((trial, fault),) = summary.damaged
    assert trial == first
    assert first in fault
    assert not superseded_names(out)
    summary = go(out, seeds=2, **{again: True if again == "retry_failed" else first})
    assert (summary.done, summary.reused, summary.retried, summary.damaged) == (1, 1, 1, [])
    assert superseded_names(out) == [f"{first}.superseded-1"]
    assert hashes(out) == reference


def superseded_names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "trials").glob("*.superseded-*"))


def test_records_of_other_versions_are_used_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = provenance.versions()
    with monkeypatch.context() as then:
        then.setattr(provenance, "versions", lambda: {**now, "numpy": "0.0.1", "gone": "3"})
        go(tmp_path / "out", seeds=2)
    capsys.readouterr()
    summary = go(tmp_path / "out", seeds=3, progress=PlainProgress(sys.stdout))
    assert (summary.done, summary.reused) == (1, 2)
    printed = capsys.readouterr().out
    told = "2 of the trials there were made with other versions: "
    assert printed.count("other versions") == 1
    assert f"{told}gone 3 (now none), numpy 0.0.1 (now {now['numpy']})\n" in printed
    go(tmp_path / "same", seeds=1)
    go(tmp_path / "same", seeds=1)
    assert "other versions" not in capsys.readouterr().out


@pytest.mark.parametrize("rerun", ["0123456789", "", "zz", "../x"])
def test_a_rerun_must_name_a_trial(tmp_path: Path, rerun: str) -> None:
    go(tmp_path / "out", seeds=2)
    with pytest.raises(UsageError, match=r"none of the 2 trials of this run begins so"):
        go(tmp_path / "out", seeds=2, rerun=rerun)
    assert not superseded_names(tmp_path / "out")


def test_a_rerun_must_name_one_trial(tmp_path: Path) -> None:
    seeds = 20  # of twenty hexadecimal digits, two are the same
    go(tmp_path / "out", seeds=seeds, jobs=2, settings={"short/walk.nap": 0.0})
    (digit, number), *_ = Counter(t[0] for t in Store(tmp_path / "out").ids()).most_common(1)
    with pytest.raises(UsageError, match=rf"--rerun {digit}: {number} of the 20 trials"):
        go(tmp_path / "out", seeds=seeds, settings={"short/walk.nap": 0.0}, rerun=digit)


def irlbench_run(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["run", TASK, "-a", "short/walk,short/fails", "-s", "1", "-o", str(out), "-j", "2"]
    return subprocess.run(
        [sys.executable, "-m", "irlbench", *command, "--plugin", str(PLUGIN), *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_line_runs_trials_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = irlbench_run(out)
    assert first.returncode == 1
    assert "1 trial done, 1 failed" in first.stdout
    assert "--retry-failed" in first.stderr
    records = {record.spec["algorithm"]: record for record in Store(out).records()}
    walk, fails = (records[name].trial for name in ("short/walk", "short/fails"))
    again = irlbench_run(out)
    assert again.returncode == 1
    assert "0 trials done, 2 there already, 1 failed in all" in again.stdout
    both = irlbench_run(out, "--rerun", walk[:12], "--retry-failed")
    assert both.returncode == 1
    assert "2 trials to run" in both.stdout
    assert "1 trial done, 1 failed" in both.stdout
    assert superseded_names(out) == sorted(f"{trial}.superseded-1" for trial in (walk, fails))
    none = irlbench_run(out, "--rerun", "xyz")
    assert none.returncode == 2
    assert "--rerun xyz: none of the 2 trials of this run begins so" in none.stderr
    damage(out / "trials" / walk, "truncated")
    damaged = irlbench_run(out)
    assert damaged.returncode == 1
    assert "1 damaged" in damaged.stdout
    assert f"trial {walk[:12]} cannot be used" in damaged.stderr
    assert "--retry-failed" in damaged.stderr
    assert json.loads((out / f"trials/{fails}/record.json").read_text())["trial"] == fails
