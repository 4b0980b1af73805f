"""Who works on a trial: a lock on its working folder, which the kernel frees.

The lock is on the folder itself. It is held by the run that took the trial and by the trial's own
processes, so that a run that takes over from a killed one never meets its processes at work.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any


class Claim:
    """The right to work in a folder and to publish it; handed on to processes when pickled.

    Args:
        descriptor: Of the folder, locked.
        folder: The folder.
    """

    def __init__(self, descriptor: int, folder: Path) -> None:
        self._descriptor, self.folder = descriptor, folder

    def __reduce__(self) -> tuple[Any, ...]:
        return _handed_on, (DupFd(self._descriptor), self.folder)

    def mend(self) -> bool:
        """Makes the folder again where the trial has taken it away, or put something in its place.

        Returns:
            Whether it is there, and ours; not where another run has found it free meanwhile.
        """
        if _is(self._descriptor, self.folder):
            return True
        if self.folder.is_symlink() or self.folder.is_file():
            self.folder.unlink()
        again = claim(self.folder)
        if again is None:
            return False
        os.close(self._descriptor)
        self._descriptor = again._descriptor
        return True

    def clear(self, keep: Callable[[Path], bool]) -> None:
        """Empties the folder; of what stays, links, pipes and the like go too.

        Args:
            keep: Whether a path stays.
        """
        for path in self.folder.iterdir():
            plain = not path.is_symlink() and (path.is_file() or path.is_dir())
            if plain and keep(path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def release(self) -> None:
        """Lets another run have it. More than once is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Removes the folder, and lets go of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()


def _handed_on(descriptor: Any, folder: Path) -> Claim:
    number: int = descriptor.detach()
    os.set_inheritable(number, False)
    return Claim(number, folder)


def claim(folder: Path) -> Claim | None:
    """Takes a working folder, and makes it where it is missing.

    Args:
        folder: The folder; its parent exists.

    Returns:
        The claim, or None where another run has it.
    """
    while True:
        with suppress(FileExistsError):  # `exist_ok` would trip over one that vanishes meanwhile
            folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # just now published or discarded
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(descriptor, folder):
                return Claim(descriptor, folder)
        except BlockingIOError:
            if _is(descriptor, folder):
                os.close(descriptor)
                return None
        os.close(descriptor)  # of a folder that has been published or discarded meanwhile


def claimed(folder: Path) -> bool:
    """Whether somebody works in a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def _is(descriptor: int, folder: Path) -> bool:
    try:
        there = folder.lstat()
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (
        os.fstat(descriptor).st_dev,
        os.fstat(descriptor).st_ino,
    )
