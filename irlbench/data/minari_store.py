"""Demonstrations on disk: Minari data sets, with a summary of ours beside each.

A data set is a folder: `data/` is Minari's (HDF5; `minari.MinariDataset(folder / "data")` opens
it) and `summary.json` is ours. The true rewards are stored for people; what reads demonstrations
for a learner does not open them. Data sets are written from arrays: Minari's DataCollector would
need jax.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.data.folders import (
    ensure_folder,
    folders_with,
    is_count,
    is_hash,
    is_number,
    read_fields,
    recipe_folder,
    write_folder,
)
from irlbench.data.minari_file import FIELDS, as_episodes, read_episodes
from irlbench.errors import DataError
from irlbench.serialisation import canonical_json, sha256_file, write_text_atomic

#: 2: with the hash of the HDF5 file.
FORMAT = 2
SUMMARY = "summary.json"
#: The arrays, within the folder; `metadata.json` beside it is Minari's too.
FILE = Path("data", "main_data.hdf5")
#: Bytes that HDF5 takes beyond the arrays: for each episode (15 to 23 thousand were seen), and in all.
_EACH, _IN_ALL = 2**15, 2**20


@dataclass(frozen=True, eq=False)
class Recording:
    """Episodes with their true rewards, before they are written.

    Attributes:
        episodes: Episodes with actions, each at least one step long.
        rewards: For each episode its rewards, float64 `[steps]`.
        observation_space: Of one environment.
        action_space: Of one environment.
    """

    episodes: Sequence[Episode]
    rewards: Sequence[NDArray[np.float64]]
    observation_space: Space[Any]
    action_space: Space[Any]

    def __post_init__(self) -> None:
        if not self.episodes:
            raise DataError("no episodes to store")
        if len(self.episodes) != len(self.rewards):
            raise DataError(f"{len(self.episodes)} episodes, but {len(self.rewards)} rewards")
        for i, (episode, rewards) in enumerate(zip(self.episodes, self.rewards, strict=True)):
            if not len(episode) or episode.actions is None:
                raise DataError("an episode to store has at least one step and actions", row=i)
            if np.shape(rewards) != (len(episode),):
                raise DataError(
                    f"{len(episode)} steps, but rewards of shape {np.shape(rewards)}", row=i
                )

    @property
    def returns(self) -> NDArray[np.float64]:
        """Undiscounted return of each episode, `[episodes]`."""
        return np.array([np.sum(r, dtype=np.float64) for r in self.rewards])


@dataclass(frozen=True)
class DatasetSummary:
    """What is known of a stored data set without opening it.

    Attributes:
        id: `<world>/<task>/<name>`, as under `data/` of the cache folder.
        content_hash: From `content_hash`; equal for equal arrays, wherever they were built.
        file_hash: SHA-256 of the HDF5 file; it is compared before the file is opened.
        episodes: How many.
        steps: Transitions that readers are given, over all of them.
        demonstrator: Scores of who acted: "return" (undiscounted mean), "return_error" (standard
            error, from two episodes on), "episodes" and "length"; of whole episodes.
        recipe: What the data set was made from, and how: JSON values. Where "subsample" is in it,
            readers are given every k-th step of the episodes alone.
    """

    id: str
    content_hash: str
    file_hash: str
    episodes: int
    steps: int
    demonstrator: Mapping[str, float]
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subsample(self) -> int:
        """k, where readers are given every k-th step alone; else 1."""
        return int(self.recipe.get("subsample", 1))


def content_hash(recording: Recording, subsample: int = 1) -> str:
    """SHA-256 over the arrays: names, types, shapes and values of all episodes, in order.

    The bytes of an HDF5 file differ from build to build; this does not.

    Args:
        recording: Whole episodes.
        subsample: Readers are given every k-th step alone, which is other data.
    """
    digest = hashlib.sha256(b"irlbench demonstrations 1\n")
    if subsample > 1:
        digest.update(f"every {subsample}\n".encode())
    for episode, rewards in zip(recording.episodes, recording.rewards, strict=True):
        named = {name: getattr(episode, name) for name in FIELDS}
        for name, value in {**named, "rewards": rewards}.items():
            array = np.ascontiguousarray(value)
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            header = canonical_json([name, array.dtype.str, list(array.shape)])
            digest.update(header.encode() + b"\n")
            digest.update(array.tobytes())
    return digest.hexdigest()


def summarise(id: str, recording: Recording, recipe: Mapping[str, Any]) -> DatasetSummary:
    """The summary of a recording, its `file_hash` yet to be filled in.

    Raises:
        DataError: If its returns are too large for statistics.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        returns = recording.returns
        spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    if not (np.isfinite(returns).all() and math.isfinite(spread)):
        raise DataError(f"returns up to {np.abs(returns).max():g} are too large to be averaged")
    lengths = [len(episode) for episode in recording.episodes]
    demonstrator = {
        "return": float(returns.mean()),
        "length": float(np.mean(lengths)),
        "episodes": len(returns),
    }
    if len(returns) > 1:
        demonstrator["return_error"] = spread / math.sqrt(len(returns))
    subsample = int(recipe.get("subsample", 1))
    return DatasetSummary(
        id,
        content_hash(recording, subsample),
        "",
        len(lengths),
        sum(-(-length // subsample) for length in lengths),
        demonstrator,
        dict(recipe),
    )


def write_dataset(
    folder: Path, id: str, recording: Recording, recipe: Mapping[str, Any]
) -> DatasetSummary:
    """Writes a data set: built beside its place and renamed there, whole or not at all.

    Args:
        folder: Its place; parents are made. A data set that is already there stays, if its
            arrays are the same.
        id: `<world>/<task>/<name>`.
        recording: What is stored.
        recipe: What it was made from, and how: JSON values.

    Returns:
        The summary, as `read_summary` would read it.

    Raises:
        DataError: If the place is taken by other data.
    """
    summary = summarise(id, recording, recipe)

    def fill(beside: Path) -> DatasetSummary:
        _require_room(beside, recording)
        _write_minari(beside / "data", id, recording, summary)
        written = replace(summary, file_hash=sha256_file(beside / FILE))
        text = canonical_json({"format": FORMAT, **asdict(written)})
        write_text_atomic(beside / SUMMARY, text + "\n")
        return written

    def refusal(found: DatasetSummary, ours: DatasetSummary) -> str:
        return (
            f"other demonstrations are already stored under {id!r} ({found.episodes} episodes, "
            f"content {found.content_hash[:12]}; these are {ours.content_hash[:12]}): choose "
            "another name"
        )

    return write_folder(folder, fill, read_summary, refusal)


def _require_room(folder: Path, recording: Recording) -> None:
    """Refuses a disk without room: HDF5 tells nobody when a disk fills up under it, and crashes.

    Raises:
        OSError: If there is none.
    """
    arrays = [getattr(episode, name) for episode in recording.episodes for name in FIELDS]
    size = sum(array.nbytes for array in [*arrays, *recording.rewards])
    if shutil.disk_usage(folder).free < size + _EACH * len(recording.episodes) + _IN_ALL:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _write_minari(folder: Path, id: str, recording: Recording, summary: DatasetSummary) -> None:
    import minari
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    # MinariStorage takes a path; create_dataset_from_buffers would take it from the environment.
    storage = MinariStorage.new(
        folder, recording.observation_space, recording.action_space, jpeg_encoding=False
    )
    storage.update_metadata(
        {
            "dataset_id": f"{id}-v0",
            "minari_version": minari.__version__,
            "algorithm_name": str(summary.recipe.get("demonstrator", "unknown")),
            "description": f"Demonstrations of irlbench. Content hash {summary.content_hash}.",
        }
    )
    storage.update_episodes(
        EpisodeBuffer(
            observations=episode.observations,
            actions=episode.actions,
            rewards=np.asarray(rewards, dtype=np.float64),
            terminations=episode.terminations,
            truncations=episode.truncations,
            infos={},  # Minari's repr of an episode fails without
        )
        for episode, rewards in zip(recording.episodes, recording.rewards, strict=True)
    )


def read_summary(folder: Path) -> DatasetSummary:
    """Reads the summary of a data set.

    Raises:
        DataError: If there is none, or it is damaged or of another format.
    """
    place = f"{folder.name}/{SUMMARY}"
    try:
        summary = DatasetSummary(**read_fields(folder, SUMMARY, FORMAT))
    except TypeError as error:
        raise DataError(f"not a whole summary: {error}", file=place) from error
    wrong = _wrong(summary)
    if wrong is not None:
        raise DataError(f"is {getattr(summary, wrong)!r:.80}", file=place, field=wrong)
    return summary


def _wrong(summary: DatasetSummary) -> str | None:
    """The first field of a summary whose value cannot be, or None."""
    demonstrator, recipe = summary.demonstrator, summary.recipe
    clipped = recipe.get("clipped", {"fraction": 0}) if isinstance(recipe, dict) else None
    fits = {
        "id": isinstance(summary.id, str),
        "content_hash": is_hash(summary.content_hash),
        "file_hash": is_hash(summary.file_hash),
        "episodes": is_count(summary.episodes),
        "steps": is_count(summary.steps),
        "demonstrator": isinstance(demonstrator, dict)
        and {"return", "length", "episodes"} <= demonstrator.keys()
        and all(map(is_number, demonstrator.values())),
        "recipe": isinstance(clipped, dict)
        and is_number(clipped.get("fraction"))
        and is_count(recipe.get("subsample", 1)),
    }
    return next((name for name, right in fits.items() if not right), None)


def read_dataset(folder: Path) -> Demonstrations[Episode]:
    """Reads a data set as demonstrations. The rewards in the file are not opened.

    Raises:
        DataError: If it is missing, damaged, or other than when it was written.
    """
    summary = read_summary(folder)
    found = _read(folder, summary, FIELDS)
    whole = as_episodes(found, name=_shown(folder))
    episodes = [episode.subsampled(summary.subsample) for episode in whole]
    steps = sum(map(len, episodes))
    if steps != summary.steps:
        raise DataError(
            f"says {summary.steps} steps, but there are {steps}; delete its folder",
            file=f"{folder.name}/{SUMMARY}",
            field="steps",
        )
    provenance = {
        "id": summary.id,
        "content_hash": summary.content_hash,
        "recipe": dict(summary.recipe),
    }
    return Demonstrations(tuple(episodes), provenance)


def read_rewards(folder: Path) -> list[NDArray[np.float64]]:
    """Reads the true rewards of a data set, one `[steps]` per episode. Not for learners.

    Raises:
        DataError: If it is missing, damaged, or other than when it was written.
    """
    return [a["rewards"] for a in _read(folder, read_summary(folder), ("rewards",))]


def _read(
    folder: Path, summary: DatasetSummary, fields: Sequence[str]
) -> list[dict[str, NDArray[Any]]]:
    """Arrays of each episode, from a file that is as it was written."""
    try:
        found = sha256_file(folder / FILE, links=False)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=_shown(folder)) from error
    except DataError as error:
        raise DataError(str(error), file=folder.name) from error
    if found != summary.file_hash:
        raise DataError(
            "is damaged: it is not the file that was written; delete its folder, and build or "
            "import it again",
            file=_shown(folder),
        )
    return read_episodes(folder / FILE, summary.episodes, fields, name=_shown(folder))


def _shown(folder: Path) -> str:
    return f"{folder.name}/{FILE.as_posix()}"


def built_folder(home: Path, id: str, recipe: Mapping[str, Any]) -> Path:
    """Where a data set built by a recipe belongs: another recipe or format, another folder."""
    return recipe_folder(home, id, recipe, FORMAT)


def ensure_dataset(
    home: Path, id: str, recipe: Mapping[str, Any], build: Callable[[], Recording]
) -> tuple[Path, DatasetSummary]:
    """Builds a data set unless it is there, under a lock: one process builds, others wait.

    One whose summary is damaged is built again: nothing but its recipe is needed.

    Args:
        home: The cache folder.
        id: `<world>/<task>/<name>`.
        recipe: What determines the data; JSON values.
        build: Makes it.

    Returns:
        Its folder and its summary.
    """
    folder = built_folder(home, id, recipe)
    summary = ensure_folder(
        home, id, folder, read_summary, lambda: write_dataset(folder, id, build(), recipe)
    )
    return folder, summary


def datasets_in(root: Path) -> list[tuple[Path, DatasetSummary]]:
    """Every data set below a folder with its summary, sorted by path; damaged ones are left out."""
    found = []
    for folder in folders_with(root, SUMMARY):
        with suppress(DataError):
            found.append((folder, read_summary(folder)))
    return found
