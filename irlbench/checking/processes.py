"""Runs what is checked in processes of their own, several at a time, none for ever."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from irlbench.running import processes
from irlbench.running.interrupts import uninterrupted
from irlbench.running.processes import Child


@dataclass(frozen=True)
class Trouble:
    """Why a process has given no answer.

    Attributes:
        kind: "failed" (it raised), "ended" (it died) or "timeout".
        message: In words.
    """

    kind: str
    message: str


@dataclass(frozen=True)
class Work:
    """What one process does.

    Attributes:
        target: Sends ("done", answer) or ("failed", error) over the connection it is given.
        argument: Comes before the connection.
        apart: Where a Python of its own looks for modules first; None: a fork does the work.
    """

    target: Callable[..., None]
    argument: Any
    apart: Path | None = None


def run_all(
    work: Mapping[str, Work],
    *,
    at_once: int,
    seconds: float,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Does all of it.

    Args:
        work: Name to what is to be done.
        at_once: Processes at a time.
        seconds: After which each is ended.
        advance: Called whenever one is done.

    Returns:
        Name to the answer, or to a `Trouble`.
    """
    waiting = list(work)[::-1]
    under_way: dict[str, tuple[Child, float]] = {}
    answers: dict[str, Any] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                name = waiting.pop()
                under_way[name] = (_start(work[name]), time.monotonic() + seconds)
            children = [child for child, _ in under_way.values()]
            ready = [child.connection for child in children] + [
                child.process.sentinel for child in children
            ]
            wait(ready, timeout=0.5)
            for name, (child, deadline) in list(under_way.items()):
                answer = _answer(child)
                if answer is None and time.monotonic() > deadline:
                    answer = Trouble("timeout", f"was not done after {seconds:g} s")
                if answer is not None:
                    answers[name] = answer
                    del under_way[name]
                    processes.end([child])
                    advance()
    finally:
        with uninterrupted():
            processes.end(child for child, _ in under_way.values())
    return answers


def _start(work: Work) -> Child:
    if work.apart is None:
        return processes.start(work.target, work.argument)
    return processes.start_apart(work.apart, work.target, work.argument)


def _answer(child: Child) -> Any:
    """What a child has said, or how it ended; None: nothing yet."""
    try:
        said = child.received() if child.connection.poll() else []
        if not said:
            if child.process.exitcode is None or child.connection.poll():
                return None
            raise EOFError
    except (EOFError, ConnectionError):
        return Trouble("ended", f"the process {child.ended}")
    kind, answer = said[0]
    if kind == "failed":
        told = answer["message"].strip().partition("\n")[0]
        what = f"{answer['type']}: {told}" if told else answer["type"]
        return Trouble("failed", f"{what}{_where(answer['traceback'])}")
    return answer


def _where(traceback: str) -> str:
    """The line that raised, as an error in a record names it."""
    found = re.findall(r'File "([^"]*)", line (\d+), in (.*)', traceback)
    if not found:
        return ""
    file, line, function = found[-1]
    return f" ({Path(file).name}, line {line}, in {function})"
