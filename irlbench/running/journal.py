"""The learner's side of a curve: what is logged and handed in goes to the driver, and is kept.

A trial that goes on from a checkpoint begins with what was logged and handed in before it. Policies
stay in the trial's folder, under `saves`, until their scores stand there, under `judged`.
"""

from __future__ import annotations

import itertools
import json
import operator
import os
import pickle
import shutil
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Sink
from irlbench.policy import KINDS, Policy, save_policy
from irlbench.serialisation import canonical_json

Logged = tuple[int, float, str, float]
"""Step, seconds, name, value."""


class Line:
    """A child's side of its pipe. Any of its threads may speak, but none of its own children.

    Args:
        connection: To the driver.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._owner = connection, os.getpid()
        self._lock = threading.Lock()

    @property
    def ours(self) -> bool:
        """Whether this process may speak."""
        return os.getpid() == self._owner

    def check(self) -> None:
        """Refuses whoever may not speak.

        Raises:
            RuntimeError: In a process that the child has forked.
        """
        if not self.ours:
            raise RuntimeError(
                "a process forked by a trial cannot log, save or finish in its place"
            )

    def send(self, message: tuple[Any, ...]) -> None:
        """Sends one message.

        Raises:
            RuntimeError: In a process that the child has forked.
        """
        self.check()
        with self._lock:
            self._connection.send(message)


class Journal(Sink):
    """Tells the driver what is logged and handed in.

    Sends ("log", rows) and ("save", step, seconds, policy); ("resumed", rows, handed) once when a
    fit goes on from a checkpoint, with the rows and the (step, seconds) of every policy before it.

    Args:
        line: To the driver.
        folder: The trial's.
        made_with: Names the code and the packages; a checkpoint of others is not used.
    """

    def __init__(self, line: Line, folder: Path, made_with: str) -> None:
        self._line, self._folder, self._made_with = line, folder, made_with
        self._rows: list[Logged] = []
        self._handed: list[tuple[int, float]] = []
        self._begun = False

    def log(self, step: int, seconds: float, scalars: dict[str, float]) -> None:
        """See `Sink.log`."""
        self._begin()
        step = _step(step)
        rows = [(step, seconds, name, value) for name, value in sorted(scalars.items())]
        self._line.send(("log", rows))
        self._rows += rows

    def save(self, step: int, seconds: float, policy: Policy) -> None:
        """See `Sink.save`."""
        self._begin()
        step, place = _step(step), len(self._handed)
        (self._folder / "saves").mkdir(exist_ok=True)
        content = hand_over(policy, self._folder / "saves" / str(place))
        self._line.send(("save", step, seconds, content))
        self._handed.append((step, seconds))

    def kept(self) -> dict[str, NDArray[Any]]:
        """See `Sink.kept`."""
        self._line.check()
        names = sorted({name for _, _, name, _ in self._rows})
        place = {name: i for i, name in enumerate(names)}
        about = canonical_json({"names": names, "made_with": self._made_with}).encode()
        columns: list[tuple[Any, ...]] = list(zip(*self._rows, strict=True)) or [(), (), (), ()]
        return {
            "about": np.frombuffer(about, dtype=np.uint8),
            "logged.step": np.array(columns[0], dtype=np.int64),
            "logged.seconds": np.array(columns[1], dtype=np.float64),
            "logged.name": np.array([place[name] for name in columns[2]], dtype=np.int64),
            "logged.value": np.array(columns[3], dtype=np.float64),
            "handed.step": np.array([step for step, _ in self._handed], dtype=np.int64),
            "handed.seconds": np.array([s for _, s in self._handed], dtype=np.float64),
        }

    def go_on(self, kept: Mapping[str, NDArray[Any]]) -> bool:
        """See `Sink.go_on`. Not possible with other code or packages, or where a policy is lost."""
        try:
            about = json.loads(kept["about"].tobytes())
            names = [about["names"][i] for i in kept["logged.name"].tolist()]
            columns = (kept[f"logged.{name}"].tolist() for name in ("step", "seconds", "value"))
            rows = list(zip(*columns, names, strict=True))
            places = (kept[f"handed.{name}"].tolist() for name in ("step", "seconds"))
            handed = list(zip(*places, strict=True))
        except (KeyError, ValueError, TypeError, IndexError):
            return False
        if about["made_with"] != self._made_with:
            sys.stdout.write("irlbench: begins anew; the checkpoint is of other code or packages\n")
            return False
        if not all(self._there(place) for place in range(len(handed))):
            return False
        for place in itertools.count(len(handed)):  # of after the checkpoint: made again
            if not self._there(place):
                break
            shutil.rmtree(self._folder / "saves" / str(place), ignore_errors=True)
            judged(self._folder, place).unlink(missing_ok=True)
        self._begun = True
        self._rows = [(step, seconds, name, value) for step, seconds, value, name in rows]
        self._handed = handed
        self._line.send(("resumed", self._rows, self._handed))
        sys.stdout.write(f"irlbench: goes on from a checkpoint with {len(handed)} policies\n")
        return True

    def _begin(self) -> None:
        """Removes what an earlier attempt handed in, unless this one goes on from it."""
        self._line.check()  # before anything is written
        if not self._begun:
            for name in ("saves", "judged"):
                shutil.rmtree(self._folder / name, ignore_errors=True)
            self._begun = True

    def _there(self, place: int) -> bool:
        saved = self._folder / "saves" / str(place) / "policy.json"
        return saved.is_file() or judged(self._folder, place).is_file()


def hand_over(policy: Policy, folder: Path) -> bytes | None:
    """Writes a policy of a closed kind; any other travels between our own two processes."""
    if policy.kind in KINDS:
        folder.mkdir(exist_ok=True)  # not its parents: the output directory may have been moved
        save_policy(policy, folder)
        return None
    return pickle.dumps(policy)


def judged(folder: Path, place: int) -> Path:
    """Where the scores of a policy that was handed in along the way are kept.

    Args:
        folder: The trial's.
        place: Its number, in the order of handing in.
    """
    return folder / "judged" / f"{place}.json"


def _step(step: Any) -> int:
    whole = operator.index(step)
    if not 0 <= whole < 2**63:
        raise ValueError(f"a step of the curve must be from 0 on and below 2**63, got {whole}")
    return whole
