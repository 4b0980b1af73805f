"""Demonstrations on disk: Minari data sets, with a summary of ours beside each.

A data set is a folder: `data/` is Minari's (HDF5; `minari.MinariDataset(folder / "data")` opens
it) and `summary.json` is ours. The true rewards are stored for people; what reads demonstrations
for a learner does not open them. Data sets are written from arrays: Minari's DataCollector would
need jax.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DataError
from irlbench.home import locked
from irlbench.serialisation import (
    canonical_json,
    read_json,
    sha256_json,
    write_text_atomic,
)

FORMAT = 1
SUMMARY = "summary.json"
_FIELDS = ("observations", "actions", "terminations", "truncations")


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
        episodes: How many.
        steps: Transitions over all of them.
        demonstrator: Scores of who acted: "return" (undiscounted mean), "return_error" (standard
            error, from two episodes on), "episodes" and "length".
        recipe: What the data set was made from, and how: JSON values.
    """

    id: str
    content_hash: str
    episodes: int
    steps: int
    demonstrator: Mapping[str, float]
    recipe: Mapping[str, Any] = field(default_factory=dict)


def content_hash(recording: Recording) -> str:
    """SHA-256 over the arrays: names, types, shapes and values of all episodes, in order.

    The bytes of an HDF5 file differ from build to build; this does not.
    """
    digest = hashlib.sha256(b"irlbench demonstrations 1\n")
    for episode, rewards in zip(recording.episodes, recording.rewards, strict=True):
        named = {name: getattr(episode, name) for name in _FIELDS}
        for name, value in {**named, "rewards": rewards}.items():
            array = np.ascontiguousarray(value)
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            header = canonical_json([name, array.dtype.str, list(array.shape)])
            digest.update(header.encode() + b"\n")
            digest.update(array.tobytes())
    return digest.hexdigest()


def summarise(id: str, recording: Recording, recipe: Mapping[str, Any]) -> DatasetSummary:
    """The summary of a recording."""
    returns = recording.returns
    lengths = [len(episode) for episode in recording.episodes]
    demonstrator = {
        "return": float(returns.mean()),
        "length": float(np.mean(lengths)),
        "episodes": len(returns),
    }
    if len(returns) > 1:
        demonstrator["return_error"] = float(returns.std(ddof=1) / np.sqrt(len(returns)))
    return DatasetSummary(
        id, content_hash(recording), len(lengths), sum(lengths), demonstrator, dict(recipe)
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
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        beside.chmod(0o755)
        _write_minari(beside / "data", id, recording, summary)
        text = canonical_json({"format": FORMAT, **asdict(summary)})
        write_text_atomic(beside / SUMMARY, text + "\n")
        try:
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            found = read_summary(folder)
            if found.content_hash != summary.content_hash:
                raise DataError(
                    f"other demonstrations are already stored under {id!r} "
                    f"({found.episodes} episodes, content {found.content_hash[:12]}; these are "
                    f"{summary.content_hash[:12]}): choose another name"
                ) from None
            return found
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return summary


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
        DataError: If there is none, or it is damaged or of a newer format.
    """
    found = read_json(folder / SUMMARY)
    place = f"{folder.name}/{SUMMARY}"
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        version = found.get("format") if isinstance(found, dict) else None
        raise DataError(f"format {version!r}; this version reads format {FORMAT}", file=place)
    try:
        return DatasetSummary(**{k: v for k, v in found.items() if k != "format"})
    except TypeError as error:
        raise DataError(f"not a whole summary: {error}", file=place) from error


def read_dataset(folder: Path) -> Demonstrations[Episode]:
    """Reads a data set as demonstrations. The rewards in the file are not opened.

    Raises:
        DataError: If it is missing or damaged.
    """
    import h5py

    summary = read_summary(folder)
    episodes = []
    place = f"{folder.name}/data/main_data.hdf5"
    try:
        with h5py.File(folder / "data" / "main_data.hdf5", "r") as file:
            for i in range(summary.episodes):
                group = file[f"episode_{i}"]
                episodes.append(Episode(**{name: group[name][()] for name in _FIELDS}))
    except (OSError, KeyError) as error:
        raise DataError(f"cannot be read: {error}; delete its folder", file=place) from error
    provenance = {
        "id": summary.id,
        "content_hash": summary.content_hash,
        "recipe": dict(summary.recipe),
    }
    return Demonstrations(tuple(episodes), provenance)


def read_rewards(folder: Path) -> list[NDArray[np.float64]]:
    """Reads the true rewards of a data set, one `[steps]` per episode. Not for learners."""
    import h5py

    summary = read_summary(folder)
    with h5py.File(folder / "data" / "main_data.hdf5", "r") as file:
        return [file[f"episode_{i}"]["rewards"][()] for i in range(summary.episodes)]


def built_folder(home: Path, id: str, recipe: Mapping[str, Any]) -> Path:
    """Where a data set built by a recipe belongs: another recipe, another folder."""
    return home / "data" / id / f"built-{sha256_json(dict(recipe))[:12]}"


def ensure_dataset(
    home: Path, id: str, recipe: Mapping[str, Any], build: Callable[[], Recording]
) -> tuple[Path, DatasetSummary]:
    """Builds a data set unless it is there, under a lock: one process builds, others wait.

    Args:
        home: The cache folder.
        id: `<world>/<task>/<name>`.
        recipe: What determines the data; JSON values.
        build: Makes it.

    Returns:
        Its folder and its summary.
    """
    folder = built_folder(home, id, recipe)
    if not (folder / SUMMARY).exists():
        with locked(home, f"data/{id}"):
            if not (folder / SUMMARY).exists():
                write_dataset(folder, id, build(), recipe)
    return folder, read_summary(folder)


def datasets_in(root: Path) -> list[tuple[Path, DatasetSummary]]:
    """Every data set below a folder with its summary, sorted by path; damaged ones are left out."""
    found = []
    for directory, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if SUMMARY in files:
            below.clear()
            try:
                found.append((Path(directory), read_summary(Path(directory))))
            except DataError:
                continue
    return found
