"""What the registry knows about a task: how records say what is usual. Optional, never required."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class TaskFacts:
    """A task as it stands in this installation.

    Attributes:
        hash: Its hash.
        summary: One line.
        demonstrations: How many an algorithm gets unless asked otherwise; None: all.
        budget: "steps", "gradient_steps", "seconds" unless asked otherwise.
        preferences: Likewise of preferences; None: none.
        note: What a reader should know about it (a weak expert, say), or None.
        frozen: Every SHA-256 that its recipe names (expert, model, data).
    """

    hash: str
    summary: str
    demonstrations: int | None
    budget: Mapping[str, float | None]
    preferences: int | None = None
    note: str | None = None
    frozen: frozenset[str] = field(default_factory=frozenset)


FactsOf = Callable[[str], TaskFacts | None]
"""Task id to what is known about it, or None."""


def installed_facts(task_id: str) -> TaskFacts | None:
    """What this installation knows about a task; None where it is not registered."""
    from irlbench.registry import registry

    try:
        task = registry().task(task_id)
        info = task.info
        return TaskFacts(
            hash=task.hash,
            summary=info.summary,
            demonstrations=info.demonstrations,
            budget=asdict(info.budget),
            preferences=info.preferences,
            note=info.note,
            frozen=frozenset(_SHA256.findall(_flat(info.recipe))),
        )
    except Exception:  # a report of old or foreign records must not depend on somebody's plug-in
        return None


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_flat(item) for item in value.values())
    if isinstance(value, list | tuple):
        return " ".join(_flat(item) for item in value)
    return str(value)
