"""Starts processes from a fork server that has imported the heavy packages once, and ends them."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import psutil

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_ALWAYS = ("irlbench.running.child", "irlbench.running.server")
_PATIENCE = 5.0
#: What the standard library takes for an exit code that nobody can tell any more.
_LOST = 255
#: Bytes that are read at a time; that an empty pipe takes at once; that a message may have.
_AT_A_TIME, _HELD_BY_A_PIPE, _LONGEST = 2**20, 2**14, 2**32
_started_with: tuple[int, frozenset[str]] | None = None
_known: set[int] = set()
_changing = threading.RLock()


@dataclass
class Child:
    """A process and this side of its pipe. Whatever it does, nobody waits for it here.

    Attributes:
        process: The process.
        connection: Messages to and from it.
    """

    process: BaseProcess
    connection: Connection
    _begun: bytearray = field(default_factory=bytearray, repr=False)
    _sender: threading.Thread | None = field(default=None, repr=False)

    def received(self) -> list[Any]:
        """The messages that are whole by now; call it when the connection is ready.

        It may have stopped, or been killed, in the middle of one.

        Raises:
            EOFError: If nothing more can come.
            OSError: If the connection is broken.
            Exception: Whatever unpickling raises of what is no message.
        """
        some = os.read(self.connection.fileno(), _AT_A_TIME)
        if not some:
            raise EOFError
        self._begun += some
        found = []
        while (span := _first(self._begun)) is not None:
            start, end = span
            found.append(pickle.loads(memoryview(self._begun)[start:end].toreadonly()))  # noqa: S301
            del self._begun[:end]
        return found

    def send(self, message: Any) -> None:
        """Sends a message to a child that has taken the one before.

        Raises:
            OSError: If the connection is broken.
        """
        content = ForkingPickler.dumps(message)
        if len(content) <= _HELD_BY_A_PIPE:
            self.connection.send_bytes(content)
            return
        self._sender = threading.Thread(target=self._send, args=(content,), daemon=True)
        self._sender.start()

    def _send(self, content: Any) -> None:
        with suppress(OSError):  # who has died is noticed elsewhere
            self.connection.send_bytes(content)

    def close(self) -> None:
        """Lets go of the pipe."""
        if self._sender is not None:
            with suppress(OSError), socket.socket(fileno=os.dup(self.connection.fileno())) as ours:
                ours.shutdown(socket.SHUT_RDWR)  # what is still being sent is not wanted any more
            self._sender.join()
        self.connection.close()

    @property
    def ended(self) -> str:
        """How it ended, for an error message."""
        self.process.join(timeout=_PATIENCE)
        code = self.process.exitcode
        if code is None:
            return "does not answer any more"
        if code == _LOST:
            return f"ended with exit code {code}, or was lost with the fork server that started it"
        if code >= 0:
            return f"ended with exit code {code} before it had finished"
        try:
            name = f"signal {-code} ({signal.Signals(-code).name})"
        except ValueError:
            name = f"signal {-code}"
        if -code == signal.SIGKILL:
            return f"was killed by {name}, as the system does when memory runs out"
        return f"was killed by {name}"


def _first(content: bytearray) -> tuple[int, int] | None:
    """Where the first message begins and ends, as `Connection.send_bytes` writes it; None: later.

    Raises:
        ValueError: If its length makes no sense.
    """
    start = 4
    length = int.from_bytes(content[:4], "big", signed=True)
    if length == -1:  # a long one: its length follows
        start = 12
        length = int.from_bytes(content[4:12], "big")
    if len(content) < start:
        return None
    if not 0 <= length <= _LONGEST:
        raise ValueError(f"a message of {length:,} bytes")
    return (start, start + length) if len(content) >= start + length else None


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
    _started_with = (threads, wanted)
    with _for_the_server():
        forkserver.ensure_running()


def start(target: Callable[..., None], *arguments: Any) -> Child:
    """Starts `target(*arguments, connection)` in a child of the fork server.

    A fork server that was killed is started again.
    """
    context, attempts = multiprocessing.get_context("forkserver"), 3
    while True:
        attempts -= 1
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(*arguments, theirs))
        try:
            with _changing, _for_the_server():
                process.start()
                _known.add(process.pid or 0)
            return Child(process, ours)
        except (EOFError, ConnectionError):  # it was killed while it was asked
            ours.close()
            if not attempts:
                raise
            time.sleep(0.1)  # until the system has buried it
        finally:
            theirs.close()


def start_apart(folder: Path, target: Callable[..., None], *arguments: Any) -> Child:
    """Starts `target(*arguments, connection)` in a Python of its own, not forked from anything.

    Args:
        folder: Where it looks for modules first: another copy of this package, say.
        target: What it runs; imported there.
        arguments: What it is given.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs))
    with _changing, _for_the_server():
        sys.path.insert(0, str(folder))
        try:
            process.start()
        finally:
            sys.path.remove(str(folder))
        _known.add(process.pid or 0)
    theirs.close()
    return Child(process, ours)


