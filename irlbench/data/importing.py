"""Brings recorded data into the cache folder, checked before anything learns from it.

Demonstrations come from an archive (`.npz`; for each episode i from 0 `observations_i`, one row more
than steps, `actions_i`, `rewards_i`, `terminations_i` and `truncations_i`), from a Minari data set,
or from a folder of the `imitation` package's trajectories; preferences from an archive (see
`preference_npz`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from gymnasium import Space, spaces

from irlbench.data.arrow_folder import STATE
from irlbench.data.demonstrations import Episode
from irlbench.data.minari_store import DatasetSummary, Recording, write_dataset
from irlbench.data.named import Summary, place_of, require_free, require_name
from irlbench.data.npz import NpzFile
from irlbench.data.preference_npz import holds_preferences, read_preferences
from irlbench.data.preference_store import PreferenceSummary, write_preferences
from irlbench.data.sources import (
    RawEpisode,
    imitation_episodes,
    minari_episodes,
    minari_folder,
    npz_count,
    npz_episodes,
    npz_ignored,
)
from irlbench.data.validation import EpisodeChecker
from irlbench.errors import DataError, UsageError
from irlbench.serialisation import sha256_file, sha256_json

#: Fields that are no part of an episode are named in the summary, so many of them.
_NAMED = 5
_MINARI_ID = re.compile(r"[\w-]+(/[\w-]+)*-v\d+")


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


def import_set(
    source: str | Path,
    task: ImportTarget,
    *,
    name: str,
    clip_actions: bool = False,
    correct_time_limits: bool = False,
    home: Path,
) -> Summary:
    """Checks recorded data and stores it for `--demos NAME`.

    Args:
        source: A `.npz` archive, a folder (of Minari, or of `imitation`), or the id of a Minari
            data set that was downloaded; see the module.
        task: The task that it belongs to.
        name: What it will be called.
        clip_actions: Clip continuous actions to their bounds. The share of components that this
            touched is kept in the summary, as are the names of fields that were not read.
        correct_time_limits: Take episodes that end as terminated in the last possible step for cut
            by the time limit. How many there were is kept in the summary, corrected or not.
        home: The cache folder.

    Returns:
        The summary; for demonstrations, `summary.demonstrator` is the anchor that results are
        measured against.

    Raises:
        UsageError: If the task takes no imports, or the name cannot be used.
        DataError: If the data cannot be used: names file, field and row.
    """
    both = task.spaces()
    if both is None:
        raise UsageError(f"{task.id} takes no imported data")
    require_name(name)
    if clip_actions and not isinstance(both[1], spaces.Box):
        raise UsageError(f"--clip-actions: the actions of {task.id} are discrete")
    path = _found(source)
    checker = EpisodeChecker(
        path.name,
        *both,
        horizon=task.info.horizon,
        clip_actions=clip_actions,
        correct_time_limits=correct_time_limits,
    )
    if path.is_dir():
        require_free(task.id, name, home, preferences=False)
        return _import_folder(path, checker, task.id, name, home)
    with NpzFile(path) as archive:
        compared = holds_preferences(archive)
        require_free(task.id, name, home, preferences=compared)
        recipe: dict[str, Any] = {"source": {"file": path.name, "sha256": sha256_file(path)}}
        if compared:
            return _import_preferences(archive, checker, task.id, name, recipe, home)
        recording = _checked(npz_episodes(archive, path.name), checker)
        ignored = npz_ignored(archive, npz_count(archive, path.name))
    if ignored:
        recipe["ignored"] = {"fields": len(ignored), "first": ignored[:_NAMED]}
    return _store(recording, checker, task.id, name, recipe, home)


def _found(source: str | Path) -> Path:
    """The file or folder that a path or a Minari id names.

    Raises:
        DataError: If there is none.
    """
    path = Path(source)
    if not path.exists() and _MINARI_ID.fullmatch(str(source)):
        from minari.storage.datasets_root_dir import get_dataset_path

        kept: Path = get_dataset_path(str(source))
        if minari_folder(kept) is None:
            raise DataError(
                f"neither a file nor a Minari data set in {kept.parent}: download it by "
                f"`minari download {source}`",
                file=str(source),
            )
        return kept
    return path


def _import_folder(
    path: Path, checker: EpisodeChecker, task_id: str, name: str, home: Path
) -> DatasetSummary:
    minari = minari_folder(path)
    if minari is not None:
        files, episodes = [minari / "main_data.hdf5"], minari_episodes(minari)
    elif (path / STATE).is_file():
        files, episodes = sorted(path.glob("*.arrow")), imitation_episodes(path)
    else:
        raise DataError(
            f"holds neither a Minari data set (data/metadata.json) nor trajectories of imitation "
            f"({STATE})",
            file=path.name,
        )
    recording = _checked(episodes, checker)
    hashed = sha256_json([sha256_file(file) for file in files])
    recipe = {"source": {"file": path.name, "sha256": hashed}}
    return _store(recording, checker, task_id, name, recipe, home)


def _checked(found: Iterable[RawEpisode], checker: EpisodeChecker) -> Recording:
    episodes, rewards = [], []
    for raw in found:
        arrays, places = raw.arrays, raw.places
        steps = checker.steps(arrays["actions"], places["actions"])
        flags = checker.ends(
            *(
                checker.flags(arrays[stem], places[stem], steps)
                for stem in ("terminations", "truncations")
            )
        )
        episodes.append(
            Episode(
                checker.observations(arrays["observations"], places["observations"], steps),
                checker.actions(arrays["actions"], places["actions"], steps),
                *flags,
            )
        )
        rewards.append(checker.rewards(arrays["rewards"], places["rewards"], steps))
    checker.finish()
    return Recording(episodes, rewards, checker.observation_space, checker.action_space)


def _told(checker: EpisodeChecker) -> dict[str, Any]:
    """What a summary says of what was found in checking."""
    told: dict[str, Any] = {"demonstrator": "imported"}
    if checker.clipped:
        told["clipped"] = {
            "components": checker.clipped,
            "fraction": checker.clipped / checker.components,
            "worst": checker.worst,
        }
    if checker.at_time_limit:
        told["time_limit"] = {
            "episodes": checker.at_time_limit,
            "corrected": checker.correct_time_limits,
        }
    return told


def _store(
    recording: Recording,
    checker: EpisodeChecker,
    task_id: str,
    name: str,
    recipe: dict[str, Any],
    home: Path,
) -> DatasetSummary:
    whole = {**recipe, **_told(checker)}
    return write_dataset(place_of(task_id, name, home), f"{task_id}/{name}", recording, whole)


def _import_preferences(
    archive: NpzFile,
    checker: EpisodeChecker,
    task_id: str,
    name: str,
    recipe: dict[str, Any],
    home: Path,
) -> PreferenceSummary:
    found = read_preferences(archive, checker, name)
    checker.finish()
    whole = {**recipe, **_told(checker)}
    return write_preferences(place_of(task_id, name, home), f"{task_id}/{name}", found, whole)
