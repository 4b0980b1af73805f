"""Judges rewards that were recovered on a control task by its true one, over held-out episodes.

The reward that is judged is `unshaped()`. The episodes are of behaviours of graded quality, which
act for as many steps each. Correlations and pairs take what the environment paid. Distances ask
about transitions that never happened too: they take the true reward as a function of what is
observed (`irlbench.envs.control.true_rewards`), with the task's discount.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode
from irlbench.errors import DataError
from irlbench.metrics.correlations import pair_accuracy, pearson, spearman
from irlbench.metrics.sampled_epic import (
    ActionsAndStates,
    SampledDistance,
    Transitions,
    evaluated,
    sampled_epic_distance,
)
from irlbench.metrics.sampled_starc import sampled_starc_distance
from irlbench.reward import RewardFunction

# Of each behaviour's steps: so many blocks, each left out in turn for the error of a distance.
_BLOCKS = 8
# Transitions that are compared, and actions and states that means are over, in all. EPIC's means
# carry its error; those of STARC need only be the same for both rewards.
_EPIC, _EPIC_MEANS = 512, 256
_STARC, _STARC_MEANS = 4096, 16
_PAIRS = 2000


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Episodes with what they truly paid.

    Attributes:
        episodes: Those of the first behaviour, then those of the second, and so on.
        rewards: Of each episode, `[steps]`.
        behaviours: For each behaviour the places of its episodes.
    """

    episodes: Sequence[Episode]
    rewards: Sequence[NDArray[np.float64]]
    behaviours: Sequence[range]


