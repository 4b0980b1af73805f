"""Brings recorded demonstrations into the cache folder, checked before anything learns from them.

An archive holds, for each episode i from 0, `observations_i` (one row more than steps),
`actions_i`, `rewards_i`, `terminations_i` and `truncations_i`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from gymnasium import Space, spaces

from irlbench.data.demonstrations import Episode
from irlbench.data.minari_store import (
    SUMMARY,
    DatasetSummary,
    Recording,
    datasets_in,
    read_summary,
    write_dataset,
)
from irlbench.data.npz import NpzFile, numbered
from irlbench.data.validation import EpisodeChecker
from irlbench.errors import DataError, UnknownNameError, UsageError
from irlbench.home import below
from irlbench.serialisation import sha256_file

FIELDS = ("observations", "actions", "rewards", "terminations", "truncations")
#: Names under which tasks keep what they build themselves.
RESERVED = frozenset({"expert", "mixed", "preferences"})
#: Fields that are no part of an episode are named in the summary, so many and no longer.
_NAMED, _LONGEST = 5, 80
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ImportTarget(Protocol):
    """What importing asks of a task."""

    @property
    def id(self) -> str:
        """`<world>/<name>-v<N>`."""

    @property
    def info(self) -> Any:
        """Its declaration, of which the horizon is read."""

    def spaces(self) -> tuple[Space[Any], Space[Any]] | None:
        """Observation and action space, or None where the task takes no imports."""


@dataclass(frozen=True)
class DatasetEntry:
    """One data set of the cache folder.

    Attributes:
        task: Task id.
        name: What `--demos` takes; for what a task built itself, its place below the task.
        kind: "built" or "imported".
        folder: Where it is.
        summary: What is known of it.
    """

    task: str
    name: str
    kind: Literal["built", "imported"]
    folder: Path
    summary: DatasetSummary


def import_demonstrations(
    path: str | Path, task: ImportTarget, *, name: str, clip_actions: bool = False, home: Path
) -> DatasetSummary:
    """Checks an archive of episodes and stores it for `--demos NAME`.

    Args:
        path: A `.npz` archive; see the module.
        task: The task that they demonstrate.
        name: What they will be called.
        clip_actions: Clip continuous actions to their bounds. The share of components that this
            touched is kept in the summary, as are the names of fields that were not read.
        home: The cache folder.

    Returns:
        The summary; `summary.demonstrator` is the anchor that results are measured against.

    Raises:
        UsageError: If the task takes no imports, or the name cannot be used.
        DataError: If the archive cannot be used: names file, field and row.
    """
    both = task.spaces()
    if both is None:
        raise UsageError(f"{task.id} takes no imported demonstrations")
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(
            f"--name {name!r} cannot be used: letters, digits, '.', '_' and '-', "
            f"and not {' or '.join(map(repr, sorted(RESERVED)))}"
        )
    if clip_actions and not isinstance(both[1], spaces.Box):
        raise UsageError(f"--clip-actions: the actions of {task.id} are discrete")
    file = Path(path)
    checker = EpisodeChecker(file.name, *both, horizon=task.info.horizon, clip_actions=clip_actions)
    recording, ignored = _read(file, checker)
    recipe: dict[str, Any] = {
        "demonstrator": "imported",
        "source": {"file": file.name, "sha256": sha256_file(file)},
    }
    if ignored:
        recipe["ignored"] = {"fields": len(ignored), "first": ignored[:_NAMED]}
    if checker.clipped:
        recipe["clipped"] = {
            "components": checker.clipped,
            "fraction": checker.clipped / checker.components,
            "worst": checker.worst,
        }
    return write_dataset(_place(task.id, name, home), f"{task.id}/{name}", recording, recipe)


def _read(file: Path, checker: EpisodeChecker) -> tuple[Recording, list[str]]:
    """The episodes, and the names of the fields that are no part of any."""
    with NpzFile(file) as archive:
        seen = {stem: numbered(archive.fields, stem) for stem in FIELDS}
        count = _episodes(file, seen)
        episodes, rewards = [], []
        for i in range(count):
            raw = {stem: archive.read(f"{stem}_{i}") for stem in FIELDS}
            steps = checker.steps(raw["actions"], f"actions_{i}")
            episodes.append(
                Episode(
                    checker.observations(raw["observations"], f"observations_{i}", steps),
                    checker.actions(raw["actions"], f"actions_{i}", steps),
                    checker.flags(raw["terminations"], f"terminations_{i}", steps),
                    checker.flags(raw["truncations"], f"truncations_{i}", steps),
                )
            )
            rewards.append(checker.rewards(raw["rewards"], f"rewards_{i}", steps))
        used = {f"{stem}_{i}" for stem in FIELDS for i in range(count)}
        ignored = [field[:_LONGEST] for field in archive.fields if field not in used]
    recording = Recording(episodes, rewards, checker.observation_space, checker.action_space)
    return recording, ignored


def _episodes(file: Path, seen: dict[str, set[int]]) -> int:
    """How many episodes there are, once every field of every one is found to be there."""
    indices = set().union(*seen.values())
    if not indices:
        wanted = ", ".join(f"{stem}_0" for stem in FIELDS)
        raise DataError(f"holds no episodes; expected fields {wanted}, ...", file=file.name)
    for i in range(max(indices) + 1 if max(indices) < 2 * len(indices) else len(indices) + 1):
        for stem in FIELDS:
            if i not in seen[stem]:
                raise DataError(
                    f"is missing; every episode needs {', '.join(FIELDS)}, numbered from 0",
                    file=file.name,
                    field=f"{stem}_{i}",
                )
    return len(indices)


def _place(task_id: str, name: str, home: Path) -> Path:
    return below(home / "data", f"{task_id}/{name}")


def imported(task_id: str, name: str, home: Path) -> tuple[Path, DatasetSummary]:
    """The folder and the summary of imported demonstrations.

    Args:
        task_id: `<world>/<name>-v<N>`.
        name: As given when they were imported.
        home: The cache folder.

    Raises:
        UnknownNameError: If there are none of that name for this task.
        DataError: If there are, but their summary is damaged.
    """
    if _NAME.fullmatch(name) and (_place(task_id, name, home) / SUMMARY).exists():
        read_summary(_place(task_id, name, home))  # a damaged one is not listed, but named here
    known = [entry.name for entry in list_datasets(home, task_id) if entry.kind == "imported"]
    if name not in known:
        error = UnknownNameError(f"demonstrations of {task_id}", name, known)
        if not known:
            raise UsageError(
                f"there are no imported demonstrations of {task_id}, so none called {name!r}: "
                "import them by `irlbench data import`"
            ) from error
        raise error
    folder = _place(task_id, name, home)
    return folder, read_summary(folder)


def list_datasets(home: Path, task_id: str | None = None) -> list[DatasetEntry]:
    """Every data set in the cache folder, or those of one task, sorted by place."""
    root = home / "data"
    place = root if task_id is None else below(root, task_id)
    found = []
    for folder, summary in datasets_in(place):
        parts = folder.relative_to(root).parts
        if len(parts) < 3:
            continue  # no place of ours
        world, task, *rest = parts
        brought = summary.recipe.get("demonstrator") == "imported"
        kind: Literal["built", "imported"] = "imported" if brought else "built"
        found.append(DatasetEntry(f"{world}/{task}", "/".join(rest), kind, folder, summary))
    return found
