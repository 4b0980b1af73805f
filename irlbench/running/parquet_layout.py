"""What a Parquet file asks of its reader, found out before anything in it is unpacked.

Readers of Parquet follow what a file says of itself: they allocate what its pages claim, and some
end the process over a footer that was damaged. So the footer and the headers of all pages are read
here first. They are written in Thrift's compact protocol; see the format's `parquet.thrift` for
the numbers of fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAGIC = b"PAR1"
_LONGEST_FOOTER = 4 * 2**20
_LONGEST_HEADER = 2**16
_DEEPEST = 10
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
#: Physical types, and what bytes stand for that are text.
BOOLEAN, INT64, DOUBLE, BYTES, UTF8 = 0, 2, 5, 6, 0
#: Plain, dictionary, run-length, differences of numbers, split bytes. Texts that are told by what
#: they share with the one before are not among them: these grow without bound.
_ENCODINGS = frozenset({0, 2, 3, 5, 8, 9})
#: Type of page to the field that describes it, and within that to the field of the encoding.
_DESCRIBED = {_DATA: (5, 2), _DICTIONARY: (7, 2), _DATA_V2: (8, 4)}


@dataclass(frozen=True)
class Column:
    """A column of the schema.

    Attributes:
        name: Its name.
        type: Parquet's number of the physical type.
        repetition: 0 required, 1 optional, 2 repeated.
        converted: Parquet's number of what it stands for, or None.
    """

    name: str
    type: int
    repetition: int
    converted: int | None


@dataclass(frozen=True)
class Chunk:
    """One column of one row group.

    Attributes:
        column: Index in the schema.
        rows: Of the row group.
        start: Where its pages begin in the file.
        length: Bytes of its pages with their headers.
    """

    column: int
    rows: int
    start: int
    length: int


@dataclass(frozen=True)
class Layout:
    """What the footer tells.

    Attributes:
        rows: Of the file.
        columns: The schema, which must be flat.
        chunks: Every column of every row group.
    """

    rows: int
    columns: tuple[Column, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True)
class Page:
    """One page of a column.

    Attributes:
        size: Bytes once it is decompressed.
        values: How many values it says it holds.
        encoding: Parquet's number of the way in which they are written.
        dictionary: Whether they are a dictionary, to which other pages refer.
    """

    size: int
    values: int
    encoding: int
    dictionary: bool


def layout(content: bytes) -> Layout:
    """Reads the footer of a file with a flat schema.

    Raises:
        ValueError: If that is no such file, or parts of it contradict each other.
    """
    length = int.from_bytes(content[-8:-4], "little")
    if len(content) < 12 or content[:4] != MAGIC or content[-4:] != MAGIC:
        raise ValueError("no Parquet file")
    if length > min(len(content) - 12, _LONGEST_FOOTER):
        raise ValueError("its footer is cut off")
    footer = _Compact(content[len(content) - 8 - length : -8]).struct()
    if 8 in footer or 9 in footer:
        raise ValueError("it is encrypted")
    rows = _whole(footer, 3, "rows")
    columns = _columns(_listed(footer, 2, "schema"))
    chunks: list[Chunk] = []
    total = 0
    for group in _listed(footer, 4, "row groups"):
        total += (count := _whole(group, 3, "rows of a group"))
        for index, chunk in enumerate(found := _listed(group, 1, "columns of a group")):
            chunks.append(_chunk(chunk, index, count, columns, len(content)))
        if len(found) != len(columns):
            raise ValueError(f"a group has {len(found)} of {len(columns)} columns")
    if total != rows:
        raise ValueError(f"claims {rows} rows, its parts {total}")
    return Layout(rows, columns, tuple(chunks))


def _columns(schema: list[dict[int, Any]]) -> tuple[Column, ...]:
    if not schema or schema[0].get(5) != len(schema) - 1 or any(item.get(5) for item in schema[1:]):
        raise ValueError("its schema is not flat")
    return tuple(
        Column(
            _bytes(item, 4, "name").decode(),
            _whole(item, 1, "type"),
            _whole(item, 3, "repetition"),
            item.get(6),
        )
        for item in schema[1:]
    )


def _chunk(
    chunk: dict[int, Any], index: int, rows: int, columns: tuple[Column, ...], size: int
) -> Chunk:
    meta = chunk.get(3)
    if chunk.keys() & {1, 8, 9} or not isinstance(meta, dict):
        raise ValueError("a column is encrypted, or in another file")
    column = columns[index] if index < len(columns) else None
    path = meta.get(3)
    if column is None or path != [column.name.encode()] or meta.get(1) != column.type:
        raise ValueError(f"a group has {path} where the schema has {column}")
    if (values := _whole(meta, 5, "values")) != rows:
        raise ValueError(f"claims {values} values in {rows} rows")
    start, length = _whole(meta, 9, "data page"), _whole(meta, 7, "length")
    if 11 in meta:
        start = min(start, _whole(meta, 11, "dictionary page"))
    if start < len(MAGIC) or start + length > size:
        raise ValueError("a column lies outside the file")
    return Chunk(index, rows, start, length)


def pages(content: bytes, chunk: Chunk) -> Iterator[Page]:
    """The pages of one column of one row group.

    Args:
        content: The whole file.
        chunk: From its layout.

    Raises:
        ValueError: If that is no sequence of pages with as many values as there are rows.
    """
    at, end, left = chunk.start, chunk.start + chunk.length, chunk.rows
    while at < end:
        header = _Compact(content[at : min(at + _LONGEST_HEADER, end)])
        fields = header.struct()
        kind = _whole(fields, 1, "type of a page")
        if kind not in _DESCRIBED:
            raise ValueError(f"a page is of type {kind}")
        place, encoded = _DESCRIBED[kind]
        described = fields.get(place)
        if not isinstance(described, dict):
            raise ValueError("a page is not described")
        page = Page(
            size=_whole(fields, 2, "size of a page"),
            values=_whole(described, 1, "values of a page"),
            encoding=_whole(described, encoded, "encoding of a page"),
            dictionary=kind == _DICTIONARY,
        )
        yield page
        left -= 0 if page.dictionary else page.values
        at += header.at + _whole(fields, 3, "length of a page")
    if at != end:
        raise ValueError("a page goes on beyond its column")
    if left:
        raise ValueError(f"claims {chunk.rows} rows, its pages hold {chunk.rows - left}")


def check_pages(content: bytes, told: Layout, most: int) -> None:
    """Refuses columns that are not flat, and pages that ask for more than they should.

    Args:
        content: The whole file.
        told: Its layout.
        most: Bytes that all pages together may hold.

    Raises:
        ValueError: With what is wrong.
    """
    nested = [column.name for column in told.columns if column.repetition not in (0, 1)]
    if nested:
        raise ValueError(f"has a list in column {nested[0]!r}")
    size = 0
    for chunk in told.chunks:
        for page in pages(content, chunk):
            if page.encoding not in _ENCODINGS:
                raise ValueError(f"is written in Parquet's encoding {page.encoding}")
            if page.dictionary and page.values > page.size:
                raise ValueError(f"claims {page.values} words in {page.size} bytes")
            size += page.size
    if size > most:
        raise ValueError(f"would unpack to {size:,} bytes for {told.rows:,} rows")


def _whole(fields: dict[int, Any], number: int, what: str) -> int:
    value = fields.get(number)
    if type(value) is not int or value < 0:
        raise ValueError(f"does not tell the {what}")
    return value


def _bytes(fields: dict[int, Any], number: int, what: str) -> bytes:
    value = fields.get(number)
    if not isinstance(value, bytes):
        raise ValueError(f"does not tell the {what}")
    return value


def _listed(fields: dict[int, Any], number: int, what: str) -> list[dict[int, Any]]:
    value = fields.get(number)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"does not tell the {what}")
    return value


class _Compact:
    """A reader of Thrift's compact protocol.

    Attributes:
        at: Bytes read so far.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Number of each field to its value: bool, int, bytes, list, or dictionary again."""
        if depth > _DEEPEST:
            raise ValueError("is nested too deeply")
        found: dict[int, Any] = {}
        number = 0
        while head := self._take(1)[0]:
            step, kind = head >> 4, head & 15
            number = number + step if step else self._signed()
            if number in found:
                raise ValueError(f"tells field {number} twice")
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):  # truth values in a list take a byte, as bytes do
            return self._take(1)[0]
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._take(8)
        if kind == 8:
            return self._take(self._varint())
        if kind in (9, 10):
            head = self._take(1)[0]
            count = head >> 4 if head >> 4 < 15 else self._varint()
            if count > len(self._content) - self.at:
                raise ValueError("a list goes on beyond the end")
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"holds something of kind {kind}")

    def _take(self, count: int) -> bytes:
        taken = self._content[self.at : self.at + count]
        if len(taken) != count:
            raise ValueError("is cut off")
        self.at += count
        return taken

    def _varint(self) -> int:
        value = 0
        for place in range(10):
            byte = self._take(1)[0]
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                return value
        raise ValueError("holds a number without end")

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
