"""Preferences over segments of control episodes, judged by their true reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from irlbench.data.annotator import SimulatedAnnotator
from irlbench.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from irlbench.data.demonstrations import Episode
    from irlbench.data.preferences import Preferences

_ANNOTATOR = "simulated"

#: A segment of an episode: its steps, and their true rewards.
Segment = tuple["Episode", "NDArray[np.float64]"]


@dataclass(frozen=True)
class PreferencePool:
    """How a task's preferences are made.

    Items are segments of the episodes of mixed quality. An episode is cut into segments one after
    the other; the last one ends with it, and overlaps the one before where the lengths do not
    divide. An episode that is shorter is given whole. Every two of the behaviours are compared
    equally often. A segment is in one pair, and in more only where its behaviour has too few.

    Attributes:
        segment: Most steps of an item; from the task's horizon on, items are whole episodes.
        given: How many pairs an algorithm gets unless asked otherwise.
        pairs: How many there are to draw from.
        annotator: Who judges the pairs.

    Raises:
        UsageError: If a number is out of range.
    """

    segment: int = 50
    given: int = 200
    pairs: int = 800
    annotator: SimulatedAnnotator = field(default_factory=SimulatedAnnotator)

    def __post_init__(self) -> None:
        if self.segment < 1:
            raise UsageError(f"segment must be at least 1 step, got {self.segment}")
        if not 0 < self.given <= self.pairs:
            raise UsageError(f"given must be 1 to {self.pairs}, the pairs there are: {self.given}")

    def recipe(self, seed: int) -> dict[str, Any]:
        """What a task's recipe says of it; how many are given is a trial's.

        Args:
            seed: Draws the segments, and is that of the first pair's answer.
        """
        return {
            "version": 1,
            "pairs": self.pairs,
            "segment": self.segment,
            "annotator": asdict(self.annotator),
            "seed": seed,
        }

    def compare(self, behaviours: Sequence[Sequence[Segment]], seed: int) -> Preferences:
        """Draws the items and has them judged.

        Args:
            behaviours: For each behaviour its episodes, with their true rewards.
            seed: Draws the segments; pair i is judged with seed + i.
        """
        import numpy as np

        from irlbench.data.preferences import Preference, Preferences

        kinds = len(behaviours)
        pair, second = np.divmod(np.arange(2 * self.pairs), 2)
        behaviour = np.where(second == 0, pair, pair // kinds) % kinds
        items: list[Any] = [None] * len(behaviour)
        draws = np.random.default_rng(seed)
        for kind, episodes in enumerate(behaviours):
            cut = [part for episode in episodes for part in self._cut(*episode)]
            places = np.flatnonzero(behaviour == kind)
            rounds = -(-len(places) // len(cut))
            drawn = np.concatenate([draws.permutation(len(cut)) for _ in range(rounds)])
            for place, which in zip(places, drawn, strict=False):
                items[place] = cut[which]
        rewards = np.zeros((len(items), max(len(earned) for _, earned in items)))
        mask = np.zeros(rewards.shape, dtype=bool)
        for row, (_, earned) in enumerate(items):
            rewards[row, : len(earned)] = earned
            mask[row, : len(earned)] = True
        shape = (self.pairs, 2, rewards.shape[1])
        ranks = self.annotator.ranks(
            rewards.reshape(shape), mask.reshape(shape), seed + np.arange(self.pairs)
        )
        return Preferences(
            tuple(
                Preference((items[2 * i][0], items[2 * i + 1][0]), tuple(rank), _ANNOTATOR)
                for i, rank in enumerate(ranks.tolist())
            )
        )

    def _cut(self, episode: Episode, rewards: NDArray[np.float64]) -> list[Segment]:
        """The segments of an episode, with their rewards."""
        steps = len(episode)
        last = max(steps - self.segment, 0)
        firsts = [*range(0, last, self.segment), last]
        return [
            (episode.segment(a, a + self.segment), rewards[a : a + self.segment]) for a in firsts
        ]
