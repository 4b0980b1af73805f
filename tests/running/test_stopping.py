"""Runs that are stopped, once, twice and again, or killed with all that their trials have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import irlbench
from irlbench.running.store import Store

from .together import (  # noqa: TID252 - the tests are no package with a name
    PLUGINS,
    TASK,
    left_over,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_DRIVER = """
import sys, time
from pathlib import Path
from irlbench.running import processes, store
from irlbench.cli import main

mode, where = sys.argv.pop(1), Path(sys.argv.pop(1))
write, end = store._write, processes.end

def slow_write(*arguments):
    (where / "writing").touch()
    for _ in range(10 if mode == "slow-write" else 60):
        time.sleep(0.1)
    return write(*arguments)

def slow_end(children):
    children = list(children)
    if (where / "stopping").exists() and children:
        (where / "ending").touch()
        for _ in range(15 if mode == "slow-end" else 60):
            time.sleep(0.1)
    end(children)
    (where / "ended").touch()

if mode.endswith("slow-write"):
    store._write = slow_write
if mode.endswith("slow-end"):
    processes.end = slow_end
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[Any]:
    """Starts drivers in sessions of their own; none of them outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str, *algorithms: str) -> subprocess.Popen[str]:
        (tmp_path / "driver.py").write_text(_DRIVER)
        where = tmp_path / "where"
        where.mkdir(exist_ok=True)
        command = [sys.executable, str(tmp_path / "driver.py"), mode, str(where), "run", TASK]
        command += [f"--plugin={path}" for path in PLUGINS]
        command += ["--seeds=1", "--jobs=2", f"--algorithms={','.join(algorithms)}", "--out=out"]
        command += [f"--set={name}.where={where}" for name in algorithms]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        driver = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)  # type: ignore[call-overload]
        started.append(driver)
        return driver

    yield start
    for driver in started:
        driver.kill()
        for pid in left_over(tmp_path):  # of a test that has failed
            os.kill(pid, signal.SIGKILL)
        driver.communicate()


def _await(path: Path, driver: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if path.exists():
            return
        if driver.poll() is not None:
            raise AssertionError(driver.communicate())
        time.sleep(0.05)
    raise AssertionError(f"no {path.name}")


def _nothing_lives(folder: Path, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while left_over(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _ids(out: Path) -> set[str]:
    """Names of the algorithms of the records; each record is whole."""
    store = Store(out)
    for trial in store.ids():
        store.check(store.read(trial))
    return {record.spec["algorithm"] for record in store.records()}


def test_a_childs_children_die_with_a_killed_driver(tmp_path: Path, drivers: Any) -> None:
    driver = drivers("plain", "bad/hangs-with-family")
    _await(tmp_path / "where/hanging", driver)
    assert len(list(tmp_path.glob("where/*.pid"))) == 3
    assert len(left_over(tmp_path)) >= 4
    driver.kill()
    driver.wait()
    assert _nothing_lives(tmp_path)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_record_that_is_being_written_is_finished_first(
    tmp_path: Path, drivers: Any, number: int
) -> None:
    driver = drivers("slow-write", "bad/good-1", "bad/hangs-with-family")
    _await(tmp_path / "where/writing", driver)
    os.killpg(driver.pid, number)  # as a terminal does: to all of the group
    output, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "interrupted; every finished trial is kept" in errors
    assert "to go on: irlbench run gridworld/toy" in errors
    assert "Traceback" not in output + errors
    assert _ids(tmp_path / "out") == {"bad/good-1"}
    assert not list((tmp_path / "out/working").iterdir())
    assert _nothing_lives(tmp_path, 0.0)


def test_ctrl_c_twice_stops_at_once_and_the_same_command_goes_on(
    tmp_path: Path, drivers: Any
) -> None:
    driver = drivers("very-slow-write", "bad/good-1", "bad/hangs-with-family")
    _await(tmp_path / "where/writing", driver)
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(0.3)
    assert driver.poll() is None
    began = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert time.monotonic() - began < 3, "it writes for 6 s"
    assert driver.returncode == 130
    assert "to go on: irlbench run" in errors
    assert "Traceback" not in errors
    assert _ids(tmp_path / "out") == set()
    assert _nothing_lives(tmp_path)
    settings = {"bad/good-1.where": str(tmp_path / "where")}
    again = {"plugins": PLUGINS, "seeds": 1, "out": tmp_path / "out", "settings": settings}
    assert irlbench.run(TASK, algorithms=["bad/good-1"], **again).done == 1  # type: ignore[arg-type]


@pytest.mark.slow
def test_ctrl_c_once_more_while_processes_are_ended_leaves_none_behind(
    tmp_path: Path, drivers: Any
) -> None:
    driver = drivers("slow-end", "bad/hangs-with-family", "bad/good-1")
    _await(tmp_path / "where/hanging", driver)
    (tmp_path / "where/stopping").touch()
    (tmp_path / "where/ended").unlink(missing_ok=True)
    os.killpg(driver.pid, signal.SIGINT)
    _await(tmp_path / "where/ending", driver)
    os.killpg(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert (tmp_path / "where/ended").exists(), "the second one waits for the clean-up"
    assert driver.returncode == 130
    assert "to go on: irlbench run" in errors
    assert "Traceback" not in errors
    assert _nothing_lives(tmp_path, 0.0)
    assert _ids(tmp_path / "out") <= {"bad/good-1"}


@pytest.mark.slow
def test_an_impatient_third_ctrl_c_ends_the_clean_up_too(tmp_path: Path, drivers: Any) -> None:
    driver = drivers("very-slow-end", "bad/hangs-with-family")
    _await(tmp_path / "where/hanging", driver)
    (tmp_path / "where/stopping").touch()
    os.killpg(driver.pid, signal.SIGINT)
    _await(tmp_path / "where/ending", driver)
    began = time.monotonic()
    for _ in range(2):
        os.killpg(driver.pid, signal.SIGINT)
        time.sleep(0.2)
    driver.communicate(timeout=60)
    assert time.monotonic() - began < 4, "it cleans up for 6 s"
    assert driver.returncode == 130
    assert _nothing_lives(tmp_path), "then the fork server ends them"
