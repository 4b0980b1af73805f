"""Where imported episodes come from: each source's arrays as they are, yet to be checked.

Every reader trusts nothing: a file that is damaged, or made to harm, is refused by a `DataError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.minari_file import read_episodes
from irlbench.data.npz import NpzFile, numbered
from irlbench.errors import DataError
from irlbench.serialisation import read_json

FIELDS = ("observations", "actions", "rewards", "terminations", "truncations")
#: Files of a Minari data set.
_METADATA, _HDF5 = "metadata.json", "main_data.hdf5"
#: Most episodes of a Minari data set.
_MOST = 10**7
#: Longest name of a field that is not read.
_LONGEST = 80


@dataclass(frozen=True, eq=False)
class RawEpisode:
    """One episode as it was found.

    Attributes:
        arrays: By name, of `FIELDS`.
        places: What messages call each of them.
    """

    arrays: Mapping[str, NDArray[Any]]
    places: Mapping[str, str]


def npz_episodes(archive: NpzFile, file: str) -> Iterator[RawEpisode]:
    """Episodes of an archive: for each i from 0 `observations_i`, `actions_i`, `rewards_i`, ...

    Args:
        archive: The archive.
        file: What messages call it.

    Raises:
        DataError: If a field of an episode is missing, or damaged.
    """
    for i in range(npz_count(archive, file)):
        places = {stem: f"{stem}_{i}" for stem in FIELDS}
        yield RawEpisode({stem: archive.read(place) for stem, place in places.items()}, places)


def npz_count(archive: NpzFile, file: str) -> int:
    """How many episodes an archive holds, once every field of every one is found to be there.

    Raises:
        DataError: If there are none, or a field is missing.
    """
    seen = {stem: numbered(archive.fields, stem) for stem in FIELDS}
    indices = set().union(*seen.values())
    if not indices:
        wanted = ", ".join(f"{stem}_0" for stem in FIELDS)
        raise DataError(f"holds no episodes; expected fields {wanted}, ...", file=file)
    for i in range(max(indices) + 1 if max(indices) < 2 * len(indices) else len(indices) + 1):
        for stem in FIELDS:
            if i not in seen[stem]:
                raise DataError(
                    f"is missing; every episode needs {', '.join(FIELDS)}, numbered from 0",
                    file=file,
                    field=f"{stem}_{i}",
                )
    return len(indices)


def npz_ignored(archive: NpzFile, episodes: int) -> list[str]:
    """Names of the fields that are no part of an episode, none of them longer than a line."""
    used = {f"{stem}_{i}" for stem in FIELDS for i in range(episodes)}
    return [field[:_LONGEST] for field in archive.fields if field not in used]


def minari_folder(path: Path) -> Path | None:
    """The folder within a Minari data set that holds its data, or None where it is none."""
    for folder in (path / "data", path):
        if (folder / _METADATA).is_file():
            return folder
    return None


def minari_episodes(folder: Path) -> Iterator[RawEpisode]:
    """Episodes of a Minari data set in HDF5, whose observations and actions are arrays.

    Args:
        folder: From `minari_folder`.

    Raises:
        DataError: If it is of another format, or damaged.
    """
    described = read_json(folder / _METADATA)
    if not isinstance(described, dict):
        raise DataError("holds no object", file=_METADATA)
    form = described.get("data_format", "hdf5")
    if form != "hdf5":
        raise DataError(
            f"names the format {form!r:.40}: Minari sets are read from hdf5", file=_METADATA
        )
    count = described.get("total_episodes")
    if type(count) is not int or not 0 < count <= _MOST:
        raise DataError(f"is {count!r:.40}", file=_METADATA, field="total_episodes")
    mend = "copy or download the data set again"
    found = read_episodes(folder / _HDF5, count, FIELDS, name=_HDF5, mend=mend)
    for i, arrays in enumerate(found):
        yield RawEpisode(arrays, {stem: f"episode_{i}/{stem}" for stem in FIELDS})


def imitation_episodes(folder: Path) -> Iterator[RawEpisode]:
    """Trajectories of the `imitation` package: a folder that `datasets` saved, read with pyarrow.

    A trajectory says whether it ended in a terminal state; one that did not was cut.

    Args:
        folder: It holds `state.json`.

    Raises:
        DataError: If it is damaged, holds no rewards, or its values are no arrays of numbers.
    """
    from irlbench.data.arrow_folder import read_columns

    wanted = {"obs": "observations", "acts": "actions", "rews": "rewards", "terminal": "terminal"}
    columns = read_columns(folder, tuple(wanted), {"rews": _NO_REWARDS})
    for i, values in enumerate(zip(*columns.values(), strict=True)):
        arrays = dict(zip(wanted.values(), values, strict=True))
        ended = arrays.pop("terminal")
        if ended.dtype != bool:
            raise DataError(
                f"holds {ended.dtype}: true or false is needed",
                file=folder.name,
                field="terminal",
                row=i,
            )
        steps = len(arrays["actions"]) if arrays["actions"].ndim else 0
        last = np.arange(steps) == steps - 1
        arrays["terminations"], arrays["truncations"] = last & bool(ended), last & ~bool(ended)
        places = {name: f"{column}[{i}]" for column, name in wanted.items()}
        ends = dict.fromkeys(("terminations", "truncations"), f"terminal[{i}]")
        yield RawEpisode(arrays, {**places, **ends})


_NO_REWARDS = (
    "is missing: results are measured against the demonstrator's return; save trajectories with "
    "rewards (imitation's TrajectoryWithRew)"
)
