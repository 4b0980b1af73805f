"""A simulated annotator: which of two segments is better, by their true rewards, as people err.

After B-Pref (Lee, Smith, Dragan and Abbeel, 2021, "B-Pref: Benchmarking preference-based
reinforcement learning", section 4): stochastic, myopic, now and then mistaken, and unable to tell
what is nearly alike. Its annotators also refuse pairs of which neither is good; this one answers
all. It reads true rewards, so it belongs to who builds data, never to a learner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.randomness import row_keys, uniforms

#: The stream of a pair's seed that its answer is drawn from, beside those of worlds and policies.
_STREAM = 4


@dataclass(frozen=True)
class SimulatedAnnotator:
    """P(first is better) = sigmoid((R_first - R_second) / temperature), then ties and mistakes.

    Attributes:
        temperature: Of the choice, in units of reward (1 / beta of the paper); 0 always takes the
            greater return, infinity tosses a coin.
        tie_threshold: Segments whose undiscounted returns differ by less are equally preferable.
        flip_probability: How often an answer is the wrong way round. Ties are not flipped.
        discount: gamma of a myopic annotator: a reward k steps before the segment's last counts
            gamma^k in R. 1 remembers all of it.

    Raises:
        UsageError: If a value is out of range.
    """

    temperature: float = 0.0
    tie_threshold: float = 0.0
    flip_probability: float = 0.0
    discount: float = 1.0

    def __post_init__(self) -> None:
        for name in ("temperature", "tie_threshold"):
            if not getattr(self, name) >= 0:  # also where it is NaN
                raise UsageError(f"{name} must be a number from 0 on, got {getattr(self, name)}")
        if not 0 <= self.flip_probability <= 1:
            raise UsageError(f"flip_probability must be a probability, got {self.flip_probability}")
        if not 0 < self.discount <= 1:
            raise UsageError(f"discount must be above 0 and at most 1, got {self.discount}")

    def remembered_returns(
        self, rewards: NDArray[np.float64], mask: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """R: what it makes of segments, the last step counting most.

        Args:
            rewards: `[..., time]`.
            mask: Where there is a step; a segment's steps come first, padding after them.

        Returns:
            sum_t gamma^(T - 1 - t) r_t, T the segment's own length; `[...]`.
        """
        lengths = mask.sum(axis=-1, keepdims=True)
        before_last = lengths - 1 - np.arange(mask.shape[-1])
        weights = np.where(mask, self.discount ** np.maximum(before_last, 0), 0.0)
        return np.asarray((weights * np.where(mask, rewards, 0.0)).sum(axis=-1))

    def ties(self, rewards: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which pairs it finds equally preferable.

        At temperature 0 also those that it remembers as exactly equal, where no choice is greater.

        Args:
            rewards: `[pairs, 2, time]`.
            mask: Where there is a step; the same shape.

        Returns:
            `[pairs]`.
        """
        returns = np.where(mask, rewards, 0.0).sum(axis=-1)
        alike = np.abs(returns[:, 0] - returns[:, 1]) < self.tie_threshold
        if self.temperature == 0:
            remembered = self.remembered_returns(rewards, mask)
            alike |= remembered[:, 0] == remembered[:, 1]
        return np.asarray(alike)

    def first_preferred(
        self, rewards: NDArray[np.float64], mask: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """The probability that it says the first is better, of pairs that are no tie.

        Args:
            rewards: `[pairs, 2, time]`.
            mask: Where there is a step; the same shape.

        Returns:
            Mistakes included, float64 `[pairs]`.
        """
        remembered = self.remembered_returns(rewards, mask)
        difference = remembered[:, 0] - remembered[:, 1]
        if self.temperature == 0:
            chosen = (1 + np.sign(difference)) / 2
        else:
            # sigmoid(x) = (1 + tanh(x / 2)) / 2 overflows nowhere.
            chosen = (1 + np.tanh(difference / self.temperature / 2)) / 2
        wrong = self.flip_probability
        return np.asarray(chosen * (1 - wrong) + (1 - chosen) * wrong)

    def ranks(
        self, rewards: NDArray[np.float64], mask: NDArray[np.bool_], seeds: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Judges pairs. The answer on a pair depends on its seed, not on the others.

        Args:
            rewards: True rewards of the segments, `[pairs, 2, time]`.
            mask: Where there is a step; a segment's steps come first, padding after them.
            seeds: One non-negative integer per pair, `[pairs]`.

        Returns:
            0 for the better one and 1 for the other, 0 for both where they tie; `[pairs, 2]`.

        Raises:
            UsageError: If the shapes do not fit together, or rewards have no finite sum.
        """
        if rewards.ndim != 3 or rewards.shape[1] != 2 or rewards.shape != mask.shape:
            raise UsageError(
                f"rewards of pairs are [pairs, 2, time], and so is their mask; "
                f"got {list(rewards.shape)} and {list(mask.shape)}"
            )
        if len(seeds) != len(rewards):
            raise UsageError(f"{len(rewards)} pairs need as many seeds, got {len(seeds)}")
        with np.errstate(over="ignore"):
            sizes = np.where(mask, np.abs(rewards), 0.0).sum(axis=-1)
        if not np.isfinite(sizes).all():
            pair, item = map(int, np.argwhere(~np.isfinite(sizes))[0])
            largest = np.abs(rewards[pair, item][mask[pair, item]]).max()
            raise UsageError(
                f"pair {pair}, segment {item}: rewards up to {largest} have no finite sum"
            )
        drawn = uniforms(row_keys(seeds, _STREAM), 0)
        second_better = drawn >= self.first_preferred(rewards, mask)
        untied = ~self.ties(rewards, mask)
        return np.stack([second_better & untied, ~second_better & untied], axis=1).astype(np.int64)
