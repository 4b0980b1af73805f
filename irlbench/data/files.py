"""Files from strangers: what may be opened at all."""

from __future__ import annotations

import stat
from pathlib import Path

from irlbench.errors import DataError


def require_file(path: Path, *, name: str | None = None, most: int | None = None) -> None:
    """Refuses what is no ordinary file, before it is opened.

    Opening a pipe waits for somebody to write, and reading a device may never end. Links are
    followed.

    Args:
        path: Its place.
        name: What messages call it; the file's name unless given.
        most: Most bytes that it may have, or None.

    Raises:
        DataError: If it is missing, a folder, a pipe, a socket or a device, or too large.
    """
    name = path.name if name is None else name
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot be read: {reason}", file=name) from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"is {_kind(found.st_mode)}; a file is needed", file=name)
    if most is not None and found.st_size > most:
        raise DataError(
            f"has {readable_size(found.st_size)}; at most {readable_size(most)} are read", file=name
        )


def is_odd(path: Path) -> bool:
    """Whether there is something that is neither a file nor a folder, once links are followed."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def readable_size(size: int) -> str:
    """Bytes in the largest unit that fits: "2 GiB", "80 bytes"."""
    if size >= 2**70:  # a claim may be too large for a floating-point number
        return "more than 2^70 bytes"
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


def _kind(mode: int) -> str:
    for test, kind in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return kind
    return "a device"
