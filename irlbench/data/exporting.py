"""Writes data sets of the cache folder to where others read them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from gymnasium.envs.registration import EnvSpec

from irlbench.data.minari_store import FILE, DatasetSummary
from irlbench.data.named import StoredSet, list_sets
from irlbench.errors import DataError, UnknownNameError, UsageError
from irlbench.serialisation import canonical_json, read_json, sha256_file, write_text_atomic

_METADATA = "metadata.json"


def export_minari(
    task_id: str, name: str, to: Path, home: Path, spec: EnvSpec | None
) -> tuple[str, DatasetSummary]:
    """Writes demonstrations with their rewards as a Minari data set of their own, whole or not.

    Episodes are exported whole, also where learners are given every k-th step alone.

    Args:
        task_id: `<world>/<name>-v<N>`.
        name: As `irlbench data list` shows it; of what the task built itself, the part before the
            slash is enough.
        to: A folder of Minari's data sets (`MINARI_DATASETS_PATH`); made if missing.
        home: The cache folder.
        spec: Of the task's environment, so that Minari can make it; None leaves it out.

    Returns:
        The id that Minari loads it by (its folder below `to`), and what is known of it.

    Raises:
        UsageError: If there is no such set, or it holds preferences.
        DataError: If it is damaged, or there is something in its place already.
    """
    found = _one(task_id, name, home)
    summary = found.summary
    if not isinstance(summary, DatasetSummary):
        raise UsageError(f"{name!r} of {task_id} holds preferences: Minari keeps demonstrations")
    id = _minari_id(task_id, found.name.split("/")[0])
    place = to / id
    if place.exists():
        raise DataError(
            f"there is a data set in {place} already: remove it, or choose another --to"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}-{os.getpid()}")
    try:
        (beside / FILE.parent).mkdir(parents=True)
        _copy(found.folder, beside, id, summary, spec)
        beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return id, summary


def _one(task_id: str, name: str, home: Path) -> StoredSet:
    """The set of that name, or the only one whose name begins with it."""
    sets = {entry.name: entry for entry in list_sets(home, task_id)}
    matching = [key for key in sets if key == name or key.startswith(f"{name}/")]
    if len(matching) != 1:
        raise UnknownNameError(f"data set of {task_id}", name, matching or sets)
    return sets[matching[0]]


def _minari_id(task_id: str, name: str) -> str:
    """Minari's names are of letters, digits, '_' and '-'."""
    return f"irlbench/{task_id.split('/', 1)[1]}/{name}-v0".replace(".", "_")


def _copy(folder: Path, to: Path, id: str, summary: DatasetSummary, spec: EnvSpec | None) -> None:
    described = read_json(folder / FILE.parent / _METADATA)
    shutil.copyfile(folder / FILE, to / FILE)
    if sha256_file(to / FILE) != summary.file_hash or not isinstance(described, dict):
        raise DataError(
            "is damaged: delete its folder, and build or import it again", file=folder.name
        )
    described["dataset_id"] = id
    if spec is not None:
        described["env_spec"] = spec.to_json()
    write_text_atomic(to / FILE.parent / _METADATA, canonical_json(described))
