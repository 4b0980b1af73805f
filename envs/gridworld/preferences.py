"""Preferences over segments of gridworld episodes, judged by their true reward."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from irlbench.data.annotator import SimulatedAnnotator
from irlbench.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from irlbench.data.preferences import Preferences
    from irlbench.envs.gridworld.rollouts import Rollout
    from irlbench.envs.gridworld.tabular_model import TabularModel
    from irlbench.policies.table import TablePolicy
    from irlbench.policy import Policy

#: The stream of an item's seed that the place of its segment is drawn from: 0 moves the world, 1 is
#: the policies', 2 the emission's noise.
_PLACE_STREAM = 3
_ANNOTATOR = "simulated"


@dataclass(frozen=True)
class PreferencePool:
    """How a task's preferences are made.

    Each item is a segment of an episode of its own, of an expert that takes a random action with
    probability epsilon. A segment begins anywhere in the episode where it fits; an episode that is
    shorter is given whole. Every two of the behaviours are compared equally often.

    Attributes:
        segment: Most steps of an item; from the task's horizon on, items are whole episodes.
        annotator: Who judges the pairs.
        given: How many pairs an algorithm gets unless asked otherwise.
        pairs: How many there are to draw from.
        random_actions: The epsilons: 0 is the expert, 1 the uniform policy.

    Raises:
        UsageError: If a number is out of range.
    """

    segment: int
    annotator: SimulatedAnnotator
    given: int
    pairs: int = 2000
    random_actions: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0)

    def __post_init__(self) -> None:
        if self.segment < 1:
            raise UsageError(f"segment must be at least 1 step, got {self.segment}")
        if not 0 < self.given <= self.pairs:
            raise UsageError(f"given must be 1 to {self.pairs}, the pairs there are: {self.given}")
        if not self.random_actions or not all(0 <= share <= 1 for share in self.random_actions):
            raise UsageError(f"random_actions must be probabilities, got {self.random_actions}")

    def recipe(self, seed: int) -> dict[str, Any]:
        """What a task's recipe says of it; how many are given is a trial's.

        Args:
            seed: Of the first item's episode and of the first pair's answer.
        """
        return {
            "version": 1,
            "pairs": self.pairs,
            "segment": self.segment,
            "random_actions": list(self.random_actions),
            "annotator": asdict(self.annotator),
            "seed": seed,
        }

    def simulate(
        self, model: TabularModel, expert: TablePolicy, horizon: int, seed: int
    ) -> Preferences:
        """Rolls out the items and has them judged.

        Args:
            model: The world, with its true reward.
            expert: Over its states.
            horizon: Steps after which an episode that does not end is cut.
            seed: Item i is rolled out with seed + i, pair i judged with seed + i.
        """
        import numpy as np

        from irlbench.data.preferences import Preference, Preferences
        from irlbench.envs.gridworld.rollouts import roll_out

        kinds = len(self.random_actions)
        pair, second = np.divmod(np.arange(2 * self.pairs), 2)
        behaviour = np.where(second == 0, pair, pair // kinds) % kinds
        items: list[Any] = [None] * len(behaviour)
        rewards = np.zeros((len(behaviour), min(self.segment, horizon)))
        mask = np.zeros(rewards.shape, dtype=bool)
        for index, share in enumerate(self.random_actions):
            rows = np.flatnonzero(behaviour == index)
            policy = _behaviour(model, expert, share)
            rollout = roll_out(model, policy, seed + rows, horizon)
            firsts, lengths = self._cut(rollout, seed + rows)
            episodes = rollout.episodes()
            for row, episode, first, length, earned in zip(
                rows, episodes, firsts, lengths, rollout.rewards, strict=True
            ):
                items[row] = episode.segment(first, first + length)
                rewards[row, :length] = earned[first : first + length]
                mask[row, :length] = True
        shape = (self.pairs, 2, rewards.shape[1])
        ranks = self.annotator.ranks(
            rewards.reshape(shape), mask.reshape(shape), seed + np.arange(self.pairs)
        )
        return Preferences(
            tuple(
                Preference((items[2 * i], items[2 * i + 1]), tuple(rank), _ANNOTATOR)
                for i, rank in enumerate(ranks.tolist())
            )
        )

    def _cut(
        self, rollout: Rollout, seeds: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the segment of each episode begins, and its length."""
        import numpy as np

        from irlbench.randomness import row_keys, uniforms

        lengths = np.minimum(rollout.lengths, self.segment)
        places = rollout.lengths - lengths + 1
        draws = uniforms(row_keys(seeds, _PLACE_STREAM), 0)
        return (draws * places).astype(np.int64), lengths


def _behaviour(model: TabularModel, expert: TablePolicy, share: float) -> Policy:
    """The expert with a random action now and then, acting on what is observed."""
    import numpy as np

    from irlbench.policies.table import TablePolicy

    mixed = (1 - share) * expert.probabilities + share / model.actions
    logits = np.log(np.maximum(mixed, np.finfo(np.float64).tiny))
    policy = TablePolicy(logits)
    return policy if model.emission is None else model.emission.network(policy.log_probabilities)
