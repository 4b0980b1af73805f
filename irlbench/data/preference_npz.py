"""Preferences between recorded segments, from archives such as those of human annotators.

An archive holds `obs_1` and `obs_2` `[pairs, length, ...]`, `action_1` and `action_2` likewise, and
`label` `[pairs]`: 0 where the first is preferred, 1 where the second is, 0.5 where they tie. (As in
Hejna and Sadigh, 2023, "Inverse preference learning".)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode
from irlbench.data.npz import NpzFile
from irlbench.data.preferences import Preference, Preferences
from irlbench.data.validation import EpisodeChecker
from irlbench.errors import DataError

FIELDS = ("obs_1", "obs_2", "action_1", "action_2", "label")
#: Label to the ranks of both.
_RANKS = {0.0: (0, 1), 1.0: (1, 0), 0.5: (0, 0)}


def holds_preferences(archive: NpzFile) -> bool:
    """Whether an archive looks like one of preferences."""
    return "label" in archive.fields or any(f"obs_{i}" in archive.fields for i in (1, 2))


def read_preferences(archive: NpzFile, checker: EpisodeChecker, annotator: str) -> Preferences:
    """The pairs of an archive. The last action of a segment is left out.

    What it led to was not recorded, so a segment of L observations has L - 1 steps.

    Args:
        archive: The archive.
        checker: Of the task.
        annotator: Who judged.

    Raises:
        DataError: If a field is missing, does not fit the others or the task, or a label is none.
    """
    arrays = {field: archive.read(field) for field in FIELDS}
    file, first = checker.file, arrays["obs_1"]
    if first.ndim < 2 or first.shape[1] < 2 or not len(first):
        raise DataError(
            f"has shape {first.shape}, expected [pairs, length, ...] with a length of 2 at least",
            file=file,
            field="obs_1",
        )
    for field in FIELDS[1:]:
        axes = 1 if field == "label" else 2
        found, wanted = arrays[field].shape, first.shape[:axes]
        if found[:axes] != wanted or (axes == 1 and len(found) > 1):
            raise DataError(
                f"has shape {found}, but obs_1 has {first.shape}", file=file, field=field
            )
    labels = arrays["label"].tolist()
    comparisons = []
    for row, label in enumerate(labels):
        if label not in _RANKS:
            raise DataError(
                f"is {label}, not 0 (the first is preferred), 1 (the second) or 0.5 (a tie)",
                file=file,
                field="label",
                row=row,
            )
        items = tuple(_segment(arrays, which, row, checker) for which in (1, 2))
        comparisons.append(Preference(items, _RANKS[label], annotator))
    return Preferences(tuple(comparisons))


def _segment(
    arrays: dict[str, NDArray[Any]], which: int, row: int, checker: EpisodeChecker
) -> Episode:
    observed, acted = f"obs_{which}[{row}]", f"action_{which}[{row}]"
    actions = arrays[f"action_{which}"][row][:-1]
    steps = checker.steps(actions, acted)
    nowhere = np.zeros(steps, dtype=bool)
    return Episode(
        checker.observations(arrays[f"obs_{which}"][row], observed, steps),
        checker.actions(actions, acted, steps),
        nowhere,
        nowhere,
    )
