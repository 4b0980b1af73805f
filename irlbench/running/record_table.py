"""The records of many trials in one table: what is small enough to be committed and handed on.

```
<dir>/irlbench.json      marks the directory and names the schema
<dir>/records.parquet    a row per trial, a column per field of record.json
<dir>/curves.parquet     the curves, thinned: trial, step, seconds, kind, name, value
```
Fields that are text, a number or a truth value are columns of that type; all others are JSON. A row
is a whole record with its hashes, and is checked like one. Policies, rewards and logs are left out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import DataError, UsageError
from irlbench.running.curve import COLUMNS_OF_MANY, read_curve, read_flat
from irlbench.running.parquet_layout import (
    BOOLEAN,
    BYTES,
    DOUBLE,
    INT64,
    UTF8,
    Layout,
    check_pages,
)
from irlbench.running.record import SCHEMA, Record
from irlbench.running.record_form import FIELDS, is_digest
from irlbench.running.store import TABLE, CurveRow, Store
from irlbench.serialisation import parse_json, write_atomic, write_text_atomic

CURVES = "curves.parquet"
#: Columns that are no JSON; of whatever schema, a field that is not among them is.
_PLAIN: Mapping[str, tuple[int, int | None]] = {
    **dict.fromkeys(("schema", "curve_points"), (INT64, None)),
    **dict.fromkeys(("verifiable", "has_reward"), (BOOLEAN, None)),
    **dict.fromkeys(
        ("trial", "status", "world", "environment", "content_hash", "integrity"), (BYTES, UTF8)
    ),
}
_JSON = (BYTES, UTF8)
_MOST_ROWS, _MOST_COLUMNS = 100_000, 64
#: Bytes that pages may hold, and that the texts of all rows may come to: many rows can share one.
_MOST_BYTES = 256 * 2**20


class RecordTable:
    """Reads such a directory; it is asked as a `Store` is.

    Args:
        out: The directory, marked as one of records.

    Raises:
        DataError: If the tables cannot be read, or hold anything else.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._table = read_flat(out / TABLE, _check, None, "table of records")
        _require_bearable(self._table)
        trials = [self._text("trial", row) for row in range(self._table.num_rows)]
        self._rows = {trial: row for row, trial in enumerate(trials)}
        odd = next((trial for trial in trials if not is_digest(trial)), None)
        if odd is not None or len(self._rows) != len(trials):
            said = "a trial stands there twice" if odd is None else f"{odd!r} is no trial's id"
            raise DataError(f"is no table of records: {said}", file=TABLE)

    def ids(self) -> list[str]:
        """Ids of the trials, sorted."""
        return sorted(self._rows)

    def read(self, trial: str) -> Record:
        """One record.

        Raises:
            DataError: If it is damaged, or of a newer schema.
        """
        row = self._rows[trial]
        place = f"{TABLE} ({trial[:12]})"
        value = {}
        for name in self._table.column_names:
            if _PLAIN.get(name, _JSON)[0] != BYTES:
                value[name] = self._table[name][row].as_py()
            else:
                text = self._text(name, row)
                value[name] = text if name in _PLAIN else parse_json(text.encode(), place)
        return Record.from_json(value, place)

    def records(self) -> Iterator[Record]:
        """Every record, in order of id."""
        for trial in self.ids():
            yield self.read(trial)

    def curve(self, trial: str) -> Any:
        """A trial's thinned curve, a `pyarrow.Table` as `read_curve` gives it.

        Raises:
            DataError: If the curves cannot be read.
        """
        table, places = self._curves
        return table.take(places.get(trial, np.zeros(0, dtype=np.int64))).drop_columns(["trial"])

    @cached_property
    def _curves(self) -> tuple[Any, dict[str, NDArray[np.int64]]]:
        """All curves, and the rows of each trial, in order."""
        table = read_curve(self.out / CURVES, columns=COLUMNS_OF_MANY)
        chunks = table["trial"].chunks
        if not chunks:
            return table, {}
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in chunks])
        order = np.argsort(codes, kind="stable")
        words = chunks[0].dictionary
        ends = np.searchsorted(codes[order], np.arange(len(words) + 1))
        try:
            trials = words.to_pylist()
        except UnicodeDecodeError as error:
            raise DataError(f"holds no text in 'trial': {error}", file=CURVES) from error
        return table, {
            trial: order[first:last]
            for trial, first, last in zip(trials, ends[:-1], ends[1:], strict=True)
        }

    def _text(self, name: str, row: int) -> str:
        try:
            return str(self._table[name][row].as_py())
        except UnicodeDecodeError as error:
            raise DataError(f"holds no text in {name!r}: {error}", file=TABLE) from error


