"""Arrays and JSON on disk: how policies, rewards and checkpoints are written. No pickle."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import reprlib
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import DataError

FORMAT = 1
_MAX_JSON_BYTES = 16 * 2**20
#: Objects and lists within each other; what goes through JSON by recursion stands that.
_MOST_LEVELS = 64
#: Larger files must hold something: a hole costs its maker nothing, and its reader everything.
_HOLES_FROM = 64 * 2**20
_LEAST_DATA = 0.01


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text.

    Raises:
        ValueError: If the value holds NaN or an infinity.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def open_plain(path: Path, *, links: bool = True) -> BufferedReader:
    """Opens a file for reading, if it is a file of bytes: nothing that could make a reader wait.

    Args:
        path: The file.
        links: Whether `path` may itself be a symbolic link.

    Raises:
        OSError: If it cannot be opened.
        DataError: If it is a folder, a pipe, a device, or next to nothing but a hole; or a link
            where none may be.
    """
    if not links and path.is_symlink():
        raise DataError("is a symbolic link: put the file itself there", file=path.name)
    # Not to wait for the other end of a pipe, nor to take a terminal for our own.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DataError("is no plain file", file=path.name)
        if status.st_size > _HOLES_FROM and _is_hollow(descriptor, status.st_size):
            raise DataError(
                f"claims {status.st_size:,} bytes, of which hardly any are there", file=path.name
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _is_hollow(descriptor: int, size: int) -> bool:
    """Whether less than `_LEAST_DATA` of a file is data. Moves its position to the start."""
    data = position = 0
    try:
        while position < size and data < _LEAST_DATA * size:
            begin = os.lseek(descriptor, position, os.SEEK_DATA)
            position = os.lseek(descriptor, begin, os.SEEK_HOLE)
            data += position - begin
    except OSError:  # no data from here on
        pass
    os.lseek(descriptor, 0, os.SEEK_SET)
    return data < _LEAST_DATA * size


def sha256_file(path: Path, *, links: bool = True) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Args:
        path: The file.
        links: Whether it may be a symbolic link.

    Raises:
        OSError: If it cannot be read.
        DataError: If it is no plain file; see `open_plain`.
    """
    with open_plain(path, links=links) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_arrays(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """SHA-256 over arrays as `save_arrays` writes them, uint8 `[32]`: one more array for the file."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        kept = np.ascontiguousarray(array)
        found.update(f"{name} {kept.dtype} {kept.shape} ".encode())
        found.update(kept.tobytes())
    return np.frombuffer(found.digest(), dtype=np.uint8)


def read_json(path: Path, *, links: bool = True) -> Any:
    """Reads a JSON file: no name twice in one object, nothing nested without end.

    Infinities are read as Python writes them (configurations of language models hold some).

    Args:
        path: The file.
        links: Whether it may be a symbolic link.

    Raises:
        DataError: If it is missing, larger than 16 MiB, or no such JSON.
    """
    try:
        with open_plain(path, links=links) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > _MAX_JSON_BYTES:
                raise DataError("larger than 16 MiB", file=path.name)
            content = stream.read(size)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path.name) from error
    return parse_json(content, path.name)


def parse_json(content: bytes, file: str) -> Any:
    """Reads JSON as `read_json` does.

    Args:
        content: The text.
        file: Where it stands, for errors.

    Raises:
        DataError: If it is no such JSON.
    """
    try:
        value = json.loads(content.decode(), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no JSON: {error}", file=file) from error
    if content.count(b"[") + content.count(b"{") > _MOST_LEVELS and nested(value, _MOST_LEVELS):
        raise DataError(f"is nested deeper than {_MOST_LEVELS} levels", file=file)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


def nested(value: Any, levels: int) -> bool:
    """Whether lists and dictionaries stand within each other deeper than so many levels."""
    level = [value] if type(value) in (dict, list) else []
    for _ in range(levels):
        level = [
            item
            for one in level
            for item in (one.values() if type(one) is dict else one)
            if type(item) is dict or type(item) is list
        ]
    return bool(level)


def write_text_atomic(path: Path, text: str) -> None:
    """Writes a file beside its place, then renames it there: whole or not at all."""
    write_atomic(path, text.encode())


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file beside its place, then renames it there: whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    # A directory from elsewhere may hold a link of that name, to make us write at its end.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(beside, flags, 0o666), "wb") as stream:
        try:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()  # it may be what fills the disk
            raise


def save_arrays(
    folder: Path,
    name: str,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
) -> None:
    """Writes `<name>.safetensors` and `<name>.json`; each file whole or not at all."""
    from safetensors.numpy import save

    content = save({key: np.asarray(a, order="C") for key, a in arrays.items()})
    write_atomic(folder / f"{name}.safetensors", content)
    described = {"format": FORMAT, "kind": kind, "settings": dict(settings)}
    write_text_atomic(folder / f"{name}.json", json.dumps(described, indent=1, sort_keys=True))


def load_arrays(
    folder: Path, name: str, kinds: Iterable[str]
) -> tuple[str, dict[str, NDArray[Any]], dict[str, Any]]:
    """Reads what `save_arrays` wrote.

    Args:
        folder: Where the two files are.
        name: Their common stem.
        kinds: The kinds that are accepted.

    Returns:
        Kind, arrays and settings.

    Raises:
        DataError: If a file is missing, damaged, of a newer format or of an unknown kind.
    """
    described = read_json(folder / f"{name}.json")
    if not isinstance(described, dict) or not isinstance(described.get("settings"), dict):
        raise DataError("holds no settings", file=f"{name}.json")
    found, kind = described.get("format"), described.get("kind")
    if type(found) is not int or found != FORMAT:
        raise DataError(
            f"format {reprlib.repr(found)}; this version reads format {FORMAT}",
            file=f"{name}.json",
        )
    if kind not in tuple(kinds):
        raise DataError(
            f"unknown kind {reprlib.repr(kind)}; known: {sorted(kinds)}", file=f"{name}.json"
        )
    return str(kind), read_safetensors(folder / f"{name}.safetensors"), described["settings"]


def read_safetensors(path: Path, *, links: bool = True) -> dict[str, NDArray[Any]]:
    """Reads a safetensors file into NumPy arrays, in memory of the order of the file's size.

    Args:
        path: The file.
        links: Whether it may be a symbolic link.

    Raises:
        DataError: If it is missing, is something else (a pickle, say), or holds numbers that
            NumPy does not know (8-bit and brain floats).
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        with open_plain(path, links=links):  # a pipe would be waited for
            pass
        return dict(load_file(path))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path.name) from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"is no safetensors file ({error}); other formats, pickles above all, are refused",
            file=path.name,
        ) from error


