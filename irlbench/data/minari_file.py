"""Reads the HDF5 file of a data set and trusts nothing in it.

HDF5 files can point to other files, compute what they hold, and claim far more than they have;
a damaged one can make the library take memory without end. Only what `irlbench` itself writes is
read, arrays of numbers that lie in the file as they are, and with a limit on memory.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode
from irlbench.errors import DataError
from irlbench.serialisation import open_plain

#: What learners are given of an episode.
FIELDS = ("observations", "actions", "terminations", "truncations")
_FLAGS = ("terminations", "truncations")
#: What the library may take beside the arrays.
_OVERHEAD = 128 * 2**20


def read_episodes(
    path: Path, count: int, fields: Sequence[str], *, name: str, mend: str = "delete its folder"
) -> list[dict[str, NDArray[Any]]]:
    """Some fields of the first episodes. Others are not opened.

    Args:
        path: The file.
        count: How many episodes.
        fields: Which fields.
        name: What messages call the file.
        mend: What messages say is to be done.

    Returns:
        For each episode its arrays by field.

    Raises:
        DataError: If the file is missing or damaged, or an array does not lie in it.
    """
    import h5py

    try:
        with open_plain(path, links=False) as stream:
            left = stream.seek(0, 2)  # nothing is compressed: no more can be read than there is
        found = []
        with limited_memory(left + _OVERHEAD), h5py.File(path, "r") as file:
            for i in range(count):
                group = _here(file, f"episode_{i}", h5py.Group)
                arrays = {}
                for field in fields:
                    arrays[field] = _array(_here(group, field, h5py.Dataset), left)
                    left -= arrays[field].nbytes
                found.append(arrays)
    except DataError as error:
        raise DataError(f"{error}; {mend}", file=name) from error
    except Exception as error:  # whatever a damaged file provokes in h5py
        reason = str(error).strip().split("\n", 1)[0][:200] or type(error).__name__
        raise DataError(f"cannot be read: {reason}; {mend}", file=name) from error
    return found


def _here(parent: Any, key: str, kind: type) -> Any:
    """A group or a data set that is in this file, not behind a link to elsewhere."""
    import h5py

    name = key.encode()
    if not parent.id.links.exists(name):
        raise DataError(f"holds no {parent.name}/{key}")
    if parent.id.links.get_info(name).type != h5py.h5l.TYPE_HARD:
        raise DataError(f"{parent.name}/{key} is a link to elsewhere")
    found = parent[key]
    if not isinstance(found, kind):
        raise DataError(f"{found.name} is a {type(found).__name__}, not a {kind.__name__}")
    return found


def _array(dataset: Any, left: int) -> NDArray[Any]:
    """The numbers of a data set, once it is found that they are in the file."""
    import h5py

    shape, dtype, place, how = (
        dataset.shape,
        dataset.dtype,
        dataset.name,
        dataset.id.get_create_plist(),
    )
    if shape is None or dtype.kind not in "biuf":
        raise DataError(f"{place} holds {dtype}: numbers or booleans are needed")
    virtual = how.get_layout() == h5py.h5d.VIRTUAL
    if virtual or how.get_external_count() or how.get_nfilters():
        raise DataError(f"{place} lies in other files, or is compressed: neither is read")
    size = math.prod(map(int, shape)) * dtype.itemsize
    if size > left or size > dataset.id.get_storage_size():
        raise DataError(
            f"{place} claims {size:,} bytes ({dtype}, shape {shape}) that are not there"
        )
    array = np.empty(shape, dtype)
    if size:
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array


def as_episodes(found: Sequence[dict[str, NDArray[Any]]], *, name: str) -> list[Episode]:
    """Episodes from their arrays, all of one kind.

    Args:
        found: For each episode its arrays by field.
        name: What messages call the file.

    Raises:
        DataError: If arrays do not fit together, or hold NaN or an infinity.
    """
    episodes = []
    for i, arrays in enumerate(found):
        for field in FIELDS:
            array, first = arrays[field], found[0][field]
            kind, wanted = (array.dtype, array.shape[1:]), (first.dtype, first.shape[1:])
            if not array.ndim or not len(array) or kind != wanted:
                raise DataError(
                    f"{array.dtype} of shape {array.shape} beside {first.dtype} of shape "
                    f"{first.shape}; delete its folder",
                    file=name,
                    field=f"episode_{i}/{field}",
                )
            flag = array.dtype == bool and array.ndim == 1
            if (field in _FLAGS and not flag) or not np.isfinite(array).all():
                raise DataError(
                    "holds NaN, an infinity or no flags; delete its folder",
                    file=name,
                    field=f"episode_{i}/{field}",
                )
        try:
            episodes.append(Episode(**{field: arrays[field] for field in FIELDS}))
        except DataError as error:
            raise DataError(f"{error}; delete its folder", file=name, row=i) from error
    return episodes


@contextmanager
def limited_memory(more: int) -> Iterator[None]:
    """Lets this process take so much memory beyond what it has; where it asks for more, it fails.

    The limit is on address space, and for all threads. Only Linux has it.

    Args:
        more: Bytes.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split(" ", 1)[0])
    wanted = pages * resource.getpagesize() + more
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = min([wanted, *(x for x in (soft, hard) if x != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
