"""Reads columns of numbers from a folder that Hugging Face's `datasets` saved, with pyarrow alone.

Only the columns that are asked for are loaded. Files may come from anybody: what they hold is
validated in full before a value is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.minari_file import limited_memory
from irlbench.errors import DataError
from irlbench.serialisation import open_plain, read_json

STATE = "state.json"
#: Most bytes of all files together, and what the library may take beside them.
_MAX_BYTES, _OVERHEAD = 2 * 2**30, 256 * 2**20
_MOST_FILES = 10_000
_MOST_AXES = 6
_LONGEST_NAME = 255  # bytes of a file's name that Linux and macOS hold


def read_columns(
    folder: Path, names: Sequence[str], missing: Mapping[str, str]
) -> dict[str, list[NDArray[Any]]]:
    """Some columns, each value as an array.

    Args:
        folder: It holds `state.json` and the files that it names.
        names: Of the columns.
        missing: What to say of columns that are not there, where there is more to say.

    Returns:
        For each column its values, one array per row.

    Raises:
        DataError: If a file or column is missing or damaged, or a value is no array of numbers.
    """
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    left = _MAX_BYTES
    for file in _files(folder):
        try:
            with open_plain(folder / file, links=False) as stream:
                content = stream.read(left + 1)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", file=file) from error
        left -= len(content)
        if left < 0:
            raise DataError(f"all files together may have {_MAX_BYTES:,} bytes", file=file)
        for name, values in _columns(content, names, missing, file).items():
            found[name] += values
    if not found[names[0]]:
        raise DataError("holds no rows", file=folder.name)
    return found


def _files(folder: Path) -> list[str]:
    """Names of the Arrow files, as the state tells."""
    state = read_json(folder / STATE)
    listed = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_FILES:
        raise DataError("lists no files of data", file=STATE, field="_data_files")
    if state.get("_indices_data_files"):
        raise DataError(
            "names a selection of rows: save the data set by flatten_indices()", file=STATE
        )
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in listed]
    for name in names:
        if not _is_name(name):
            raise DataError(f"names the file {name!r:.80}", file=STATE, field="_data_files")
    return names  # type: ignore[return-value]  # all of them are names


def _is_name(name: Any) -> bool:
    """Whether it is the name of a file in the same folder, one that a file system can hold."""
    if not isinstance(name, str) or name in ("", ".", "..") or "\0" in name:
        return False
    try:
        length = len(name.encode())  # a lone surrogate is in no name
    except UnicodeEncodeError:
        return False
    return length <= _LONGEST_NAME and Path(name).name == name


def _columns(
    content: bytes, names: Sequence[str], missing: Mapping[str, str], file: str
) -> dict[str, list[NDArray[Any]]]:
    import pyarrow

    try:
        with limited_memory(4 * len(content) + _OVERHEAD):
            schema = pyarrow.ipc.open_stream(content).schema
            for name in names:
                if len(schema.get_all_field_indices(name)) != 1:
                    raise DataError(missing.get(name, "is missing"), file=file, field=name)
            wanted = [schema.get_field_index(name) for name in names]
            options = pyarrow.ipc.IpcReadOptions(included_fields=wanted, use_threads=False)
            found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
            for batch in pyarrow.ipc.open_stream(content, options=options):
                batch.validate(full=True)
                for name in names:
                    found[name] += _values(batch.column(name), file, name)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file provokes in pyarrow
        reason = str(error).strip().split("\n", 1)[0][:200] or type(error).__name__
        raise DataError(f"cannot be read: {reason}", file=file) from error
    return found


def _values(column: Any, file: str, name: str) -> list[NDArray[Any]]:
    """Every value of a column: lists (of lists ...) as arrays, plain ones as arrays of no axis."""
    found = []
    for row in range(len(column)):
        if not column[row].is_valid:
            raise DataError("holds nothing here", file=file, field=name, row=row)
        if _is_list(column.type):
            found.append(_array(column[row].values, file, name, row))
        else:
            found.append(_array(column.slice(row, 1), file, name, row).reshape(()))
    return found


def _array(values: Any, file: str, name: str, row: int) -> NDArray[Any]:
    """A list of equally long lists (of lists ...) of numbers as an array."""
    import pyarrow

    shape = [len(values)]
    while _is_list(values.type):
        lengths = np.unique(values.value_lengths().to_numpy(zero_copy_only=False))
        if values.null_count or len(lengths) > 1 or len(shape) > _MOST_AXES:
            raise DataError("holds lists of unequal length", file=file, field=name, row=row)
        shape.append(int(lengths[0]) if len(lengths) else 0)
        values = values.flatten()
    kind = values.type
    number = (
        pyarrow.types.is_integer(kind)
        or pyarrow.types.is_floating(kind)
        or pyarrow.types.is_boolean(kind)
    )
    if not number or values.null_count:
        told = f"holds {kind}" if not number else "holds gaps"
        raise DataError(f"{told!s:.80}: numbers are needed", file=file, field=name, row=row)
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(shape)


def _is_list(kind: Any) -> bool:
    import pyarrow

    return bool(
        pyarrow.types.is_list(kind)
        or pyarrow.types.is_large_list(kind)
        or pyarrow.types.is_fixed_size_list(kind)
    )
