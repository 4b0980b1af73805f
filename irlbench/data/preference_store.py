"""Preferences on disk: safetensors arrays, with a summary beside them.

A set is a folder with `preferences.safetensors` (see `preference_arrays`) and `preferences.json`.
True rewards are not in it: what judged the segments is known from the recipe alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from irlbench.data.demonstrations import TokenEpisode
from irlbench.data.folders import (
    ensure_folder,
    folders_with,
    is_count,
    is_hash,
    read_fields,
    recipe_folder,
    write_folder,
)
from irlbench.data.preference_arrays import Arrays, pack, unpack
from irlbench.data.preferences import Preferences
from irlbench.errors import DataError
from irlbench.serialisation import (
    canonical_json,
    read_safetensors,
    sha256_arrays,
    sha256_json,
    write_atomic,
    write_text_atomic,
)

FORMAT = 1
SUMMARY = "preferences.json"
_FILE = "preferences.safetensors"
_MOST_NAMES = 1000


@dataclass(frozen=True)
class PreferenceSummary:
    """What is known of stored preferences without opening them.

    Attributes:
        id: `<world>/<task>/<name>`, as under `data/` of the cache folder.
        content_hash: Of the arrays and the annotators; equal for equal ones, and compared when
            they are read.
        kind: What the items are: "episodes" or "tokens".
        comparisons: How many.
        ties: In how many of them items tie.
        steps: Transitions over all items (of token episodes: the policy's tokens).
        annotators: Who judged.
        recipe: What they were made from, and how: JSON values.
    """

    id: str
    content_hash: str
    kind: Literal["episodes", "tokens"]
    comparisons: int
    ties: int
    steps: int
    annotators: list[str]
    recipe: Mapping[str, Any] = field(default_factory=dict)


def _content_hash(arrays: Arrays, annotators: list[str]) -> str:
    return sha256_json([sha256_arrays(arrays).tobytes().hex(), annotators])


def _ties(preferences: Preferences) -> int:
    return sum(len(set(one.ranks)) < len(one.ranks) for one in preferences)


def write_preferences(
    folder: Path, id: str, preferences: Preferences, recipe: Mapping[str, Any]
) -> PreferenceSummary:
    """Writes preferences: built beside their place and renamed there, whole or not at all.

    Args:
        folder: Their place; parents are made. Ones that are already there stay, if they are the
            same.
        id: `<world>/<task>/<name>`.
        preferences: At least one.
        recipe: What they were made from, and how: JSON values.

    Returns:
        The summary, as `read_preference_summary` would read it.

    Raises:
        DataError: If there are none, or the place is taken by others.
    """
    arrays, annotators = pack(preferences)
    tokens = isinstance(preferences[0].items[0], TokenEpisode)
    summary = PreferenceSummary(
        id=id,
        content_hash=_content_hash(arrays, annotators),
        kind="tokens" if tokens else "episodes",
        comparisons=len(preferences),
        ties=_ties(preferences),
        steps=preferences.steps,
        annotators=annotators,
        recipe=dict(recipe),
    )

    def fill(beside: Path) -> PreferenceSummary:
        from safetensors.numpy import save

        write_atomic(beside / _FILE, save(arrays))
        text = canonical_json({"format": FORMAT, **asdict(summary)})
        write_text_atomic(beside / SUMMARY, text + "\n")
        return summary

    def refusal(found: PreferenceSummary, ours: PreferenceSummary) -> str:
        return (
            f"other preferences are already stored under {id!r} ({found.comparisons} comparisons, "
            f"content {found.content_hash[:12]}; these are {ours.content_hash[:12]}): choose "
            "another name"
        )

    return write_folder(folder, fill, read_preference_summary, refusal)


def read_preference_summary(folder: Path) -> PreferenceSummary:
    """Reads the summary of stored preferences.

    Raises:
        DataError: If there is none, or it is damaged or of another format.
    """
    place = f"{folder.name}/{SUMMARY}"
    try:
        summary = PreferenceSummary(**read_fields(folder, SUMMARY, FORMAT))
    except TypeError as error:
        raise DataError(f"not a whole summary: {error}", file=place) from error
    names = summary.annotators
    fits = {
        "id": isinstance(summary.id, str),
        "content_hash": is_hash(summary.content_hash),
        "kind": summary.kind in ("episodes", "tokens"),
        "comparisons": is_count(summary.comparisons),
        "ties": summary.ties == 0 or is_count(summary.ties),
        "steps": is_count(summary.steps),
        "annotators": isinstance(names, list)
        and 0 < len(names) <= _MOST_NAMES
        and all(isinstance(name, str) for name in names),
        "recipe": isinstance(summary.recipe, dict),
    }
    for name, right in fits.items():
        if not right:
            raise DataError(f"is {getattr(summary, name)!r:.80}", file=place, field=name)
    return summary


def read_preferences(folder: Path) -> Preferences:
    """Reads stored preferences.

    Raises:
        DataError: If they are missing, damaged, or other than when they were written.
    """
    summary = read_preference_summary(folder)
    shown = f"{folder.name}/{_FILE}"
    try:
        arrays = read_safetensors(folder / _FILE, links=False)
    except DataError as error:
        raise DataError(f"{error}; delete its folder", file=folder.name) from error
    if _content_hash(arrays, summary.annotators) != summary.content_hash:
        raise DataError(
            "is damaged: it is not what was written; delete its folder, and build it again",
            file=shown,
        )
    found = unpack(arrays, summary.annotators, file=shown)
    counts = {"comparisons": len(found), "steps": found.steps, "ties": _ties(found)}
    for name, counted in counts.items():
        if counted != getattr(summary, name):
            raise DataError(
                f"says {getattr(summary, name)}, but there are {counted}; delete its folder",
                file=f"{folder.name}/{SUMMARY}",
                field=name,
            )
    provenance = {
        "id": summary.id,
        "content_hash": summary.content_hash,
        "recipe": dict(summary.recipe),
    }
    return Preferences(found.comparisons, provenance)


def preference_folder(home: Path, id: str, recipe: Mapping[str, Any]) -> Path:
    """Where preferences built by a recipe belong: another recipe or format, another folder."""
    return recipe_folder(home, id, recipe, FORMAT)


def ensure_preferences(
    home: Path, id: str, recipe: Mapping[str, Any], build: Callable[[], Preferences]
) -> PreferenceSummary:
    """Builds preferences unless they are there, under a lock: one process builds, others wait.

    Args:
        home: The cache folder.
        id: `<world>/<task>/<name>`.
        recipe: What determines them; JSON values.
        build: Makes them.

    Returns:
        Their summary.
    """
    folder = preference_folder(home, id, recipe)
    return ensure_folder(
        home,
        id,
        folder,
        read_preference_summary,
        lambda: write_preferences(folder, id, build(), recipe),
    )


def preferences_in(root: Path) -> list[tuple[Path, PreferenceSummary]]:
    """All preferences below a folder, sorted by path; those with a damaged summary are left out."""
    found = []
    for folder in folders_with(root, SUMMARY):
        with suppress(DataError):
            found.append((folder, read_preference_summary(folder)))
    return found
