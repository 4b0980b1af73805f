"""Runs whose driver, workers and fork server are killed again and again lose and double nothing."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from irlbench.running.store import Store

from .drivers import (  # noqa: TID252 - the tests are no package with a name
    MARK,
    PLUGIN,
    TASK,
    Driver,
    alive,
    hashes,
    short,
    superseded,
    until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

#: Of a leaderboard, what may differ between two runs of the same trials.
COSTS = ("seconds", "peak_memory_bytes")


def toys(out: Path, seeds: int) -> tuple[Any, dict[str, Any]]:
    """Short trials, some of which keep a checkpoint at every step."""
    algorithms = ["short/walk", "short/goes-on", "short/forks"]
    return TASK, {
        "algorithms": algorithms,
        "seeds": seeds,
        "jobs": 2,
        "plugins": [PLUGIN],
        "settings": {"short/goes-on.nap": 0.05},
        "retry_failed": True,
        "checkpoint_seconds": 0.0,
        "out": out,
    }


def real(out: Path) -> tuple[Any, dict[str, Any]]:
    """A few short trials of what the benchmark is for."""
    return ["gridworld/four-rooms", "control/cartpole"], {
        "algorithms": ["bc", "random", "survival"],
        "seeds": 1,
        "jobs": 2,
        "settings": {"bc.gradient_steps": 100},
        "budget": {"steps": 2048},
        "retry_failed": True,
        "checkpoint_seconds": 0.05,
        "out": out,
    }


def disturbed(
    place: Path,
    runs: list[tuple[Any, dict[str, Any]]],
    rng: random.Random,
    kills: int,
    pause: float,
    beside: int = 1,
) -> int:
    """Runs until everything is there, and kills something every now and then.

    Args:
        place: For what drivers print.
        runs: What to run, again and again.
        rng: Says what is killed, and when.
        kills: At most so many.
        pause: Seconds between two of them, on average.
        beside: Drivers at a time.

    Returns:
        How many kills there were.
    """
    place.mkdir()
    places = [place / f"driver-{i}" for i in range(beside)]
    drivers = [Driver(folder, *runs) for folder in places]
    done, started = 0, beside
    while any(driver.process.poll() != 0 for driver in drivers):
        time.sleep(rng.uniform(0.0, 2 * pause))
        driver = rng.choice(drivers)
        under_way = " to run\n" in driver.text  # of those before, a few are enough
        if done < kills and (under_way or rng.random() < 0.1) and _kill(driver, rng):
            done += 1
        for i, driver in enumerate(drivers):
            if driver.process.poll() not in (None, 0):
                if rng.random() < 0.5:  # else the next run meets what is left of this one
                    until(lambda i=i: not alive(places[i]), "what was killed to end", 10)
                drivers[i] = Driver(places[i], *runs)
                started += 1
        assert started < 2 * kills + 10, f"does not come to an end:\n{driver.text}"
    until(lambda: not any(map(alive, places)), "the last processes to end", 10)
    return done


def _kill(driver: Driver, rng: random.Random) -> bool:
    """Kills the driver, its group, a process of a trial, or the fork server, if it is there."""
    what = rng.choices(["driver", "group", "worker", "server"], [4, 2, 7, 1])[0]
    if what in ("driver", "group"):
        if driver.process.poll() is not None:
            return False
        (os.kill if what == "driver" else os.killpg)(driver.process.pid, signal.SIGKILL)
        driver.process.wait()
        return True
    victim = driver.server() if what == "server" else rng.choice(driver.workers() or [None])
    if victim is None:
        return False
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        return False
    if what == "server":  # without it, only the driver can end what its trials have forked
        time.sleep(0.5)
    return True


def check(out: Path, reference: Path) -> None:
    """What stands there is what an undisturbed run leaves."""
    assert hashes(out) == hashes(reference)
    assert not list((out / "working").iterdir())
    kinds = re.compile(r"[0-9a-f]{64}(\.superseded-[1-9][0-9]*)?")
    names = [path.name for path in (out / "trials").iterdir()]
    assert all(kinds.fullmatch(name) for name in names)
    assert {name.partition(".")[0] for name in names} == set(Store(reference).ids())
    for name, record in superseded(out).items():
        assert record.failed, name
        assert record.error["type"] == "ProcessDied", record.error
    for ours, theirs in zip(leaderboards(out), leaderboards(reference), strict=True):
        assert ours == theirs


def leaderboards(out: Path) -> tuple[Any, Any]:
    """`leaderboard.json` and `.csv` as `irlbench report` writes them, without the costs."""
    command = [sys.executable, "-m", "irlbench", "report", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    board = json.loads((out / "report/leaderboard.json").read_text())
    with (out / "report/leaderboard.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(board["rows"]) == len(table) > 0
    for row in [*board["rows"], *table]:
        for name in COSTS:
            del row[name]
    return board, table


def undisturbed(place: Path, *runs: tuple[Any, dict[str, Any]]) -> None:
    driver = Driver(place, *runs)
    assert driver.wait(120) == 0, driver.text


def test_five_kills_change_nothing(tmp_path: Path) -> None:
    undisturbed(tmp_path / "calm", toys(tmp_path / "reference", 2))
    kills, number, rng = 0, 0, random.Random(0)
    while kills < 5:
        out, wild = tmp_path / f"out-{number}", tmp_path / f"wild-{number}"
        kills += disturbed(wild, [toys(out, 2)], rng, 5 - kills, 0.3)
        check(out, tmp_path / "reference")
        number += 1


@pytest.mark.parametrize("victim", ["driver", "group", "server"])
def test_what_a_trial_has_forked_ends_with_it(tmp_path: Path, victim: str) -> None:
    given = short(tmp_path / "out", algorithms=["short/forks"], jobs=2, seeds=2)
    driver = Driver(tmp_path / "place", given, held=1)
    until(lambda: len(alive(tmp_path / "place")) == 9, "driver, tracker, server, 2 x 3 processes")
    family = alive(tmp_path / "place")
    if victim == "group":  # as `kill -9 %1` in a shell
        os.killpg(driver.process.pid, signal.SIGKILL)
    else:
        pid = driver.process.pid if victim == "driver" else driver.server()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    if victim == "server":
        assert driver.wait() == 1
        messages = [
            record.error["message"] for record in Store(tmp_path / "out").records() if record.failed
        ]
        assert messages
        assert all("was lost with the fork server that started it" in text for text in messages)
        assert driver.summaries[0]["planned"] == 2
    else:
        driver.process.wait()
    until(lambda: not set(family) & set(alive(tmp_path / "place")), "its processes to end", 10)


_CHILD = """
import os, time
from irlbench.running import child
from irlbench.running.journal import Line
def tells(connection):
    connection.send((os.getpid(), {k: v for k, v in os.environ.items() if "THREADS" in k}))
    time.sleep(0.5)  # the fork server is killed meanwhile
    child.begin(None, Line(connection))
    time.sleep(600)
