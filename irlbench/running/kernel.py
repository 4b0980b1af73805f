"""What is asked of the Linux kernel beyond Python's own calls. Elsewhere these do nothing."""

from __future__ import annotations

import ctypes
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent() -> None:
    """Has this process killed as soon as the one that started it is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent dies, in place of init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_first_out_of_memory() -> None:
    """Has the kernel end this process, rather than another, when the machine's memory is used up.

    Children inherit it.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
