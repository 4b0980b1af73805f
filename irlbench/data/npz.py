"""Reads NumPy archives from strangers: no pickle, and nothing is read that was not checked.

`numpy.load` allocates what a header claims, decompresses what an archive holds and evaluates
headers as Python literals. Here the header of every member is matched against the one form that
arrays of numbers have, and compared with what the archive's directory says of the member, with a
cap, and with how far it expands. Nothing is ever extracted to a file.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import DataError
from irlbench.serialisation import open_plain

#: Most bytes of all fields together that are read, each number counted as 8 bytes at least:
#: that is what it may take once it is cast.
MAX_BYTES = 2 * 2**30
#: Members that expand more than so many times are refused, once they are larger than `_SMALL`.
_MAX_RATIO = 200
_SMALL = 16 * 2**20
_CHUNK = 2**20
_WIDEST = 8
#: Most bytes of an archive's directory; a member takes about a hundred.
_MAX_DIRECTORY = 32 * 2**20
#: Most bytes of a header. NumPy's are padded to 64.
_HEADER_CAP = 10_000
#: Most dimensions of a NumPy array.
_MAX_DIMENSIONS = 64
_ZIP, _NPY = b"PK\x03\x04", b"\x93NUMPY"
_EMPTY_ZIP = b"PK\x05\x06"
#: Numbers of episodes: no leading zero, and not without end.
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")
#: How long the length of a header is, by the format's major version.
_LENGTHS = {1: "<H", 2: "<I", 3: "<I"}
#: What precedes the array. Other writers space it otherwise; Python 2 wrote lengths with an L.
_HEADER = re.compile(
    r"\{\s*'descr'\s*:\s*(?P<type>.+?)\s*,\s*'fortran_order'\s*:\s*(?P<fortran>True|False)\s*,"
    r"\s*'shape'\s*:\s*\((?P<shape>[-0-9L,\s]*)\)\s*,?\s*\}\s*",
    re.DOTALL,
)
_LENGTH = re.compile(r"\s*(-?[0-9]{1,30})L?\s*")
_NUMBERS = re.compile(r"'([<>|=]?[biuf][0-9]{1,2}|\|?\?)'")
_OBJECTS = re.compile(r"'[<>|=]?O[0-9]{0,2}'")


class NpzFile:
    """The fields of a NumPy archive, each read when it is asked for.

    Args:
        path: A file that ends in `.npz`.
        max_bytes: Cap over all fields that are read, as `MAX_BYTES` counts.

    Raises:
        DataError: If the file is missing, is something else, is damaged, or holds a field twice
            or one whose name leads out of a folder.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._name, self._left, self._max = path.name, max_bytes, max_bytes
        try:
            with open_plain(path) as stream:
                self._refuse_others(stream.read(8), path.suffix)
                self._size = os.fstat(stream.fileno()).st_size
                self._stream = _Stream(os.dup(stream.fileno()))
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from error
        try:
            self._archive = zipfile.ZipFile(self._stream)
            self._members = self._checked(self._archive.infolist())
        except BaseException as error:
            self._stream.close()
            if isinstance(error, _DAMAGE):
                raise self._error(
                    f"is truncated or no archive ({_first(error)}): copy or download it again"
                ) from error
            raise

    def _refuse_others(self, start: bytes, suffix: str) -> None:
        """Refuses by the first bytes and the extension what is no archive of arrays."""
        if not start:
            raise self._error("is empty")
        if _is_pickle(start):
            raise self._error(
                "is a pickle, which could run code when it is read: save the arrays by "
                "numpy.savez instead"
            )
        if start.startswith(_NPY):
            raise self._error("is a single array: save all fields by numpy.savez")
        if suffix.lower() != ".npz":
            raise self._error(
                f"ends in {suffix or 'nothing'!r}: demonstrations are read from .npz archives "
                "(numpy.savez)"
            )
        if not start.startswith((_ZIP, _EMPTY_ZIP)):
            raise self._error("is no .npz archive: save it by numpy.savez")

    def _checked(self, found: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        for member in found:
            field = member.filename.removesuffix(".npy")
            if field in members:
                raise self._error("is there twice", field)
            if field.startswith("/") or "\\" in field or ".." in field.split("/"):
                raise self._error("has a name that leads out of a folder", field)
            members[field] = member
        return members

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()
        self._stream.close()

    @property
    def fields(self) -> list[str]:
        """Names of the fields, in the archive's order."""
        return list(self._members)

    def read(self, field: str) -> NDArray[Any]:
        """One field: booleans, integers or floating-point numbers.

        Args:
            field: Its name.

        Raises:
            DataError: If it is missing, holds objects, claims more than it has or than the cap,
                expands too far, or is damaged.
        """
        if field not in self._members:
            raise self._error("is missing", field)
        member = self._members[field]
        if member.flag_bits & 1:
            raise self._error("is encrypted", field)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            kind = member.compress_type
            raise self._error(f"is compressed by method {kind}; numpy stores or deflates", field)
        try:
            with self._archive.open(member) as stream:
                dtype, shape, fortran = self._header(stream, field)
                size = self._claimed(member, stream.tell(), dtype, shape, field)
                content = _exactly(stream, size)
        except _DAMAGE as error:
            raise self._error(f"is damaged or truncated ({_first(error)})", field) from error
        self._left -= _counted(size, dtype)
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")

    def _header(self, stream: IO[bytes], field: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
        start = stream.read(len(_NPY) + 2)
        if _is_pickle(start):
            raise self._error("is a pickle, which could run code when it is read", field)
        if len(start) < len(_NPY) + 2 or not start.startswith(_NPY) or start[6] not in _LENGTHS:
            raise self._error("holds no NumPy array", field)
        packed = _LENGTHS[start[6]]
        (length,) = struct.unpack(packed, _exactly(stream, struct.calcsize(packed), ends=False))
        if length > _HEADER_CAP:
            raise self._error(
                f"holds no NumPy array of numbers (a header of {_readable(length)})", field
            )
        text = bytes(_exactly(stream, length, ends=False)).decode("latin-1")
        found = _HEADER.fullmatch(text)
        if found is None:
            raise self._error(f"holds no NumPy array (its header is {text[:80]!r})", field)
        lengths = [part for part in found["shape"].split(",") if part.strip()]
        shape = [int(n[1]) if (n := _LENGTH.fullmatch(part)) else -1 for part in lengths]
        if len(shape) > _MAX_DIMENSIONS or any(n < 0 for n in shape):
            raise self._error(f"claims the shape ({found['shape'].strip()[:80]})", field)
        return self._dtype(found["type"], field), tuple(shape), found["fortran"] == "True"

    def _dtype(self, told: str, field: str) -> np.dtype[Any]:
        """The type that a header tells of; only those of numbers are ever made."""
        if _OBJECTS.fullmatch(told):
            raise self._error(
                "holds Python objects, which are pickled: save plain numbers, one array per "
                "episode",
                field,
            )
        plain = _NUMBERS.fullmatch(told)
        try:
            if plain is not None:
                return np.dtype(plain[1])
        except TypeError:
            pass  # a number of bytes that there is no type of
        raise self._error(f"holds {told[:80]}: numbers or booleans are needed", field)

    def _claimed(
        self,
        member: zipfile.ZipInfo,
        header: int,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        field: str,
    ) -> int:
        """Bytes of the array by its header, once that is found to be true and affordable."""
        size = math.prod(shape) * dtype.itemsize
        # An empty array may be as long as it likes in its other dimensions, but not for NumPy.
        if _counted(size, dtype) > self._left or math.prod(n for n in shape if n) >= 2**60:
            raise self._error(
                f"claims {_readable(size)} ({dtype}, shape {shape}); all fields together may "
                f"have {_readable(self._max)}, a number counted as {_WIDEST} bytes",
                field,
            )
        if size != member.file_size - header:
            raise self._error(
                f"claims {_readable(size)} ({dtype}, shape {shape}), but holds "
                f"{_readable(max(member.file_size - header, 0))}",
                field,
            )
        packed = min(member.compress_size, self._size)
        if size > _SMALL and size > _MAX_RATIO * max(packed, 1):
            raise self._error(
                f"would expand from {_readable(packed)} to {_readable(size)}: refused as a "
                "decompression bomb",
                field,
            )
        return size

    def _error(self, message: str, field: str | None = None) -> DataError:
        shown = field if field is None or len(field) <= 80 else f"{field[:80]}..."
        return DataError(message, file=self._name, field=shown)


#: What reading a member raises where the archive is damaged.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    ValueError,
)


class _Stream(io.FileIO):
    """A file of which no more is read at once than an archive's directory may have."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            place = self.tell()
            size = max(self.seek(0, io.SEEK_END) - place, 0)
            self.seek(place)
        if size > _MAX_DIRECTORY:
            raise OSError(f"a directory of {_readable(size)}")
        return super().read(size) or b""


def _exactly(stream: IO[bytes], size: int, *, ends: bool = True) -> bytearray:
    """So many bytes and, where it `ends` there, no more after them."""
    content = bytearray()
    while len(content) < size:
        chunk = stream.read(min(_CHUNK, size - len(content)))
        if not chunk:
            raise EOFError(f"{len(content)} of {size} bytes")
        content += chunk
    if ends and stream.read(1):  # at the end the archive's checksum is compared
        raise EOFError("more bytes than its header says")
    return content


def _counted(size: int, dtype: np.dtype[Any]) -> int:
    return size // dtype.itemsize * max(dtype.itemsize, _WIDEST)


def _is_pickle(start: bytes) -> bool:
    """Protocols 2 to 5 begin with 0x80 and their number."""
    return len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5


def _readable(size: int) -> str:
    if size >= 2**70:  # a claim may be too large for a floating-point number
        return "more than 2^70 bytes"
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


def _first(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:120] or type(error).__name__


def numbered(fields: Iterable[str], stem: str) -> set[int]:
    """The episodes i for which there is a field `<stem>_<i>`."""
    found = set()
    for field in fields:
        head, _, tail = field.rpartition("_")
        if head == stem and _INDEX.fullmatch(tail):
            found.add(int(tail))
    return found