"""
_SERVER = """
import json, os, signal, sys, time
from multiprocessing import forkserver
from irlbench.running import processes
from told import tells
processes.start_server(3, [])
told = []
for _ in range(5):
    started = processes.start(tells)
    told.append(started.connection.recv())
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    # The next one is asked for while the system still buries the server.
print(json.dumps(told))
time.sleep(1)
"""


def test_a_killed_fork_server_is_replaced_by_one_like_it(tmp_path: Path) -> None:
    """With the threads that were asked for; and what it had just started does not live on."""
    (tmp_path / "told.py").write_text(_CHILD)
    found = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    ended = subprocess.run(
        [sys.executable, "-c", _SERVER],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**environment, MARK: str(tmp_path), "PYTHONPATH": found},
    )
    told = json.loads(ended.stdout)
    assert len({pid for pid, _ in told}) == 5
    for _, threads in told:
        assert threads["OMP_NUM_THREADS"] == "3", threads
        assert threads == told[0][1]
    until(lambda: not alive(tmp_path), "what the servers had started to end", 5)


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_fifty_kills_change_nothing(tmp_path: Path) -> None:
    """Eighteen toys, then real trials, then toys by two runs at once; begun afresh when complete."""
    plans = {"toys": lambda out: [toys(out, 6)], "real": lambda out: [real(out)]}
    for name, plan in plans.items():
        undisturbed(tmp_path / f"calm-{name}", *plan(tmp_path / f"reference-{name}"))
    rng, kills, said = random.Random(1), 0, ""
    for number in range(20):
        name, most, pause = ("real", 8, 1.5) if number == 1 else ("toys", 24, 0.25)
        beside = 2 if number == 2 else 1
        out = tmp_path / f"out-{number}"
        wild = tmp_path / f"wild-{number}"
        kills += disturbed(wild, plans[name](out), rng, min(most, 50 - kills), pause, beside)
        check(out, tmp_path / f"reference-{name}")
        said += "".join(record.error["message"] for record in superseded(out).values())
        said += "".join(path.read_text() for path in wild.glob("*/printed-*"))
        if number and kills >= 50:
            break
    assert kills == 50
    for who in ("learner", "evaluator"):
        assert f"the {who}'s process was killed by signal 9" in said
    assert "goes on from its checkpoint" in said
