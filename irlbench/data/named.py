"""The data sets of the cache folder: which there are, and those that a user gave a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from irlbench.data.minari_store import SUMMARY, DatasetSummary, datasets_in, read_summary
from irlbench.data.preference_store import SUMMARY as PREFERENCE_SUMMARY
from irlbench.data.preference_store import (
    PreferenceSummary,
    preferences_in,
    read_preference_summary,
)
from irlbench.errors import UnknownNameError, UsageError
from irlbench.home import below

Summary = DatasetSummary | PreferenceSummary

#: Names under which tasks keep what they build themselves.
RESERVED = frozenset({"expert", "mixed", "preferences"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BUILT = "built-"


@dataclass(frozen=True)
class StoredSet:
    """One data set of the cache folder.

    Attributes:
        task: Task id.
        name: What `--demos` takes; for what a task built by its recipe, its place below the task.
        kind: "built" by the task's recipe, "named" by who built it, or "imported".
        folder: Where it is.
        summary: What is known of it: of demonstrations, or of preferences.
    """

    task: str
    name: str
    kind: Literal["built", "named", "imported"]
    folder: Path
    summary: Summary


def require_name(name: str) -> None:
    """Refuses what no data set can be called.

    Raises:
        UsageError: If it would be no plain folder, or tasks use it themselves.
    """
    if not _NAME.fullmatch(name) or name in RESERVED or name.startswith(_BUILT):
        raise UsageError(
            f"--name {name!r} cannot be used: letters, digits, '.', '_' and '-', and not "
            f"{', '.join(map(repr, sorted(RESERVED)))} or {_BUILT + '...'!r}"
        )


def place_of(task_id: str, name: str, home: Path) -> Path:
    """The folder of a data set of that name.

    Args:
        task_id: `<world>/<name>-v<N>`.
        name: Of the data set.
        home: The cache folder.
    """
    return below(home / "data", f"{task_id}/{name}")


def require_free(task_id: str, name: str, home: Path, *, preferences: bool) -> None:
    """Refuses a name that the other kind of data already has.

    Raises:
        UsageError: If there are preferences where demonstrations are to go, or the reverse.
    """
    other, told = (
        (SUMMARY, "demonstrations") if preferences else (PREFERENCE_SUMMARY, "preferences")
    )
    if (place_of(task_id, name, home) / other).exists():
        raise UsageError(f"--name {name!r}: {task_id} has {told} of that name; choose another")


def named(task_id: str, name: str, home: Path) -> StoredSet:
    """A data set that was imported, or built under a name.

    Args:
        task_id: `<world>/<name>-v<N>`.
        name: As given then.
        home: The cache folder.

    Raises:
        UnknownNameError: If there is none of that name for this task.
        DataError: If there is, but its summary is damaged.
    """
    if _NAME.fullmatch(name):  # a damaged summary is not listed, but named here
        folder = place_of(task_id, name, home)
        if (folder / SUMMARY).exists():
            read_summary(folder)
        elif (folder / PREFERENCE_SUMMARY).exists():
            read_preference_summary(folder)
    found = {entry.name: entry for entry in list_sets(home, task_id) if entry.kind != "built"}
    if name in found:
        return found[name]
    error = UnknownNameError(f"data set of {task_id}", name, found)
    if not found:
        raise UsageError(
            f"there are no named data sets of {task_id}, so none called {name!r}: bring one by "
            "`irlbench data import`, or make one by `irlbench data build --name`"
        ) from error
    raise error


def list_sets(home: Path, task_id: str | None = None) -> list[StoredSet]:
    """Every data set in the cache folder, or those of one task, sorted by place.

    Demonstrations come first, then preferences. What is damaged is left out.
    """
    root = home / "data"
    place = root if task_id is None else below(root, task_id)
    found = []
    both: list[tuple[Path, Summary]] = [*datasets_in(place), *preferences_in(place)]
    for folder, summary in both:
        parts = folder.relative_to(root).parts
        if len(parts) < 3:
            continue  # no place of ours
        world, task, *rest = parts
        kind: Literal["built", "named", "imported"] = "named"
        if summary.recipe.get("demonstrator") == "imported":
            kind = "imported"
        elif rest[-1].startswith(_BUILT):
            kind = "built"
        found.append(StoredSet(f"{world}/{task}", "/".join(rest), kind, folder, summary))
    return found
