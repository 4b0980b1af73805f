"""Makes data sets that a user asks for, beside those of a task's recipe, and keeps them by a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irlbench.data.minari_store import SUMMARY, DatasetSummary, read_summary, write_dataset
from irlbench.data.named import place_of, require_free, require_name
from irlbench.data.preference_store import SUMMARY as PREFERENCE_SUMMARY
from irlbench.data.preference_store import (
    PreferenceSummary,
    read_preference_summary,
    write_preferences,
)
from irlbench.errors import UsageError

if TYPE_CHECKING:
    from irlbench.data.minari_store import Recording
    from irlbench.data.preferences import Preferences

#: Most episodes or pairs of one set, and most seeds: each has as many numbers of its own.
MOST = 10**5


@dataclass(frozen=True)
class BuildRequest:
    """A data set that a user asks a task for: demonstrations, or preferences.

    Attributes:
        name: What it will be called.
        seed: Draws its episodes; none are those of the task's own data, nor of another seed.
        demonstrations: How many episodes, or None for preferences.
        subsample: Learners are given every k-th step alone; 1 gives all of them.
        mixed: Whether the episodes are of mixed quality.
        preferences: How many pairs, or None for demonstrations.
        segment: Most steps of what is compared; None: as in the task's own preferences.

    Raises:
        UsageError: If a number is out of range, or the choices do not fit together.
    """

    name: str
    seed: int = 0
    demonstrations: int | None = None
    subsample: int = 1
    mixed: bool = False
    preferences: int | None = None
    segment: int | None = None

    def __post_init__(self) -> None:
        require_name(self.name)
        if (self.demonstrations is None) == (self.preferences is None):
            raise UsageError("ask for --demonstrations N or --preferences N: a set holds one kind")
        limits = {"demonstrations": MOST, "preferences": MOST, "seed": MOST - 1}
        for option in ("demonstrations", "preferences", "subsample", "segment", "seed"):
            value, least = getattr(self, option), 0 if option == "seed" else 1
            most = limits.get(option, 2**31)
            if value is not None and not least <= value <= most:
                raise UsageError(f"--{option} must be {least} to {most}, got {value}")
        if self.preferences is not None and (self.mixed or self.subsample > 1):
            raise UsageError("--mixed and --subsample are of demonstrations, not of preferences")
        if self.demonstrations is not None and self.segment is not None:
            raise UsageError("--segment is of preferences, not of demonstrations")


def build_demonstrations(
    task_id: str,
    request: BuildRequest,
    recipe: Mapping[str, Any],
    record: Callable[[], Recording],
    home: Path,
) -> DatasetSummary:
    """Records demonstrations and stores them, unless they are there.

    Args:
        task_id: `<world>/<name>-v<N>`.
        request: What the user asked for.
        recipe: What they are made from, and how: JSON values.
        record: Makes them.
        home: The cache folder.

    Raises:
        UsageError: If preferences have that name.
        DataError: If other demonstrations have it.
    """
    require_free(task_id, request.name, home, preferences=False)
    folder, whole = place_of(task_id, request.name, home), dict(recipe)
    if request.subsample > 1:
        whole["subsample"] = request.subsample
    if (folder / SUMMARY).exists():
        found = read_summary(folder)
        if found.recipe == whole:
            return found
    return write_dataset(folder, f"{task_id}/{request.name}", record(), whole)


def build_preferences(
    task_id: str,
    request: BuildRequest,
    recipe: Mapping[str, Any],
    record: Callable[[], Preferences],
    home: Path,
) -> PreferenceSummary:
    """Has segments judged and stores the preferences, unless they are there.

    Args:
        task_id: `<world>/<name>-v<N>`.
        request: What the user asked for.
        recipe: What they are made from, and how: JSON values.
        record: Makes them.
        home: The cache folder.

    Raises:
        UsageError: If demonstrations have that name.
        DataError: If other preferences have it.
    """
    require_free(task_id, request.name, home, preferences=True)
    folder = place_of(task_id, request.name, home)
    if (folder / PREFERENCE_SUMMARY).exists():
        found = read_preference_summary(folder)
        if found.recipe == recipe:
            return found
    return write_preferences(folder, f"{task_id}/{request.name}", record(), recipe)
