"""Preferences: ranked items, each an episode or a segment of one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode, TokenEpisode
from irlbench.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class Preference:
    """One comparison of K items; K = 2 is the common case.

    Attributes:
        items: The compared segments, `[K]`, all of one kind. A segment's flags are those of its
            episode: what was cut out of the middle ends neither way.
        ranks: `[K]`, 0 is best; equal ranks are ties.
        annotator: Who judged ("human", "simulated", a name).
        weight: How much the comparison counts, above 0.
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
        if min(self.ranks) != 0:
            raise DataError(f"ranks begin with 0, the best; got {self.ranks}", field="ranks")
        if len({type(item) for item in self.items}) > 1:
            raise DataError("items are all episodes, or all token episodes", field="items")
        if not 0 < self.weight < math.inf:
            raise DataError(f"must be a number above 0, got {self.weight}", field="weight")

    def __repr__(self) -> str:
        lengths = "/".join(str(len(item)) for item in self.items)
        return f"Preference(steps={lengths}, ranks={self.ranks}, annotator={self.annotator!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Pairs of segments as arrays, padded behind to the longest with zeros.

    Attributes:
        observations: `[pairs, 2, time + 1, ...]`; the last of a segment is what its last action
            led to. `observations[:, :, 1:]` are the next observations.
        actions: `[pairs, 2, time, ...]`.
        terminations: bool `[pairs, 2, time]`: the environment ended the episode.
        mask: bool `[pairs, 2, time]`: where there is a step.
        first_preferred: 1 where the first is better, 0 where the second is, 0.5 where they tie;
            float64 `[pairs]`.
        weight: How much each pair counts, float64 `[pairs]`.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    terminations: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    first_preferred: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.weight)

    def __repr__(self) -> str:
        return (
            f"Pairs(pairs={len(self)}, time={self.mask.shape[2]}, "
            f"observations={self.observations.shape}, actions={self.actions.shape})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Preferences:
    """A frozen list of comparisons, their items all of one kind.

    Attributes:
        comparisons: The comparisons.
        provenance: Where they come from: name, recipe and hashes, JSON values only.
    """

    comparisons: tuple[Preference, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = {type(comparison.items[0]) for comparison in self.comparisons}
        if len(kinds) > 1:
            raise DataError("items are all episodes, or all token episodes", field="items")

    def __len__(self) -> int:
        return len(self.comparisons)

    def __iter__(self) -> Iterator[Preference]:
        return iter(self.comparisons)

    def __getitem__(self, index: int) -> Preference:
        return self.comparisons[index]

    def __repr__(self) -> str:
        return f"Preferences(comparisons={len(self)}, steps={self.steps})"

    @property
    def steps(self) -> int:
        """Transitions over all items (on text: the policy's tokens)."""
        return sum(len(item) for comparison in self.comparisons for item in comparison.items)

    def draw(self, count: int | None, seed: int) -> Preferences:
        """Draws comparisons without replacement; equal seeds draw equal comparisons.

        Smaller draws at a seed are prefixes of larger ones.

        Args:
            count: How many, or None for all of them in their order.
            seed: The trial's seed.

        Raises:
            DataError: If there are fewer than `count` comparisons.
        """
        if count is None:
            return self
        if not 0 < count <= len(self):
            raise DataError(f"{count} preferences asked for, {len(self)} there are")
        order = np.random.default_rng([seed, 0x94EF5]).permutation(len(self))[:count]
        return Preferences(tuple(self.comparisons[i] for i in order), self.provenance)

    def pairs(self) -> Pairs:
        """All pairs as arrays: a comparison of K > 2 items gives all of its K (K - 1) / 2.

        Each of these counts as much as the comparison does.

        Raises:
            DataError: If there are none, the items are tokens, hold no actions, or are not alike.
        """
        if not self.comparisons:
            raise DataError("there are no preferences: give at least one")
        firsts = np.cumsum([0, *(len(comparison.items) for comparison in self.comparisons)])
        items = [item for comparison in self.comparisons for item in comparison.items]
        places, preferred, weight = [], [], []
        for first, comparison in zip(firsts, self.comparisons, strict=False):
            ranks = comparison.ranks
            for one, other in combinations(range(len(ranks)), 2):
                places.append((first + one, first + other))
                preferred.append(0.5 * (1 + np.sign(ranks[other] - ranks[one])))
                weight.append(comparison.weight)
        at = np.array(places)
        padded = {name: _frozen(array[at]) for name, array in _padded(items).items()}
        return Pairs(
            **padded,
            first_preferred=_frozen(np.array(preferred)),
            weight=_frozen(np.array(weight)),
        )


def _padded(items: Sequence[Episode | TokenEpisode]) -> dict[str, NDArray[Any]]:
    """Arrays of all items by name, `[items, time, ...]`, zeros behind the shorter ones."""
    episodes, actions = [], []
    for item in items:
        if not isinstance(item, Episode):
            raise DataError("token episodes have no fixed-size transitions; read their `tokens`")
        if item.actions is None:
            raise DataError("these preferences hold observations only", field="actions")
        episodes.append(item)
        actions.append(item.actions)
    lengths = np.array([len(episode) for episode in episodes])
    columns = np.arange(lengths.max() + 1)
    mask = columns[:-1] < lengths[:, None]
    return {
        "observations": _spread(
            [e.observations for e in episodes], columns <= lengths[:, None], "observations"
        ),
        "actions": _spread(actions, mask, "actions"),
        "terminations": _spread([e.terminations for e in episodes], mask, "terminations"),
        "mask": mask,
    }


def _spread(arrays: Sequence[NDArray[Any]], mask: NDArray[np.bool_], name: str) -> NDArray[Any]:
    """Arrays of several lengths in one: one per row, where the row's mask is set."""
    for row, array in enumerate(arrays):
        kind, wanted = (array.dtype, array.shape[1:]), (arrays[0].dtype, arrays[0].shape[1:])
        if kind != wanted:
            raise DataError(
                f"{array.dtype} of shape {array.shape} beside {arrays[0].dtype} of shape "
                f"{arrays[0].shape}",
                field=name,
                row=row,
            )
    spread = np.zeros((*mask.shape, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    spread[mask] = np.concatenate(arrays)
    return spread


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
