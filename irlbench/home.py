"""The cache folder: built data, imported demonstrations, measured references."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from irlbench.errors import UsageError

_PART = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")


def home() -> Path:
    """`IRLBENCH_HOME`, or the platform's user cache folder for irlbench. Made if missing.

    Raises:
        UsageError: If it cannot be made or written.
    """
    given = os.environ.get("IRLBENCH_HOME")
    if given:
        folder = Path(given).expanduser()
    else:
        from platformdirs import user_cache_path

        folder = user_cache_path("irlbench")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the cache folder {folder} cannot be made ({error.strerror}); "
            "set IRLBENCH_HOME to a folder that can be written"
        ) from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the cache folder {folder} is not writable; set IRLBENCH_HOME to another")
    return folder.resolve()


def below(folder: Path, id: str) -> Path:
    """The folder of an id below another folder: its parts are folders within each other.

    Args:
        folder: Where ids have their folders.
        id: Parts of letters, digits, '.', '_' and '-', with slashes between them.

    Raises:
        UsageError: If a part could lead anywhere else.
    """
    parts = id.split("/")
    if not all(map(_PART.fullmatch, parts)):
        raise UsageError(
            f"{id!r} can have no folder: its parts must be of letters, digits, '.', '_' and '-', "
            "and begin with a letter or digit"
        )
    return folder.joinpath(*parts)


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Holds a lock of the cache folder, freed by the kernel if the holder dies.

    Args:
        folder: The cache folder.
        name: What is being built; slashes are allowed.
    """
    from filelock import FileLock

    name = "--".join(below(Path(), name).parts)
    (folder / "locks").mkdir(exist_ok=True)
    with FileLock(folder / "locks" / f"{name}.lock"):
        yield
