"""Reads `curve.parquet`. A curve may come from anybody: it is looked at before it is unpacked."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from irlbench.errors import DataError
from irlbench.running.parquet_layout import layout, pages
from irlbench.serialisation import open_plain

_INT64, _DOUBLE, _BYTES, _UTF8 = 2, 5, 6, 0
#: Column to Parquet's physical type and what it stands for, in order.
COLUMNS = {
    "step": (_INT64, None),
    "seconds": (_DOUBLE, None),
    "kind": (_BYTES, _UTF8),
    "name": (_BYTES, _UTF8),
    "value": (_DOUBLE, None),
}
TEXTS = ("kind", "name")
#: More rows must take up a byte each: equal ones can be written in next to no space.
_MOST_ROWS = 5_000_000
#: Bytes that pages may hold, and as many more for each row.
_PAGES, _PAGES_PER_ROW = 64 * 2**20, 64
#: Plain, dictionary, run-length, differences of numbers, split bytes. Texts that are told by what
#: they share with the one before are not among them: these grow without bound.
_ENCODINGS = frozenset({0, 2, 3, 5, 8, 9})


def read_curve(path: Path, rows: int | None = None, digest: str | None = None) -> Any:
    """Reads a curve.

    Args:
        path: The file.
        rows: How many rows it must have, where that is known.
        digest: The SHA-256 that it must have, where that is known.

    Returns:
        A `pyarrow.Table` of step, seconds, kind, name and value; kind and name are dictionary
        encoded, with one dictionary throughout.

    Raises:
        DataError: If it cannot be read, holds anything else, or would need memory out of all
            proportion to its size.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with open_plain(path, links=False) as stream:
            content = stream.read(os.fstat(stream.fileno()).st_size)
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("was changed or damaged after it was written")
        _check(content, rows)
        # From memory: an error of pyarrow's about a file would name the absolute path.
        source = pyarrow.BufferReader(content)
        with parquet.ParquetFile(source, read_dictionary=list(TEXTS)) as file:
            found = {field.name: str(field.type) for field in file.schema_arrow}
            if found != _ARROW:
                raise ValueError(f"holds {found}")
            table = file.read(use_threads=False)
        if any(column.null_count for column in table.columns):
            raise ValueError("a value is missing")
        return table.unify_dictionaries()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path.name) from error
    except (ValueError, pyarrow.ArrowException, OverflowError, MemoryError) as error:
        raise DataError(f"is no curve: {error}", file=path.name) from error


def in_polars(table: Any) -> Any:
    """A curve as a polars data frame, its texts as texts.

    Args:
        table: From `read_curve`.
    """
    import polars

    def column(name: str) -> Any:
        if name not in TEXTS:
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


_TEXT = "dictionary<values=string, indices=int32, ordered=0>"
_ARROW = {"step": "int64", "seconds": "double", "kind": _TEXT, "name": _TEXT, "value": "double"}


def _check(content: bytes, rows: int | None) -> None:
    """Refuses what is no curve, before anything is decompressed.

    Raises:
        ValueError: With what is wrong.
    """
    told = layout(content)
    if rows is not None and told.rows != rows:
        raise ValueError(f"has {told.rows} rows, the record tells of {rows}")
    if told.rows > max(_MOST_ROWS, len(content)):
        raise ValueError(f"claims {told.rows} rows in {len(content)} bytes")
    found = {column.name: (column.type, column.converted) for column in told.columns}
    flat = all(column.repetition in (0, 1) for column in told.columns)
    if list(found.items()) != list(COLUMNS.items()) or len(told.columns) != len(found) or not flat:
        raise ValueError(
            f"has columns {', '.join(map(repr, found))} of other names or types; wanted are "
            f"{', '.join(COLUMNS)}"
        )
    size = 0
    for chunk in told.chunks:
        for page in pages(content, chunk):
            if page.encoding not in _ENCODINGS:
                raise ValueError(f"is written in Parquet's encoding {page.encoding}")
            if page.dictionary and page.values > page.size:
                raise ValueError(f"claims {page.values} words in {page.size} bytes")
            size += page.size
    if size > _PAGES + _PAGES_PER_ROW * told.rows:
        raise ValueError(f"would unpack to {size:,} bytes for {told.rows:,} rows")
