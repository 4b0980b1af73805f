"""Curves from strangers: read as they were written, or refused before they are unpacked."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap

import numpy as np
import polars
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import strategies as st

from irlbench.errors import DataError
from irlbench.running.curve import COLUMNS, in_polars, read_curve
from irlbench.running.parquet_layout import Chunk, Page, layout, pages
from irlbench.running.store import _parquet
from irlbench.serialisation import sha256_file

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]
STEPS = 200


def columns(rows: int = STEPS, name: str = "return") -> dict[str, pyarrow.Array]:
    index = np.arange(rows)
    kinds = np.where(index % 2, "log", "validation")
    return {
        "step": pyarrow.array(index // 2),
        "seconds": pyarrow.array(index / 7),
        "kind": pyarrow.array(kinds),
        "name": pyarrow.array([name] * rows),
        "value": pyarrow.array(np.sin(index)),
    }


def parquet(table, **how) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), stream, **how)
    return stream.getvalue()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "zstd", "use_dictionary": False},
        {"compression": "none", "data_page_version": "2.0"},
        {"row_group_size": 13, "data_page_size": 64},
        {"use_dictionary": False, "column_encoding": {"step": "DELTA_BINARY_PACKED"}},
        {"use_dictionary": False, "column_encoding": {"value": "BYTE_STREAM_SPLIT"}},
    ],
    ids=range(6),
)
def test_a_curve_of_any_writer_reads_as_it_was_written(tmp_path, how):
    path = tmp_path / "curve.parquet"
    path.write_bytes(parquet(columns(), **how))
    found = in_polars(read_curve(path, STEPS))
    assert found.equals(polars.read_parquet(path))
    assert found.schema == polars.read_parquet(path).schema


def test_no_rows_are_a_curve_too(tmp_path):
    path = tmp_path / "curve.parquet"
    path.write_bytes(_parquet([]))
    assert in_polars(read_curve(path, 0)).schema == polars.read_parquet(path).schema


@pytest.mark.parametrize("cases", CASES)
def test_a_damaged_curve_is_a_curve_or_refused(fuzz, damaged, tmp_path, cases):
    path = tmp_path / "curve.parquet"
    written = [
        parquet(columns(), compression="zstd"),
        parquet(columns(), compression="snappy", data_page_version="2.0"),
        parquet(columns(40), row_group_size=10),
    ]

    def check(data):
        path.write_bytes(damaged(data, written[data.draw(st.integers(0, 2))]))
        try:
            table = read_curve(path, data.draw(st.sampled_from([None, STEPS])))
        except DataError:
            return
        assert table.column_names == list(COLUMNS)
        assert sum(column.null_count for column in table.columns) == 0

    fuzz(cases, check)


def _without(name):
    return {key: column for key, column in columns().items() if key != name}


OTHERS = {
    "a column is missing": (_without("seconds"), "has columns"),
    "one too many": ({**columns(), "more": columns()["step"]}, "has columns"),
    "in another order": (dict(sorted(columns().items())), "has columns"),
    "whole numbers": ({**columns(), "value": columns()["step"]}, "has columns"),
    "bytes": ({**columns(), "name": pyarrow.array([b"\xff"] * STEPS)}, "has columns"),
    "times": ({**columns(), "step": columns()["step"].cast("timestamp[us]")}, "has columns"),
    "unsigned": ({**columns(), "step": columns()["step"].cast("uint64")}, "has columns"),
    "nothing": ({**columns(), "value": pyarrow.nulls(STEPS, "double")}, "a value is missing"),
    "lists": ({**columns(), "value": pyarrow.array([[1.0]] * STEPS)}, "not flat"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_curve_is_refused_with_the_reason(tmp_path, name):
    table, told = OTHERS[name]
    path = tmp_path / "curve.parquet"
    path.write_bytes(parquet(table))
    with pytest.raises(DataError, match=told) as caught:
        read_curve(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_curve_that_was_changed_is_noticed(tmp_path):
    path = tmp_path / "curve.parquet"
    path.write_bytes(parquet(columns()))
    digest = sha256_file(path)
    assert read_curve(path, STEPS, digest).num_rows == STEPS
    path.write_bytes(parquet(columns(name="other")))
    with pytest.raises(DataError, match="changed or damaged"):
        read_curve(path, STEPS, digest)


def test_another_number_of_rows_than_the_record_tells_is_refused(tmp_path):
    path = tmp_path / "curve.parquet"
    path.write_bytes(parquet(columns()))
    with pytest.raises(DataError, match="has 200 rows, the record tells of 199"):
        read_curve(path, STEPS - 1)


# --- memory


def _repeated(rows: int, text: str) -> dict[str, pyarrow.Array]:
    """Rows that are all the same; the texts are one text, many times."""
    texts = pyarrow.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), [text])
    numbers = pyarrow.array(np.zeros(rows))
    return {
        "step": numbers.cast("int64"),
        "seconds": numbers,
        "kind": texts,
        "name": texts,
        "value": numbers,
    }


def _limited(code: str, more: int = 2**30) -> str:
    """What code prints in a process that may take so many bytes more."""
    text = f"""
    import resource
    from pathlib import Path
    import polars, pyarrow.parquet  # what they take themselves does not count
    from irlbench.errors import DataError
    from irlbench.reporting.curves import _equal
    from irlbench.running.curve import in_polars, read_curve
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + {more}, used + {more}))
    try:
        {code}
    except DataError as error:
        print("refused", str(error)[:200])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        # Another pool would set a gibibyte aside at once.
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_equal_rows_in_next_to_no_bytes_are_not_unpacked_without_end(tmp_path):
    path = tmp_path / "curve.parquet"
    path.write_bytes(parquet(_repeated(6_000_000, "return"), compression="zstd"))
    assert path.stat().st_size < 2**20
    assert "claims 6000000 rows in" in _limited(f"read_curve(Path({str(path)!r}))", 2**27)


