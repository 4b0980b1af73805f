"""Episodes of mixed quality with their true rewards: of the expert, of chance, and in between."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from irlbench.data.minari_store import Recording
from irlbench.envs.control.behaviours import SHARES, NoisyPolicy
from irlbench.errors import UsageError

if TYPE_CHECKING:
    import gymnasium
    import numpy as np
    from numpy.typing import NDArray

    from irlbench.data.demonstrations import Episode
    from irlbench.policy import Policy

#: Seeds of one behaviour's episodes; those of the next come after them.
_SEEDS = 10**5
#: Most episodes at a time.
_ROWS = 50


@dataclass(frozen=True)
class Mixture:
    """How a task's set of mixed quality is made: every behaviour acts for as many steps.

    A behaviour acts in whole episodes, so it may act for a few steps more. The set holds the
    episodes of the first behaviour, then those of the second, and so on; `grouped` finds them.

    Attributes:
        steps: Fewest steps of each behaviour.
        random_actions: For each behaviour the share of its actions that are random: 0 is the
            expert, 1 the uniform policy.

    Raises:
        UsageError: If a number is out of range.
    """

    steps: int = 20_000
    random_actions: tuple[float, ...] = SHARES

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"steps must be at least 1, got {self.steps}")
        if not self.random_actions or not all(0 <= share <= 1 for share in self.random_actions):
            raise UsageError(f"random_actions must be probabilities, got {self.random_actions}")

    def recipe(self, seed: int) -> dict[str, Any]:
        """What a task's recipe says of it.

        Args:
            seed: Of the first episode.
        """
        return {
            "version": 1,
            "steps": self.steps,
            "random_actions": list(self.random_actions),
            "seed": seed,
        }

    def record(self, environment: str, expert: Policy, horizon: int, seed: int) -> Recording:
        """Runs the episodes.

        Args:
            environment: Gymnasium id.
            expert: Of the task.
            horizon: Steps after which an episode is cut.
            seed: Of the first episode.
        """
        from irlbench.envs.control.rollouts import rows_of

        episodes, rewards = [], []
        # So many rows that a behaviour which never fails acts in one batch.
        with rows_of(environment, math.ceil(self.steps / horizon)) as envs:
            space = envs[0].action_space
            for place, share in enumerate(self.random_actions):
                policy, left = NoisyPolicy(expert, space, share), self.steps
                for episode, earned in _acted(envs, policy, count(seed + place * _SEEDS), horizon):
                    episodes.append(episode)
                    rewards.append(earned)
                    left -= len(episode)
                    if left <= 0:
                        break
            return Recording(episodes, rewards, envs[0].observation_space, space)

    def grouped(self, lengths: Sequence[int]) -> list[range]:
        """Which episodes of a set are whose.

        Args:
            lengths: Steps of every episode, in the set's order.

        Returns:
            For each behaviour the places of its episodes.
        """
        found, first, acted = [], 0, 0
        for following, steps in enumerate(lengths, 1):
            acted += steps
            if acted >= self.steps:
                found.append(range(first, following))
                first, acted = following, 0
        return found


def record_in_turns(
    environment: str,
    policies: Sequence[Policy],
    episodes: int,
    horizon: int,
    seed: int,
    *,
    deterministic: bool = True,
) -> Recording:
    """Records episodes of several policies, which take turns: of the first, of the second, ...

    Args:
        environment: Gymnasium id.
        policies: They take the mode of their distribution.
        episodes: How many in all, from 1 on.
        horizon: Steps after which an episode is cut.
        seed: Episode i is of seed + i.
        deterministic: Whether they take the mode of their distribution.
    """
    from irlbench.envs.control.rollouts import rows_of

    made: dict[int, tuple[Episode, NDArray[np.float64]]] = {}
    turns = len(policies)
    with rows_of(environment, min(_ROWS, math.ceil(episodes / turns))) as envs:
        for turn, policy in enumerate(policies):
            places = range(turn, episodes, turns)
            seeds = (seed + place for place in places)
            acted = _acted(envs, policy, seeds, horizon, deterministic=deterministic)
            made.update(zip(places, acted, strict=True))
        both = [made[place] for place in range(episodes)]
        return Recording(
            [episode for episode, _ in both],
            [rewards for _, rewards in both],
            envs[0].observation_space,
            envs[0].action_space,
        )


def _acted(
    envs: Sequence[gymnasium.Env[Any, Any]],
    policy: Policy,
    seeds: Iterable[int],
    horizon: int,
    *,
    deterministic: bool = True,
) -> Iterator[tuple[Episode, NDArray[np.float64]]]:
    """Each seed's episode and its rewards, in order; as many at a time as there are rows."""
    from irlbench.envs.control.rollouts import run_rows

    left = iter(seeds)
    while batch := list(islice(left, len(envs))):
        done = run_rows(
            envs[: len(batch)],
            policy,
            batch,
            deterministic=deterministic,
            horizon=horizon,
            record=True,
        )
        assert done.recording is not None
        yield from zip(done.recording.episodes, done.recording.rewards, strict=True)
