"""Errors that are the user's to mend. The command line prints them without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IrlbenchError(Exception):
    """Base of every error that irlbench raises on purpose."""


class UsageError(IrlbenchError):
    """Unusable arguments: the command line ends with exit code 2."""


class StorageError(IrlbenchError):
    """A disk that is full or cannot be written; what is finished is kept.

    Args:
        message: What could not be written where, and why.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            f"{message}; every finished trial is kept: make room, or make it writable, and the same "
            "command goes on"
        )


class UnknownNameError(UsageError):
    """A name that nothing is registered under.

    Args:
        kind: What was looked up, in the singular ("task", "algorithm").
        name: What was asked for.
        known: The names there are.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"unknown {kind} {name!r}{did_you_mean(name, self.known)}")


class UnsupportedPairError(UsageError):
    """An algorithm that cannot run on a task, with the reason."""


class DataError(UsageError):
    """A data file that cannot be used.

    Args:
        message: What was wrong, with which value, and what to do.
        file: Name of the file.
        field: Field or column within it.
        row: Row, line or time step within the field.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        field: str | None = None,
        row: int | None = None,
    ) -> None:
        self.file, self.field, self.row = file, field, row
        place = [str(file)] if file is not None else []
        if field is not None:
            place.append(f"field {field!r}")
        if row is not None:
            place.append(f"row {row}")
        super().__init__(": ".join([", ".join(place), message]) if place else message)


class ResourceError(IrlbenchError):
    """A resource that was not declared as a need, or that the problem does not supply."""


class BudgetExceeded(IrlbenchError):
    """More steps, gradient steps or seconds than the budget grants."""


class DivergenceError(IrlbenchError):
    """Learning left the finite numbers, or is about to."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ends a message about an unknown name: the nearest known ones, or all of them if few.

    Args:
        name: What was asked for.
        known: The names there are.

    Returns:
        Text that begins with ": " or "; ", or an empty string where nothing is known.
    """
    names = sorted(known)
    tails = {candidate.rsplit("/", 1)[-1]: candidate for candidate in names}
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    for tail in difflib.get_close_matches(name.rsplit("/", 1)[-1], tails, n=3, cutoff=0.6):
        if tails[tail] not in close:
            close.append(tails[tail])
    if close:
        return f"; did you mean {' or '.join(repr(c) for c in close[:3])}?"
    if names:
        return f"; known: {', '.join(names[:20])}"
    return ""