def test_texts_that_unpack_to_gigabytes_are_refused_before(tmp_path):
    path = tmp_path / "curve.parquet"
    table = {**columns(200_000), "name": pyarrow.array(["x" * 5000] * 200_000)}
    path.write_bytes(parquet(table, compression="zstd", use_dictionary=False))
    assert path.stat().st_size < 8 * 2**20
    assert "would unpack to 1," in _limited(f"read_curve(Path({str(path)!r}))", 2**27)


def test_a_long_text_is_not_written_out_for_each_row(tmp_path):
    path = tmp_path / "curve.parquet"
    path.write_bytes(parquet(_repeated(1_000_000, "x" * 1_000_000), compression="zstd"))
    assert path.stat().st_size < 2**20
    code = f"""
        path = Path({str(path)!r})
        print(read_curve(path).num_rows, _equal(read_curve(path)["name"], "return").sum())
        print((in_polars(read_curve(path))["name"] == "return").sum())
    """
    assert _limited(code.strip()).split() == ["1000000", "0", "0"]


def test_texts_told_by_what_they_share_are_refused(tmp_path):
    path = tmp_path / "curve.parquet"
    table = {**columns(50_000), "name": pyarrow.array(["x" * 20_000] * 50_000)}
    encoding = {"name": "DELTA_BYTE_ARRAY"}
    path.write_bytes(parquet(table, use_dictionary=False, column_encoding=encoding))
    assert path.stat().st_size < 2**22
    assert "Parquet's encoding 7" in _limited(f"read_curve(Path({str(path)!r}))", 2**28)


# --- the headers of pages


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _int32(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _struct(fields: dict[int, object]) -> bytes:
    """Numbers and structures in Thrift's compact protocol."""
    written, last = b"", 0
    for number, value in fields.items():
        kind = 12 if isinstance(value, dict) else 5
        written += bytes([(number - last) << 4 | kind])
        written += _struct(value) if isinstance(value, dict) else _int32(value)  # type: ignore[arg-type]
        last = number
    return written + b"\0"


def _page(size=100, stored=10, values=7, kind=0, encoding=0, **more) -> bytes:
    place, encoded = {0: (5, 2), 2: (7, 2), 3: (8, 4)}[kind]
    described = {1: values, encoded: encoding} | ({3: 3, 4: 3} if kind == 0 else {})
    described = dict(sorted(described.items()))
    return _struct({1: kind, 2: size, 3: stored, place: described}) + b"x" * max(stored, 0)


def test_pages_are_told_by_their_headers():
    content = b"PAR1" + _page(kind=2, size=50, values=3) + _page(size=2**31 - 1) + b"rest"
    found = list(pages(content, Chunk(0, 7, 4, len(content) - 8)))
    assert found == [Page(50, 3, 0, True), Page(2**31 - 1, 7, 0, False)]
    assert list(pages(b"PAR1", Chunk(0, 0, 4, 0))) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (_page()[:-1], "goes on beyond"),
        (_page() + b"\x15", "cut off"),
        (_page(size=-1), "the size of a page"),
        (_page(stored=-5), "the length of a page"),
        (_page(values=-1), "the values of a page"),
        (_page(values=6), "claims 7 rows, its pages hold 6"),
        (_page(values=8), "claims 7 rows, its pages hold 8"),
        (_struct({1: 1, 2: 5, 3: 0}), "of type 1"),
        (_struct({1: 0, 2: 5, 3: 0}), "not described"),
        (_struct({1: 0, 2: 5, 3: 0, 7: {1: 1, 2: 0}}), "not described"),
        (_struct({1: 0, 2: 5, 3: 0, 5: {1: 1}}), "the encoding of a page"),
        (b"\x15\x00\x05\x02\x00", "field 1 twice"),
        (b"\x1c" * 50, "nested too deeply"),
        (b"\x1d\0", "of kind 13"),
        (b"\x15" + b"\xff" * 20, "without end"),
        (b"\x18" + _varint(10**9), "cut off"),
        (b"\x19\xf8" + _varint(10**9), "beyond the end"),
    ],
)
def test_what_is_no_page_is_refused(content, told):
    with pytest.raises(ValueError, match=told):
        list(pages(content, Chunk(0, 7, 0, len(content))))


def _file(footer: bytes, length: int | None = None) -> bytes:
    size = len(footer) if length is None else length
    return b"PAR1" + footer + size.to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no Parquet file"),
        (b"PAR1" * 2, "no Parquet file"),
        (b"PAR1" + parquet(columns())[4:-1] + b"E", "no Parquet file"),
        (_file(b"", 2**31), "footer is cut off"),
        (_file(b"\0"), "does not tell the rows"),
        (_file(_struct({3: 5})), "does not tell the schema"),
        (_file(_struct({3: 5, 8: {1: 1}})), "encrypted"),
    ],
)
def test_what_has_no_footer_is_refused(content, told):
    with pytest.raises(ValueError, match=told):
        layout(content)