def end(children: Iterable[Child]) -> None:
    """Ends processes and all that they started, at once, and frees what they held."""
    with _changing:
        ended = [child for child in children if child.process.pid in _known]
    families = [] if sys.platform == "linux" else [_family(c.process.pid or 0) for c in ended]
    for child in ended:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid or 0, signal.SIGKILL)
        child.process.kill()
    for child in ended:
        child.process.join()
        child.close()
    for process in [p for family in families for p in family]:
        with suppress(psutil.Error):
            process.kill()
    with _changing:
        _known.difference_update(child.process.pid or 0 for child in ended)
    _end_orphans()


def _end_the_rest() -> None:
    """At exit, ends what an impatient Ctrl-C has left: the standard library would wait for it."""
    for process in multiprocessing.active_children():
        if process.pid in _known:
            process.kill()


atexit.register(_end_the_rest)


def memory(families: Sequence[Iterable[Child]], limit: int) -> list[int | None]:
    """What processes and all that they started take, where that is above a limit.

    Args:
        families: Processes that share the limit, for each limit once.
        limit: In bytes.

    Returns:
        For each, bytes of resident memory, what several share counted once; None where within the
        limit.
    """
    started: dict[int, list[int]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            started.setdefault(process.ppid(), []).append(process.pid)
    return [_above(limit, [c.process.pid or 0 for c in family], started) for family in families]


def _above(limit: int, pids: list[int], started: dict[int, list[int]]) -> int | None:
    for pid in pids:  # it grows while it is walked
        pids += started.get(pid, [])
    resident = _total(pids, "rss")
    if resident <= limit:
        return None
    if sys.platform == "linux":
        resident = _total(pids, "pss")  # slow, but what is shared counts once
    return resident if resident > limit else None


def _total(pids: Iterable[int], kind: str) -> int:
    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            found = process.memory_info() if kind == "rss" else process.memory_full_info()
            total += getattr(found, kind)
    return total


def _family(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _end_orphans() -> None:
    """Ends what ended children have left behind; on Linux the fork server has adopted it.

    Children of other users of the same fork server are in its own session, as they were born.
    """
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if sys.platform != "linux" or pid is None:
        return
    deadline = time.monotonic() + _PATIENCE
    with _changing, suppress(psutil.Error, ProcessLookupError):
        server, session = psutil.Process(pid), os.getsid(pid)
        while time.monotonic() < deadline:
            orphans = [
                child
                for child in server.children()
                if child.pid not in _known and _session(child.pid) not in (None, session)
            ]
            if not orphans:
                return
            for process in [p for orphan in orphans for p in _family(orphan.pid)]:
                with suppress(psutil.Error):
                    process.kill()
            time.sleep(0.002)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


@contextmanager
def _for_the_server() -> Iterator[None]:
    """What has to hold wherever a fork server may be started."""
    threads = str(_started_with[0]) if _started_with is not None else "1"
    with _environment(dict.fromkeys(_THREAD_VARIABLES, threads)), _hidden_main():
        yield


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
