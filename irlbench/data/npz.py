"""Reads NumPy archives from strangers: no pickle, and nothing is read that was not checked.

`numpy.load` allocates what a header claims and decompresses what an archive holds. Here the
header of every member is compared first with what the archive's directory says of it, with a cap,
and with how far it expands.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from irlbench.errors import DataError

#: Most bytes of all fields together that are read.
MAX_BYTES = 2 * 2**30
#: Members that expand more than so many times are refused, once they are larger than `_SMALL`.
_MAX_RATIO = 200
_SMALL = 16 * 2**20
_CHUNK = 2**20
_HEADER_CAP = 10_000
_ZIP, _NPY = b"PK\x03\x04", b"\x93NUMPY"
_EMPTY_ZIP = b"PK\x05\x06"


class NpzFile:
    """The fields of a NumPy archive, each read when it is asked for.

    Args:
        path: A file that ends in `.npz`.
        max_bytes: Cap over all fields that are read.

    Raises:
        DataError: If the file is missing, is something else, or is damaged.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._name, self._left, self._max = path.name, max_bytes, max_bytes
        self._refuse_others(path)
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError) as error:
            raise self._error(
                f"is truncated or no archive ({error}): copy or download it again"
            ) from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._archive.infolist():
            field = member.filename.removesuffix(".npy")
            if field in self._members:
                raise self._error("is there twice", field)
            self._members[field] = member

    def _refuse_others(self, path: Path) -> None:
        try:
            with path.open("rb") as stream:
                start = stream.read(8)
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from error
        if not start:
            raise self._error("is empty")
        if _is_pickle(start):
            raise self._error(
                "is a pickle, which could run code when it is read: save the arrays by "
                "numpy.savez instead"
            )
        if start.startswith(_NPY):
            raise self._error("is a single array: save all fields by numpy.savez")
        if path.suffix.lower() != ".npz":
            raise self._error(
                f"ends in {path.suffix or 'nothing'!r}: demonstrations are read from .npz archives "
                "(numpy.savez)"
            )
        if not start.startswith((_ZIP, _EMPTY_ZIP)):
            raise self._error("is no .npz archive: save it by numpy.savez")

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

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
        try:
            with self._archive.open(member) as stream:
                dtype, shape, fortran = self._header(stream, field)
                size = self._claimed(member, stream.tell(), dtype, shape, field)
                content = _exactly(stream, size)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise self._error(f"is damaged or truncated ({error})", field) from error
        self._left -= size
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")

    def _header(self, stream: IO[bytes], field: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
        start = stream.read(len(_NPY) + 2)
        if _is_pickle(start):
            raise self._error("is a pickle, which could run code when it is read", field)
        try:
            version = npy.read_magic(io.BytesIO(start))
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, fortran, dtype = read(stream, max_header_size=_HEADER_CAP)
        except (ValueError, KeyError, TypeError, SyntaxError, RecursionError) as error:
            raise self._error(f"holds no NumPy array ({error})", field) from error
        if dtype.hasobject:
            raise self._error(
                "holds Python objects, which are pickled: save plain numbers, one array per "
                "episode",
                field,
            )
        if dtype.kind not in "biuf":
            raise self._error(f"holds {dtype}: numbers or booleans are needed", field)
        if any(not isinstance(n, int) or n < 0 for n in shape):
            raise self._error(f"claims the shape {shape}", field)
        return dtype, shape, fortran

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
        if size > self._left:
            raise self._error(
                f"claims {_readable(size)} ({dtype}, shape {shape}); all fields together may have "
                f"{_readable(self._max)}",
                field,
            )
        if size != member.file_size - header:
            raise self._error(
                f"claims {_readable(size)} ({dtype}, shape {shape}), but holds "
                f"{_readable(max(member.file_size - header, 0))}",
                field,
            )
        if size > _SMALL and size > _MAX_RATIO * max(member.compress_size, 1):
            raise self._error(
                f"would expand from {_readable(member.compress_size)} to {_readable(size)}: "
                "refused as a decompression bomb",
                field,
            )
        return size

    def _error(self, message: str, field: str | None = None) -> DataError:
        return DataError(message, file=self._name, field=field)


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    content = bytearray()
    while len(content) < size:
        chunk = stream.read(min(_CHUNK, size - len(content)))
        if not chunk:
            raise EOFError(f"{len(content)} of {size} bytes")
        content += chunk
    if stream.read(1):  # at the end the archive's checksum is compared
        raise EOFError("more bytes than its header says")
    return content


def _is_pickle(start: bytes) -> bool:
    """Protocols 2 to 5 begin with 0x80 and their number."""
    return len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5


def _readable(size: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


def numbered(fields: Iterable[str], stem: str) -> set[int]:
    """The episodes i for which there is a field `<stem>_<i>`."""
    found = set()
    for field in fields:
        head, _, tail = field.rpartition("_")
        if head == stem and tail.isascii() and tail.isdigit() and str(int(tail)) == tail:
            found.add(int(tail))
    return found
