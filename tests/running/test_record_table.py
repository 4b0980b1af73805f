"""Tables of records from strangers: read, or refused in words."""

from __future__ import annotations

import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import strategies as st

from irlbench.errors import DataError, UsageError
from irlbench.running.curve import in_polars
from irlbench.running.record import SCHEMA
from irlbench.running.record_table import RecordTable, open_results, write_records
from irlbench.running.store import Store
from tests.running.test_fuzz_records import CASES, publish, seal


@pytest.fixture
def out(tmp_path):
    """An export of three trials with curves."""
    for seed in range(3):
        publish(tmp_path / "run", seed, failed=seed == 1)
    store = Store(tmp_path / "run")
    curves = [(trial, store.curve(trial).rows()) for trial in store.ids()]
    write_records(store.records(), curves, tmp_path / "out")
    return tmp_path / "out"


def columns(out) -> dict[str, list]:
    return pyarrow.parquet.read_table(out / "records.parquet").to_pydict()


def put(out, table, **how) -> None:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), stream, **how)
    (out / "records.parquet").write_bytes(stream.getvalue())


def everything(out) -> list:
    """All that a report asks of a table."""
    table = open_results(out)
    assert isinstance(table, RecordTable)
    found = list(table.records())
    for trial in table.ids():
        in_polars(table.curve(trial))
    return found


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "none", "use_dictionary": False},
        {"compression": "gzip", "data_page_version": "2.0"},
        {"row_group_size": 1},
    ],
    ids=range(4),
)
def test_a_table_of_any_writer_is_read(out, how):
    before = everything(out)
    put(out, columns(out), **how)
    assert everything(out) == before and len(before) == 3


@pytest.mark.parametrize("file", ["records.parquet", "curves.parquet"])
@pytest.mark.parametrize("cases", CASES)
def test_a_damaged_table_is_refused_or_says_the_same(fuzz, damaged, out, file, cases):
    before, written = everything(out), (out / file).read_bytes()

    def check(data):
        (out / file).write_bytes(damaged(data, written))
        try:
            found = everything(out)
        except DataError:
            return
        assert found == before

    fuzz(cases, check)


def test_a_cell_that_was_changed_is_noticed(fuzz, out):
    """Each row is sealed: its numbers cannot be better than they were."""
    original = columns(out)

    def check(data):
        changed = {name: list(values) for name, values in original.items()}
        name = data.draw(st.sampled_from([n for n in changed if n != "trial"]))
        row = data.draw(st.integers(0, 2))
        old = changed[name][row]
        changed[name][row] = (
            (not old) if type(old) is bool else old + (1 if type(old) is int else "0")
        )
        put(out, changed)
        table = RecordTable(out)
        trial = sorted(original["trial"])[0]
        intact = [t for t in table.ids() if t != original["trial"][row]]
        assert trial in table.ids() and all(table.read(t).trial == t for t in intact)
        with pytest.raises(DataError):
            table.read(original["trial"][row])

    fuzz(60, check)


def test_a_record_under_another_id_is_refused(out):
    changed = columns(out)
    changed["trial"][0] = "0" * 64
    put(out, changed)
    with pytest.raises(DataError, match="changed or damaged"):
        RecordTable(out).read("0" * 64)


def test_a_newer_record_says_to_update(out):
    changed = columns(out)
    changed["schema"] = [SCHEMA + 1] * 3
    changed["more"] = ["{}"] * 3
    put(out, changed)
    with pytest.raises(DataError, match="update irlbench"):
        list(RecordTable(out).records())


def test_an_older_record_is_upgraded(out):
    """As it was exported when metrics were not known."""
    names = {k: v for k, v in columns(out).items() if k != "metrics"}
    rows = [dict(zip(names, row, strict=True)) for row in zip(*names.values(), strict=True)]
    plain = ("trial", "status", "world", "environment", "content_hash", "integrity")
    sealed = []
    for row in rows:
        value = {
            k: json.loads(v) if isinstance(v, str) and k not in plain else v for k, v in row.items()
        }
        sealed.append(seal({**value, "schema": 1})["integrity"])
    put(out, {**names, "schema": [1] * 3, "integrity": sealed})
    assert [record.metrics for record in everything(out)] == [{}] * 3


def replaced(out, **changes):
    return {**columns(out), **changes}


OTHERS = {
    "an id twice": (lambda o: replaced(o, trial=["a" * 64] * 3), "stands there twice"),
    "no id": (lambda o: replaced(o, trial=["../../x", "a" * 64, "b" * 64]), "is no trial's id"),
    "no ids": (lambda o: {k: v for k, v in columns(o).items() if k != "trial"}, "has columns"),
    "numbers": (lambda o: replaced(o, scores=[1, 2, 3]), "'scores' of another type"),
    "texts": (lambda o: replaced(o, verifiable=["true"] * 3), "'verifiable' of another type"),
    "bytes": (lambda o: replaced(o, world=[b"\xff"] * 3), "'world' of another type"),
    "nothing": (lambda o: replaced(o, world=[None, "a", "b"]), "a value is missing"),
    "lists": (lambda o: replaced(o, scores=[["a"]] * 3), "not flat"),
    "many columns": (
        lambda o: {**columns(o), **{f"c{i}": ["1"] * 3 for i in range(60)}},
        "rows of 8. columns",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_table_of_records_is_refused(out, name):
    make, told = OTHERS[name]
    put(out, make(out))
    with pytest.raises(DataError, match=told) as caught:
        RecordTable(out)
    assert str(out) not in str(caught.value)


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', "[" * 500 + "]" * 500, "NaN", ""])
def test_a_cell_that_is_no_json_is_refused(out, text):
    put(out, replaced(out, scores=[text] * 3))
    table = RecordTable(out)
    with pytest.raises(DataError):
        table.read(table.ids()[0])


def test_many_rows_that_share_a_long_text_are_refused(out):
    """A few hundred kilobytes that would be read for hours."""
    rows = 20_000
    table = {
        "schema": [1] * rows,
        "trial": [f"{i:064x}" for i in range(rows)],
        "spec": pyarrow.DictionaryArray.from_arrays(
            pyarrow.array([0] * rows, pyarrow.int32()), [" " * 2**20]
        ),
    }
    put(out, table)
    assert (out / "records.parquet").stat().st_size < 2**20
    with pytest.raises(DataError, match=r"its texts come to 20,9\d\d,\d{3},\d{3} bytes"):
        RecordTable(out)


def test_more_rows_than_anybody_has_are_refused(out):
    rows = 100_001
    put(out, {"schema": [1] * rows, "trial": ["a"] * rows})
    with pytest.raises(DataError, match="claims 100,001 rows"):
        RecordTable(out)


def test_no_link_is_followed(out, tmp_path):
    (out / "records.parquet").rename(tmp_path / "elsewhere")
    (out / "records.parquet").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="symbolic link"):
        open_results(out)


def test_curves_that_are_missing_do_no_harm_to_records(out):
    (out / "curves.parquet").unlink()
    table = open_results(out)
    assert isinstance(table, RecordTable) and len(list(table.records())) == 3
    with pytest.raises(DataError, match="cannot be read"):
        table.curve(table.ids()[0])


def test_a_directory_that_is_not_marked_is_refused(out):
    (out / "irlbench.json").unlink()
    with pytest.raises(UsageError, match="no directory of irlbench records"):
        open_results(out)


def test_a_disk_that_cannot_be_written_is_said(out, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        write_records(RecordTable(out).records(), [], tmp_path / "file" / "out")
