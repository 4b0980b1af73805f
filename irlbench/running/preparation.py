"""What tasks need before trials can be planned, found in processes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import wait
from typing import Any

from irlbench.errors import IrlbenchError, StorageError, UsageError
from irlbench.home import home
from irlbench.registry import registry
from irlbench.running import processes
from irlbench.running.child import prepare_main
from irlbench.running.interrupts import uninterrupted
from irlbench.task import Prepared, Task, TaskOptions


def prepare(tasks: Mapping[str, Task], options: TaskOptions, jobs: int) -> dict[str, Prepared]:
    """Prepares tasks in processes of their own, several at a time.

    Args:
        tasks: Task id to the task.
        options: The user's choices.
        jobs: Tasks at a time.

    Returns:
        Task id to what was found.

    Raises:
        UsageError: If a task cannot be used so.
        IrlbenchError: If preparing it failed.
    """
    cache = str(home())
    plugins = registry().plugins
    found: dict[str, Prepared] = {}
    queue = list(tasks)[::-1]
    children: dict[Any, tuple[str, processes.Child]] = {}
    try:
        while queue or children:
            while queue and len(children) < jobs:
                name = queue.pop()
                child = processes.start(prepare_main, name, options, plugins, cache)
                children[child.connection] = (name, child)
            # A dead process whose own children still hold its pipe would never be heard of otherwise.
            sentinels: dict[Any, Any] = {c.process.sentinel: at for at, (_, c) in children.items()}
            for place in {sentinels.get(r, r) for r in wait([*children, *sentinels])}:
                name, child = children[place]
                prepared = _prepared(name, child)
                if prepared is not None:
                    found[name] = prepared
                    del children[place]
                    processes.end([child])
    finally:
        with uninterrupted():
            processes.end(child for _, child in children.values())
    return found


def _prepared(name: str, child: processes.Child) -> Prepared | None:
    """What was found, once that is said; None: not yet."""
    try:
        said = child.received() if child.connection.poll() else []
        if not said and child.process.exitcode is not None and not child.connection.poll():
            raise EOFError
    except (EOFError, ConnectionError):
        raise IrlbenchError(f"preparing {name}: the process {child.ended}") from None
    if not said:
        return None
    kind, value = said[0]
    if kind == "usage":
        raise UsageError(value)
    if kind == "storage":
        raise StorageError(
            f"preparing {name} could not write to the cache folder {home()}: {value}"
        )
    if kind == "failed":
        raise IrlbenchError(f"preparing {name} failed\n{value['traceback']}")
    prepared: Prepared = value
    return prepared
