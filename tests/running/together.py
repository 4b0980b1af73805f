"""Runs of bad toys among good ones, and what they leave behind."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import irlbench
from irlbench.running.store import Store

#: The first one's task is what the others' algorithms run on.
PLUGINS = [
    Path(__file__).with_name(name)
    for name in ("toy_plugin.py", "bad_toys.py", "worse_toys.py", "bad_judges.py")
]
TASK = "gridworld/toy"
GOOD = [f"bad/good-{number}" for number in (1, 2, 3, 4)]


class Ran:
    """One run of bad toys among good ones, and what it left.

    Args:
        folder: Of the run.
        toys: The bad ones.
        good: The good ones.
        more: Arguments of `irlbench.run`.
    """

    def __init__(
        self, folder: Path, toys: Sequence[str], good: Sequence[str] = GOOD, **more: Any
    ) -> None:
        self.folder, self.out = folder, folder / "out"
        settings = {}
        for toy in toys:
            (folder / toy).mkdir(parents=True)
            settings[f"bad/{toy}.where"] = str(folder / toy)
        mixed = [f"bad/{toy}" for toy in toys]
        for place, name in enumerate(good):
            mixed.insert(place * (len(mixed) // len(good) + 1), name)
        self.planned = len(mixed)
        more = {"seeds": 1, "settings": settings, **more}
        self.summary = irlbench.run(TASK, algorithms=mixed, plugins=PLUGINS, out=self.out, **more)
        self.left = orphans(folder)
        self.store = Store(self.out)
        self.records = {r.spec["algorithm"].removeprefix("bad/"): r for r in self.store.records()}

    def error(self, toy: str) -> dict[str, str]:
        """What a toy's record says went wrong; the record and its files are whole."""
        record = self.records[toy]
        self.store.check(record)
        assert record.failed
        assert record.scores == {}
        assert record.error is not None
        assert record.error["traceback"] in self.log(toy)
        return dict(record.error)

    def log(self, toy: str) -> str:
        """What a toy has printed, as it was kept."""
        return (self.store.folder(self.records[toy].trial) / "log.txt").read_text(errors="replace")

    @property
    def good(self) -> dict[str, str]:
        """Content hashes of the good ones."""
        return {n: r.content_hash for n, r in self.records.items() if f"bad/{n}" in GOOD}


def orphans(folder: Path, patience: float = 5.0) -> dict[int, str]:
    """Those of `left_over` that are there for good: what the kernel kills goes in its own time."""
    until = time.monotonic() + patience
    while (found := left_over(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def left_over(folder: Path) -> dict[int, str]:
    """Processes that live, and have a file under a folder open or left their id there."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()) or not _lives(process):
            continue
        try:
            files = [str(entry.readlink()) for entry in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(file.startswith(f"{folder}/") for file in files):
            found[int(process.name)] = str(files)
    for file in folder.rglob("*.pid"):
        if _lives(Path("/proc") / file.read_text()):
            found[int(file.read_text())] = file.name
    return found


def _lives(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def go(out: Path, *algorithms: str, **more: Any) -> Any:
    """One seed, one trial at a time."""
    more = {"seeds": 1, "jobs": 1, **more}
    return irlbench.run(TASK, algorithms=algorithms or "toy/good", plugins=PLUGINS, out=out, **more)


def hashes(out: Path) -> dict[str, str]:
    """Algorithm to content hash, every file of every record checked."""
    store = Store(out)
    for record in store.records():
        store.check(record)
    return {r.spec["algorithm"]: r.content_hash for r in store.records()}
