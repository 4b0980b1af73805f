"""Reads `curve.parquet`. A curve may come from anybody: it is looked at before it is unpacked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from irlbench.errors import DataError
from irlbench.running.parquet_layout import (
    BOOLEAN,
    BYTES,
    DOUBLE,
    INT64,
    UTF8,
    Layout,
    check_pages,
    layout,
)
from irlbench.serialisation import open_plain

#: Column to Parquet's physical type and what it stands for, in order.
COLUMNS: Mapping[str, tuple[int, int | None]] = {
    "step": (INT64, None),
    "seconds": (DOUBLE, None),
    "kind": (BYTES, UTF8),
    "name": (BYTES, UTF8),
    "value": (DOUBLE, None),
}
#: Of a file that holds the curves of many trials.
COLUMNS_OF_MANY: Mapping[str, tuple[int, int | None]] = {"trial": (BYTES, UTF8), **COLUMNS}
#: More rows must take up a byte each: equal ones can be written in next to no space.
_MOST_ROWS = 5_000_000
#: Bytes that pages may hold, and as many more for each row.
_PAGES, _PAGES_PER_ROW = 64 * 2**20, 64


def read_curve(
    path: Path,
    rows: int | None = None,
    digest: str | None = None,
    columns: Mapping[str, tuple[int, int | None]] = COLUMNS,
) -> Any:
    """Reads a curve.

    Args:
        path: The file.
        rows: How many rows it must have, where that is known.
        digest: The SHA-256 that it must have, where that is known.
        columns: `COLUMNS`, or those of a file with many curves.

    Returns:
        A `pyarrow.Table` of step, seconds, kind, name and value; texts are dictionary encoded,
        with one dictionary throughout.

    Raises:
        DataError: If it cannot be read, holds anything else, or would need memory out of all
            proportion to its size.
    """

    def check(told: Layout, content: bytes) -> None:
        _check(told, content, rows, columns)

    return read_flat(path, check, digest, "curve")


def read_flat(
    path: Path, check: Callable[[Layout, bytes], None], digest: str | None, what: str
) -> Any:
    """Reads a flat Parquet file of whole numbers, floats, truth values and texts.

    Args:
        path: The file.
        check: Looks at its layout before anything is unpacked; raises ValueError.
        digest: The SHA-256 that it must have, where that is known.
        what: It is to be, for errors.

    Returns:
        A `pyarrow.Table`; texts are dictionary encoded, with one dictionary throughout.

    Raises:
        DataError: If it cannot be read, or holds anything else.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with open_plain(path, links=False) as stream:
            content = stream.read(os.fstat(stream.fileno()).st_size)
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("was changed or damaged after it was written")
        told = layout(content)
        check(told, content)
        texts = [column.name for column in told.columns if column.type == BYTES]
        # From memory: an error of pyarrow's about a file would name the absolute path.
        source = pyarrow.BufferReader(content)
        with parquet.ParquetFile(source, read_dictionary=texts) as file:
            found = {field.name: str(field.type) for field in file.schema_arrow}
            if found != {column.name: _ARROW.get(column.type) for column in told.columns}:
                raise ValueError(f"holds {found}")
            table = file.read(use_threads=False)
        if any(column.null_count for column in table.columns):
            raise ValueError("a value is missing")
        return table.unify_dictionaries()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path.name) from error
    except (ValueError, pyarrow.ArrowException, OverflowError, MemoryError) as error:
        raise DataError(f"is no {what}: {error}", file=path.name) from error


def in_polars(table: Any) -> Any:
    """A curve as a polars data frame, its texts as texts.

    Args:
        table: From `read_curve`.
    """
    import polars

    def column(name: str) -> Any:
        if COLUMNS[name][0] != BYTES:
            return polars.Series(name, table[name])
        # Not by a cast, which writes each text out: these rows share one copy of it.
        chunks = [
            polars.Series(name, chunk.dictionary, dtype=polars.String).gather(
                polars.Series(chunk.indices)
            )
            for chunk in table[name].chunks
        ]
        return polars.concat([polars.Series(name, [], dtype=polars.String), *chunks])

    return polars.DataFrame([column(name) for name in COLUMNS])


_ARROW = {
    BOOLEAN: "bool",
    INT64: "int64",
    DOUBLE: "double",
    BYTES: "dictionary<values=string, indices=int32, ordered=0>",
}


def _check(
    told: Layout,
    content: bytes,
    rows: int | None,
    columns: Mapping[str, tuple[int, int | None]],
) -> None:
    """Refuses what is no curve, before anything is decompressed.

    Raises:
        ValueError: With what is wrong.
    """
    if rows is not None and told.rows != rows:
        raise ValueError(f"has {told.rows} rows, the record tells of {rows}")
    if told.rows > max(_MOST_ROWS, len(content)):
        raise ValueError(f"claims {told.rows} rows in {len(content)} bytes")
    found = {column.name: (column.type, column.converted) for column in told.columns}
    if list(found.items()) != list(columns.items()) or len(told.columns) != len(found):
        raise ValueError(
            f"has columns {', '.join(map(repr, found))} of other names or types; wanted are "
            f"{', '.join(columns)}"
        )
    check_pages(content, told, _PAGES + _PAGES_PER_ROW * told.rows)
