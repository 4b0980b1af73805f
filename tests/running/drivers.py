"""Runs in processes of their own, which tests kill, stop, and start beside each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from irlbench.running.record import Record
from irlbench.running.store import Store
from irlbench.serialisation import read_json

PLUGIN = Path(__file__).with_name("short_trials.py")
TASK = "gridworld/short"
MARK = "SHORT_TRIALS_MARK"
_SCRIPT = """
import dataclasses, json, os, sys, time
import irlbench
from irlbench.running.api import run
from irlbench.running.progress import PlainProgress
print("ready", flush=True)
while os.path.exists(os.environ["SHORT_TRIALS_GATE"]):
    time.sleep(0.001)
progress, good = PlainProgress(sys.stdout), True
for target, choices in json.loads(sys.argv[1]):
    summary = irlbench.run(target, progress=progress, **choices)
    good = good and not (summary.failed or summary.damaged or summary.interrupted)
    print("summary", json.dumps(dataclasses.asdict(summary), default=str), flush=True)
sys.exit(0 if good else 1)
"""


class Driver:
    """A run, or several one after the other, in a process and session of its own.

    Args:
        place: A folder for what it prints and for the list of trials that were started.
        runs: Targets and choices of `irlbench.run`, in order.
        gate: It waits until this file is gone.
        held: Its trials wait after so many steps until they are told to go on.
    """

    def __init__(
        self,
        place: Path,
        *runs: tuple[Any, dict[str, Any]],
        gate: Path | None = None,
        held: int | None = None,
    ) -> None:
        place.mkdir(exist_ok=True)
        self._hold = place / "hold"
        if held is not None:
            self._hold.write_text(str(held))
        self.mark, self.starts = str(place), place / "starts"
        self.printed = place / f"printed-{len(list(place.glob('printed-*')))}"
        environment = {
            **os.environ,
            MARK: self.mark,
            "SHORT_TRIALS_STARTS": str(self.starts),
            "SHORT_TRIALS_GATE": str(gate or ""),
            "SHORT_TRIALS_HOLD": str(self._hold),
        }
        with self.printed.open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SCRIPT, json.dumps(runs, default=str)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def let_go(self) -> None:
        """Lets its trials go on."""
        self._hold.unlink()

    def kill(self) -> None:
        """Kills it, and waits for the end of all that it has started."""
        self.process.kill()
        self.process.wait()
        until(lambda: not alive(Path(self.mark)), "a killed run's processes to end", 20)

    def wait(self, seconds: float = 60.0) -> int:
        """Waits until it ends; gives its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the run does not end:\n{self.text}") from None

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.printed.read_text()

    def awaits(self, text: str, seconds: float = 30.0) -> None:
        """Waits until it has printed something."""
        ended = self.process.poll
        until(lambda: text in self.text or ended() is not None, f"{text!r} to be printed", seconds)
        assert text in self.text, self.text

    @property
    def summaries(self) -> list[dict[str, Any]]:
        """The summary of each run that it has finished."""
        lines = [line for line in self.text.splitlines() if line.startswith("summary ")]
        return [json.loads(line.removeprefix("summary ")) for line in lines]

    def server(self) -> int | None:
        """The fork server's process, where it is there."""
        return next(
            (
                p
                for p, ppid in _living(self.mark).items()
                if ppid == self.process.pid and _serves(p)
            ),
            None,
        )

    def workers(self) -> list[int]:
        """Processes of trials (and of preparation), children of the fork server."""
        server = self.server()
        return [pid for pid, parent in _living(self.mark).items() if parent == server]


def at_once(
    folder: Path, number: int, *runs: tuple[Any, dict[str, Any]], held: int | None = None
) -> list[Driver]:
    """Several drivers with the same runs, which begin at the same moment."""
    gate = folder / "gate"
    gate.touch()
    drivers = [Driver(folder / f"driver-{i}", *runs, gate=gate, held=held) for i in range(number)]
    for driver in drivers:
        driver.awaits("ready")
    gate.unlink()
    return drivers


def starts(*drivers: Driver) -> Counter[str]:
    """How often each trial, named by algorithm and seed, was started by these."""
    files = {driver.starts for driver in drivers if driver.starts.exists()}
    return Counter(line for file in files for line in file.read_text().splitlines())


def alive(place: Path) -> list[int]:
    """Processes that a driver of this place has started, at whatever remove, and itself."""
    return list(_living(str(place)))


def _living(mark: str) -> dict[int, int]:
    """Process to parent, of those whose environment holds the mark. Dead ones have none."""
    found = {}
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = psutil.Process(int(folder.name)).ppid()
            except (OSError, psutil.Error):
                continue
    return found


def _serves(pid: int) -> bool:
    try:
        return b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def until(condition: Any, what: str, seconds: float = 30.0) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.01)


def short(out: Path, **more: Any) -> tuple[str, dict[str, Any]]:
    """A run of the short trials, for `Driver`."""
    usual = {"algorithms": ["short/walk"], "seeds": 1, "jobs": 1, "plugins": [PLUGIN]}
    return TASK, {**usual, "out": out, **more}


def hashes(out: Path) -> dict[str, str]:
    """Trial to content hash, after every file of every record was checked."""
    store = Store(out)
    found = {}
    for record in store.records():
        store.check(record)
        found[record.trial] = record.content_hash
    return found


def superseded(out: Path) -> dict[str, Record]:
    """Folder name to record of what was run again."""
    return {
        place.name: Record.from_json(read_json(place / "record.json"))
        for place in sorted((out / "trials").glob("*.superseded-*"))
    }
