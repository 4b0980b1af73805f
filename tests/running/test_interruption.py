"""Runs that are stopped, killed, or lose a process: nothing finished is lost, nobody lives on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import irlbench
from irlbench.running.interrupts import interruptible, uninterrupted
from irlbench.running.store import Store

PLUGIN = Path(__file__).with_name("toy_plugin.py")
TASK = "gridworld/toy"


def only(out: Path) -> Any:
    (record,) = Store(out).records()
    return record


def _driver(out: Path, algorithm: str, where: Path) -> subprocess.Popen[str]:
    script = (
        "import irlbench\n"  # no __main__ guard, on purpose: children must not import it
        f"s = irlbench.run('{TASK}', algorithms=['toy/good', '{algorithm}'], seeds=1, jobs=1,\n"
        f"    plugins=[{str(PLUGIN)!r}], out={str(out)!r},\n"
        f"    settings={{'{algorithm}.where': {str(where)!r}}})\n"
        "print('interrupted' if s.interrupted else 'finished', s.done)\n"
    )
    path = where / "script.py"
    path.write_text(script)
    return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)


def _await_hang(where: Path) -> int:
    for _ in range(600):
        if (where / "hanging").exists() and (where / "hanging").read_text():
            return int((where / "hanging").read_text())
        time.sleep(0.1)
    raise AssertionError("the trial never began")


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_loses_no_finished_trial_and_leaves_no_process(tmp_path: Path, stop: int) -> None:
    driver = _driver(tmp_path / "out", "toy/hangs", tmp_path)
    hanging = _await_hang(tmp_path)
    driver.send_signal(stop)
    output, _ = driver.communicate(timeout=60)
    assert "interrupted 1" in output
    assert _gone(hanging)
    assert only(tmp_path / "out").spec["algorithm"] == "toy/good"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_driver_takes_its_children_along_and_a_trial_goes_on_from_its_checkpoint(
    tmp_path: Path,
) -> None:
    driver = _driver(tmp_path / "out", "toy/resumes", tmp_path)
    hanging = _await_hang(tmp_path)
    driver.kill()
    driver.communicate()
    assert _gone(hanging)
    output, _ = _driver(tmp_path / "out", "toy/resumes", tmp_path).communicate(timeout=120)
    assert "finished 1" in output
    store = Store(tmp_path / "out")
    record = next(r for r in store.records() if r.spec["algorithm"] == "toy/resumes")
    assert record.costs["gradient_steps"] == 2
    curve = store.curve(record.trial)
    assert curve["value"].to_list() == [2.0]
    assert not list((tmp_path / "out/working").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_dead_learner_is_noticed_though_its_own_child_lives_and_both_are_ended(
    tmp_path: Path,
) -> None:
    began = time.monotonic()
    summary = irlbench.run(
        TASK,
        algorithms="toy/orphans",
        plugins=PLUGIN,
        seeds=1,
        out=tmp_path / "out",
        settings={"toy/orphans.where": str(tmp_path)},
    )
    assert summary.failed == 1
    assert time.monotonic() - began < 60
    assert "signal 9" in only(tmp_path / "out").error["message"]
    assert _gone(int((tmp_path / "orphan").read_text()))


def test_ctrl_c_is_held_back_though_other_threads_take_the_signal() -> None:
    """A live display has a thread of its own, to which the system may give the signal."""
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    done = False
    try:
        with pytest.raises(KeyboardInterrupt), interruptible(), uninterrupted():  # noqa: PT012
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            done = True
    finally:
        stop.set()
        other.join()
    assert done
