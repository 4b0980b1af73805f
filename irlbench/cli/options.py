"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from irlbench.cli.output import VERBOSITY


def _be_verbose(value: bool) -> None:
    if value:
        VERBOSITY.verbose = True


def _be_quiet(value: bool) -> None:
    if value:
        VERBOSITY.quiet = True


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        callback=_be_verbose,
        help="Show the traceback of an error, and more lines of progress.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_be_quiet, help="No progress and no hints."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="A Python file that defines algorithms, solvers or tasks; may be repeated.",
        show_default=False,
    ),
]


def complete_targets(incomplete: str) -> list[str]:
    """Names of suites and tasks, for shell completion."""
    return _complete("suites", incomplete) + _complete("tasks", incomplete)


def complete_tasks(incomplete: str) -> list[str]:
    """Names of tasks, for shell completion."""
    return _complete("tasks", incomplete)


def complete_algorithms(incomplete: str) -> list[str]:
    """Names of algorithms after the last comma, for shell completion."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _complete("algorithms", last)]


def _complete(group: str, incomplete: str) -> list[str]:
    from importlib.metadata import entry_points

    return starting((point.name for point in entry_points(group=f"irlbench.{group}")), incomplete)


def starting(words: Iterable[str], incomplete: str) -> list[str]:
    """The words that begin so, sorted."""
    return sorted(word for word in words if word.startswith(incomplete))