def require_arrays(
    arrays: Mapping[str, NDArray[Any]], forms: Mapping[str, tuple[type[np.generic], int]]
) -> None:
    """Refuses arrays that are not exactly these. Empty ones are refused too.

    Args:
        arrays: As read.
        forms: Name to type and number of axes.

    Raises:
        ValueError: With the name of the first that differs.
    """
    require_names(arrays, forms)
    for name, (dtype, axes) in forms.items():
        array = arrays[name]
        if array.dtype != dtype or array.ndim != axes or not array.size:
            raise ValueError(
                f"{name} is {array.dtype} {list(array.shape)}; wanted are {axes} axes of "
                f"{np.dtype(dtype)}, none of length 0"
            )


def require_names(arrays: Iterable[str], wanted: Iterable[str]) -> None:
    """Refuses arrays of other names.

    Raises:
        ValueError: With the names that are missing or not known.
    """
    found, known = set(arrays), set(wanted)
    if found != known:
        odd = ", ".join(reprlib.repr(name) for name in sorted(found ^ known)[:3])
        raise ValueError(f"arrays are missing or unknown: {odd}")


def require_finite(arrays: Mapping[str, NDArray[Any]], file: str) -> None:
    """Refuses arrays that hold NaN or an infinity.

    Raises:
        DataError: With the name of the first.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise DataError("holds NaN or an infinity", file=file, field=name)


def load_named_class(place: str) -> Any:
    """Imports `package.module:Name`. Only for the closed tables of this package."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
