"""Preferences: ranked items, each an episode or a segment of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from irlbench.data.demonstrations import Episode, TokenEpisode
from irlbench.errors import DataError


@dataclass(frozen=True, eq=False)
class Preference:
    """One comparison of K items; K = 2 is the common case.

    Attributes:
        items: The compared segments, `[K]`.
        ranks: `[K]`, 0 is best; equal ranks are ties.
        annotator: Who judged ("human", "simulated", a name).
        weight: How much the comparison counts.
    """

    items: tuple[Episode | TokenEpisode, ...]
    ranks: tuple[int, ...]
    annotator: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if len(self.items) < 2:
            raise DataError(f"a preference compares at least two items, got {len(self.items)}")
        if len(self.items) != len(self.ranks):
            raise DataError(f"{len(self.items)} items, but {len(self.ranks)} ranks", field="ranks")


@dataclass(frozen=True, eq=False)
class Preferences:
    """A frozen list of comparisons.

    Attributes:
        comparisons: The comparisons.
    """

    comparisons: tuple[Preference, ...]

    def __len__(self) -> int:
        return len(self.comparisons)

    def __iter__(self) -> Iterator[Preference]:
        return iter(self.comparisons)
