"""Ctrl-C, and the signals that schedulers and closing terminals send in its place.

The first one ends a run at once, unless a record is just being written: then after it. A second
one ends it in any case.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_depth = 0
_held = False


@contextmanager
def interruptible() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end a run as SIGINT does, by KeyboardInterrupt in this thread."""
    global _held  # noqa: PLW0603 - signals are the whole process's
    if threading.current_thread() is not threading.main_thread():
        yield  # Python interrupts the main thread only
        return

    def interrupt(number: int, frame: Any) -> None:
        global _held  # noqa: PLW0603
        if _depth and not _held:
            _held = True
            return
        raise KeyboardInterrupt

    _held = False
    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                before[number] = signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds one signal back until the end of the block; only within `interruptible`."""
    global _depth, _held  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    if _held and not _depth:
        _held = False
        raise KeyboardInterrupt