def open_results(folder: str | Path) -> Store | RecordTable:
    """What a directory holds, as it was run or as it was exported.

    Raises:
        UsageError: If it is no directory of records, of a newer schema, or both at once.
        DataError: If its tables cannot be read.
    """
    store = Store(Path(folder))
    store.open_for_reading()
    if not (store.out / TABLE).exists():
        return store
    if store.ids():
        raise UsageError(
            f"{folder} holds trials and {TABLE}: move one of the two to a directory of its own"
        )
    return RecordTable(store.out)


def write_records(
    records: Iterable[Record], curves: Iterable[tuple[str, Sequence[CurveRow]]], out: Path
) -> None:
    """Writes such a directory, over an older one.

    Args:
        records: Sealed.
        curves: Trial and rows of its curve.
        out: The directory.

    Raises:
        UsageError: If it holds trials or other files than an export, or cannot be written.
        DataError: If what was written could not be read again.
    """
    rows = [_row(record) for record in records]
    schema = {name: _POLARS[_PLAIN.get(name, _JSON)[0]] for name in ["schema", *FIELDS]}
    points = [(trial, *point) for trial, found in curves for point in found]
    of_curves = {name: _POLARS[kind] for name, (kind, _) in COLUMNS_OF_MANY.items()}
    try:
        _require_free(out)
        out.mkdir(parents=True, exist_ok=True)
        write_text_atomic(out / "irlbench.json", json.dumps({"schema": SCHEMA}) + "\n")
        write_atomic(out / CURVES, _parquet(points, of_curves))
        write_atomic(out / TABLE, _parquet(rows, schema))
    except OSError as error:
        raise UsageError(
            f"cannot write to {out}: {error.strerror or error}; name another --out"
        ) from error
    written = RecordTable(out)
    for _ in written.records():
        pass
    written.curve("")


def _require_free(out: Path) -> None:
    """Refuses a directory in which a run has left, or may leave, trials; and one of others' files."""
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if found & {"trials", "working"} or (found and "irlbench.json" not in found):
        raise UsageError(f"{out} holds trials or other files: name another --out")


def _row(record: Record) -> dict[str, Any]:
    return {
        name: value if name in _PLAIN else _json(value) for name, value in record.to_json().items()
    }


def _json(value: Any) -> str:
    """JSON in the order of the record, which is what people have seen."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


#: Parquet's physical type to the name of polars' type.
_POLARS = {BOOLEAN: "Boolean", INT64: "Int64", DOUBLE: "Float64", BYTES: "String"}


def _parquet(rows: Sequence[Any], schema: Mapping[str, str]) -> bytes:
    import polars

    types = {name: getattr(polars, kind) for name, kind in schema.items()}
    content = io.BytesIO()
    frame = polars.DataFrame(rows, schema=types, orient="row")
    frame.write_parquet(content, compression="zstd", compression_level=19)
    return content.getvalue()


def _check(told: Layout, content: bytes) -> None:
    """Refuses what is no table of records, before anything is decompressed.

    Raises:
        ValueError: With what is wrong.
    """
    if told.rows > _MOST_ROWS or len(told.columns) > _MOST_COLUMNS:
        raise ValueError(f"claims {told.rows:,} rows of {len(told.columns)} columns")
    names = [column.name for column in told.columns]
    if len(set(names)) != len(names) or not {"schema", "trial"} <= set(names):
        raise ValueError(f"has columns {', '.join(map(repr, names))}")
    for column in told.columns:
        if (column.type, column.converted) != _PLAIN.get(column.name, _JSON):
            raise ValueError(f"has a column {column.name!r} of another type")
    check_pages(content, told, _MOST_BYTES)


def _require_bearable(table: Any) -> None:
    """Refuses few long texts that many rows share.

    Raises:
        DataError: If reading them all would take out of all proportion.
    """
    from pyarrow import compute

    size = 0
    for name in table.column_names:
        for chunk in table[name].chunks if _PLAIN.get(name, _JSON)[0] == BYTES else ():
            lengths = compute.binary_length(chunk.dictionary).to_numpy(zero_copy_only=False)
            size += int(lengths[chunk.indices.to_numpy()].sum(dtype=np.int64))
    if size > _MOST_BYTES:
        raise DataError(f"is no table of records: its texts come to {size:,} bytes", file=TABLE)
