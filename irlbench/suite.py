"""Suites: named lists of tasks, algorithms and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One task of a suite.

    Attributes:
        task: Task id.
        algorithms: Algorithm ids.
        tracks: Each algorithm runs in those of these that it can; empty: in its default.
        demonstrations: Numbers of demonstrations, a trial for each; empty: the task's.
        settings: `algorithm.field` to value, where the suite departs from defaults.
        budget: Budget field to value, where it departs from the task's.
    """

    task: str
    algorithms: tuple[str, ...]
    tracks: tuple[str, ...] = ()
    demonstrations: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A named list of tasks, algorithms and seeds.

    Attributes:
        name: Its id on the command line.
        summary: One line.
        entries: The tasks with their algorithms.
        seeds: The seeds of every cell.
    """

    name: str
    summary: str
    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
