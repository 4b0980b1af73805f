"""What the command line prints, and how loudly."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from irlbench.reporting.escape import visible


@dataclass
class Verbosity:
    """How much is said; set by `-v` and `-q` on any command.

    Attributes:
        verbose: Tracebacks of errors, and more lines of progress.
        quiet: No progress and no hints: results and errors only.
        complained: Whether an error or a warning was printed.
    """

    verbose: bool = False
    quiet: bool = False
    complained: bool = False


VERBOSITY = Verbosity()


def say(text: str = "") -> None:
    """Prints a line of the answer on standard output."""
    sys.stdout.write(f"{text}\n")


def hint(text: str) -> None:
    """Prints what one may do next, unless `-q`."""
    if not VERBOSITY.quiet:
        say(text)


def complain(text: str) -> None:
    """Prints an error or a warning on standard error, under the program's name."""
    VERBOSITY.complained = True
    sys.stdout.flush()
    sys.stderr.write(f"irlbench: {_harmless(text)}\n")
    sys.stderr.flush()


def heading(text: str) -> None:
    """Prints a heading, bold on a terminal."""
    text = _harmless(text)
    say(f"\x1b[1m{text}\x1b[0m" if _coloured() else text)


def table(
    rows: Iterable[Sequence[str]], header: Sequence[str] = (), *, right: Sequence[int] = ()
) -> None:
    """Prints aligned columns. On a terminal the last one wraps; nothing is ever cut off.

    Args:
        rows: Cells, one sequence per row.
        header: Names of the columns, or nothing.
        right: Indices of columns aligned to the right.
    """
    body = [list(row) for row in rows]
    if not body:
        return
    every = [
        [" ".join(_harmless(str(cell)).split("\n")) for cell in row]
        for row in ([header, *body] if header else body)
    ]
    widths = [max(len(row[i]) for row in every) for i in range(len(every[0]))]
    indent = sum(widths[:-1]) + 2 * (len(widths) - 1) + 2
    room = 0
    if sys.stdout.isatty():
        room = max(shutil.get_terminal_size().columns - indent, 24)
    for index, row in enumerate(every):
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        last = textwrap.wrap(row[-1], room) if room and len(row[-1]) > room else [cells[-1]]
        lines = [
            "  ".join([*cells[:-1], last[0]]),
            *(" " * (indent - 2) + part for part in last[1:]),
        ]
        style = ("\x1b[2m", "\x1b[0m") if header and index == 0 and _coloured() else ("", "")
        for line in lines:
            say(f"  {style[0]}{line.rstrip()}{style[1]}")


def shown_path(path: Path) -> str:
    """A path as a person would type it: relative where it lies below the working directory."""
    resolved = path.resolve()
    here = Path.cwd()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else str(path)


def first_line(text: str) -> str:
    """The first line of a message, without the space around it."""
    return _harmless(text.strip().partition("\n")[0].strip())


def _harmless(text: str) -> str:
    """Text from a record or an error, without what would steer the terminal."""
    return visible(text).replace("\r", "\N{REPLACEMENT CHARACTER}")


def count(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _coloured() -> bool:
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") != "dumb"
    )