class RewardJudge:
    """Scores recovered rewards.

    Args:
        held_out: Where they are judged.
        true: The true reward as a function of what is observed, or None where none is known.
        discount: Of the task.
        segment: Most steps of what is compared in pairs.
        names: The scores that are asked for, of those of `irlbench.envs.control.protocol`.
    """

    def __init__(
        self,
        held_out: HeldOut,
        true: RewardFunction | None,
        *,
        discount: float,
        segment: int,
        names: frozenset[str],
    ) -> None:
        self._true, self._discount, self._names = true, discount, names
        self._lengths = np.array([len(episode) for episode in held_out.episodes])
        self._paid = np.concatenate(held_out.rewards)
        self._steps = _joined(held_out.episodes)
        self._firsts = np.concatenate([[0], np.cumsum(self._lengths)[:-1]])
        fewest = min(len(group) for group in held_out.behaviours)
        self._episodes = np.array([i for group in held_out.behaviours for i in group[:fewest]])
        random = np.random.default_rng(0)
        self._segments, self._pairs = self._paired(held_out.behaviours, segment, random)
        if true is not None:
            blocks = self._blocks(held_out.behaviours)
            self._epic = (
                self._drawn(self._within(blocks), _EPIC, random),
                self._apart(_EPIC_MEANS, random),
            )
            self._starc = self._drawn(blocks, _STARC, random), self._apart(_STARC_MEANS, random)

    def scores(self, reward: RewardFunction) -> dict[str, float]:
        """Every score that is asked for and defined, by name; none of a reward of trajectories.

        Args:
            reward: Of observations and actions.

        Raises:
            DataError: If it is one of other observations or actions.
            UsageError: If it is not finite somewhere.
        """
        if reward.kind == "trajectory":
            return {}
        unshaped = reward.unshaped()
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told
                values = evaluated(unshaped, self._steps)
                found = {**self._compared(values), **self._distances(unshaped)}
        except (IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"the learnt reward cannot be asked about observations of shape "
                f"{self._steps.observations.shape[1:]} and actions of shape "
                f"{self._steps.actions.shape[1:]}: {type(error).__name__}: {error}"
            ) from error
        return {
            name: value
            for name, value in found.items()
            if value is not None and name in self._names
        }

    def _compared(self, values: NDArray[np.float64]) -> Mapping[str, float | None]:
        """Correlations and pairs, of what the reward says of every step."""
        returns, paid = (
            np.add.reduceat(x, self._firsts)[self._episodes] for x in (values, self._paid)
        )
        recovered, true = (
            np.array([x[low:high].sum() for low, high in self._segments])
            for x in (values, self._paid)
        )
        lengths = self._lengths[self._episodes].astype(np.float64)
        return {
            "pearson": pearson(values, self._paid),
            "spearman": spearman(values, self._paid),
            "return_pearson": pearson(returns, paid),
            "return_spearman": spearman(returns, paid),
            "pair_accuracy": pair_accuracy(recovered, true, self._pairs),
            "survival": pearson(lengths, paid),
        }

    def _distances(self, reward: RewardFunction) -> Mapping[str, float | None]:
        if self._true is None or "epic" not in self._names:
            return {}
        (transitions, _), means = self._epic
        epic = sampled_epic_distance(
            reward, self._true, transitions, means, discount=self._discount, groups=_BLOCKS
        )
        (transitions, groups), means = self._starc
        starc = sampled_starc_distance(
            reward, self._true, transitions, means, discount=self._discount, groups=groups
        )
        return {**_with_error("epic", epic), **_with_error("starc", starc)}

    def _blocks(self, behaviours: Sequence[range]) -> list[NDArray[np.int64]]:
        """Steps that are left out together: a part of each behaviour's, nearly whole episodes."""
        spans = [
            np.arange(self._firsts[group[0]], self._firsts[group[-1]] + self._lengths[group[-1]])
            for group in behaviours
        ]
        parts = [np.array_split(span, _BLOCKS) for span in spans]
        return [np.concatenate([part[block] for part in parts]) for block in range(_BLOCKS)]

    def _within(self, blocks: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """The steps of each block that end no episode: EPIC knows no end."""
        return [block[~self._steps.terminated[block]] for block in blocks]

    def _drawn(
        self, blocks: Sequence[NDArray[np.int64]], count: int, random: np.random.Generator
    ) -> tuple[Transitions, NDArray[np.int64]]:
        """So many transitions, as many of each block, and the block of each."""
        each, steps = count // _BLOCKS, self._steps
        places = np.concatenate(
            [random.choice(block, each, replace=len(block) < each) for block in blocks]
        )
        drawn = Transitions(
            steps.observations[places],
            steps.actions[places],
            steps.next_observations[places],
            steps.terminated[places],
        )
        return drawn, np.repeat(np.arange(_BLOCKS), each)

    def _apart(self, count: int, random: np.random.Generator) -> ActionsAndStates:
        """Actions and states that go on, each drawn by itself from all steps."""
        going_on = np.flatnonzero(~self._steps.terminated)
        return ActionsAndStates(
            self._steps.actions[random.choice(len(self._paid), count)],
            self._steps.next_observations[random.choice(going_on, count)],
            np.zeros(count, dtype=bool),
        )

    def _paired(
        self, behaviours: Sequence[range], segment: int, random: np.random.Generator
    ) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
        """Segments as first and last step, and pairs of them, every two behaviours as often."""
        segments: list[tuple[int, int]] = []
        owned = []
        for group in behaviours:
            begin = len(segments)
            for i in group:
                first, length = int(self._firsts[i]), int(self._lengths[i])
                steps = min(segment, length)
                segments += [
                    (first + low, first + low + steps)
                    for low in range(0, length - steps + 1, steps)
                ]
            owned.append((begin, len(segments)))
        couples = [(a, b) for b in range(len(owned)) for a in range(b)]
        pairs = [
            np.stack([random.integers(*owned[side], size=_PAIRS // len(couples)) for side in ab], 1)
            for ab in couples
        ]
        return segments, np.concatenate(pairs)


def _joined(episodes: Sequence[Episode]) -> Transitions:
    """All steps of all episodes, in order."""
    actions: list[NDArray[Any]] = [np.asarray(episode.actions) for episode in episodes]
    return Transitions(
        np.concatenate([episode.observations[:-1] for episode in episodes]),
        np.concatenate(actions),
        np.concatenate([episode.observations[1:] for episode in episodes]),
        np.concatenate([episode.terminations for episode in episodes]),
    )


def _with_error(name: str, found: SampledDistance) -> dict[str, float]:
    return {name: found.estimate, f"{name}_error": found.error}
