"""Data sets as folders: built beside their place, whole or not at all, with a summary inside.

What kind of data it is, and how its files are read, is the business of who uses this.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from irlbench.errors import DataError
from irlbench.home import below, locked
from irlbench.serialisation import read_json, sha256_json

_HASH = re.compile(r"[0-9a-f]{64}")


class HasContent(Protocol):
    """What is asked of the summary of a data set."""

    @property
    def content_hash(self) -> str:
        """Equal for equal data, wherever it was built."""


Summary = TypeVar("Summary", bound=HasContent)


def recipe_folder(home: Path, id: str, recipe: Mapping[str, Any], format: int) -> Path:
    """Where data built by a recipe belongs: another recipe or format, another folder.

    Args:
        home: The cache folder.
        id: Of the data set; its parts are folders.
        recipe: What determines the data; JSON values.
        format: Of the files.
    """
    return below(home / "data", id) / f"built-{sha256_json({'format': format, **recipe})[:12]}"


def ensure_folder(
    home: Path,
    id: str,
    folder: Path,
    read: Callable[[Path], Summary],
    write: Callable[[], object],
) -> Summary:
    """Has a data set built unless it is there, under a lock: one process builds, others wait.

    One whose summary is damaged is built again: nothing but its recipe is needed.

    Args:
        home: The cache folder.
        id: Of the data set.
        folder: Its place.
        read: Reads a summary, or raises `DataError`.
        write: Builds the data and writes it there.

    Returns:
        Its summary.
    """
    with suppress(DataError):
        return read(folder)
    with locked(home, f"data/{id}"):
        with suppress(DataError):
            return read(folder)  # another process has built it meanwhile
        shutil.rmtree(folder, ignore_errors=True)
        write()
        return read(folder)


def write_folder(
    folder: Path,
    fill: Callable[[Path], Summary],
    read: Callable[[Path], Summary],
    refusal: Callable[[Summary, Summary], str],
) -> Summary:
    """Fills a folder beside its place and renames it there. The first publication wins.

    Args:
        folder: Its place; parents are made.
        fill: Writes everything into the folder that it is given.
        read: Reads a summary.
        refusal: What to say where other data is there already: of its summary, and of this one.

    Returns:
        The summary of what is there now.

    Raises:
        DataError: If the place is taken by other data.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        beside.chmod(0o755)
        summary = fill(beside)
        try:
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            found = read(folder)
            if found.content_hash != summary.content_hash:
                raise DataError(refusal(found, summary)) from None
            return found
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return summary


def read_fields(folder: Path, name: str, format: int) -> dict[str, Any]:
    """The fields of a summary, its format taken off.

    Args:
        folder: Of the data set.
        name: Of the summary within it.
        format: The one that is read.

    Raises:
        DataError: If there is none, or it is damaged or of another format.
    """
    try:
        found = read_json(folder / name, links=False)
    except DataError as error:
        raise DataError(str(error), file=folder.name) from error
    if not isinstance(found, dict) or found.get("format") != format:
        version = found.get("format") if isinstance(found, dict) else None
        raise DataError(
            f"format {version!r:.80}; this version reads format {format}: delete its folder, and "
            "build or import it again",
            file=f"{folder.name}/{name}",
        )
    return {key: value for key, value in found.items() if key != "format"}


def folders_with(root: Path, name: str) -> Iterator[Path]:
    """Every folder below another that holds a file of this name, sorted; none within each other."""
    for directory, folders, files in os.walk(root):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        if name in files:
            folders.clear()
            yield Path(directory)


def is_hash(value: Any) -> bool:
    """Whether a value read from JSON is a SHA-256 in hexadecimal."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def is_count(value: Any) -> bool:
    """Whether a value read from JSON is a whole number from 1 on, of a sensible size."""
    return type(value) is int and 1 <= value < 2**53


def is_number(value: Any) -> bool:
    """Whether a value read from JSON is a finite number."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
