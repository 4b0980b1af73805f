"""Starts processes from a fork server that has imported the heavy packages once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_ALWAYS = ("irlbench.running.child",)
_started_with: tuple[int, frozenset[str]] | None = None


@dataclass
class Child:
    """A process and this side of its pipe.

    Attributes:
        process: The process.
        connection: Messages to and from it.
    """

    process: ForkServerProcess
    connection: Connection

    def end(self) -> None:
        """Lets a process that has said its last word leave, and ends it if it does not."""
        self.process.join(timeout=5)
        self.kill()

    def kill(self) -> None:
        """Ends the process and what it started at once, and frees what they held."""
        if self.process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()

    @property
    def ended(self) -> str:
        """How it ended, for an error message."""
        self.process.join(timeout=5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"was killed by signal {-code}"
        return f"ended with exit code {code}"


def start_server(threads: int, preload: Iterable[str]) -> None:
    """Starts the fork server, or keeps the one there is if it fits.

    Args:
        threads: Threads of numerical libraries; they read it when they are imported.
        preload: Modules that it imports once, so that no child has to.
    """
    global _started_with  # noqa: PLW0603 - there is one fork server per process
    wanted = frozenset(preload)
    if _started_with is not None and _started_with[0] == threads and wanted <= _started_with[1]:
        return
    if _started_with is not None:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_ALWAYS, *sorted(wanted)])
    with _environment({name: str(threads) for name in _THREAD_VARIABLES}), _hidden_main():
        forkserver.ensure_running()
    _started_with = (threads, wanted)


def start(target: Callable[..., None], *arguments: Any) -> Child:
    """Starts `target(*arguments, connection)` in a child of the fork server."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs))
    with _hidden_main():
        process.start()
    theirs.close()
    return Child(process, ours)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keeps children from importing the caller's main module.

    They need nothing of it, and a script without a `__main__` guard would start itself again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
