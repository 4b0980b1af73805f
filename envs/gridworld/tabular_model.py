"""Finite worlds with everything in them: transitions, true reward, how they look and are seen."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.emission import Emission
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.rewards import expected_reward


@dataclass(frozen=True, eq=False, kw_only=True)
class TabularModel:
    """A finite world of S states and A actions, each with K possible successors.

    Its arrays are read-only. `dynamics` is what a learner may see of it; the reward is not in there.

    Attributes:
        layout: Lines of the picture that `render` draws.
        cells: Line and column of each state in the picture, int64 `[states, 2]`.
        successors: int32 `[states, actions, K]`. Unused places repeat a state with probability 0.
        probabilities: float64 `[states, actions, K]`, sums to one over K.
        starts: The first state is drawn uniformly from these, int64 `[starts]`.
        terminal: bool `[states]`: entering such a state ends the episode.
        rewards: The true reward, paid for a step: float64 `[states]` by the state that it is made
            from, `[states, actions]` by state and action, or `[states, actions, K]` by transition.
        features: State features in which the reward is known to be simple, float64
            `[states, features]`; None: one per state.
        emission: What is observed of a state; None: its index.
        moves: Lines down and columns to the right that each action leads in the picture; None
            where actions are no moves.

    Raises:
        UsageError: If transitions or rewards are refused by `irlbench.tabular`.
        ValueError: If there is no state to start in, or a transition has two rewards.
    """

    layout: tuple[str, ...]
    cells: NDArray[np.int64]
    successors: NDArray[np.int32]
    probabilities: NDArray[np.float64]
    starts: NDArray[np.int64]
    terminal: NDArray[np.bool_]
    rewards: NDArray[np.float64]
    features: NDArray[np.float64] | None = None
    emission: Emission | None = None
    moves: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if not self.starts.size or self.terminal[self.starts].any():
            raise ValueError("a world needs states to start in, none of them terminal")
        # Refuse what is no distribution, or no reward for these transitions.
        expected_reward(self.dynamics(horizon=1, discount=1.0), self.rewards)
        if self.rewards.ndim == 3:
            _require_one_reward(self.successors, self.rewards)
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    @property
    def states(self) -> int:
        """Number of states S."""
        return int(self.successors.shape[0])

    @property
    def actions(self) -> int:
        """Number of actions A."""
        return int(self.successors.shape[1])

    def with_rewards(self, rewards: NDArray[np.float64]) -> TabularModel:
        """The same world with other rewards, which are not checked. For audits.

        Args:
            rewards: Of the shape of this world's.
        """
        other = copy(self)
        object.__setattr__(other, "rewards", _frozen(np.array(rewards, dtype=np.float64)))
        return other

    def dynamics(self, horizon: int, discount: float) -> TabularDynamics:
        """The transition probabilities, without the reward.

        Args:
            horizon: Steps after which evaluation ends an episode.
            discount: Of the return.
        """
        initial = np.zeros(self.states)
        initial[self.starts] = 1 / len(self.starts)
        return TabularDynamics(
            successors=self.successors,
            probabilities=self.probabilities,
            initial=_frozen(initial),
            terminal=self.terminal,
            horizon=horizon,
            discount=discount,
        )


def square_picture(states: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Layout and cells of a world that has no place of its own: states in rows, as in a square.

    Args:
        states: How many.

    Returns:
        Lines of one `.` per state, and the line and column of each, int64 `[states, 2]`.
    """
    side = ceil(sqrt(states))
    cells = np.stack(np.divmod(np.arange(states), side), axis=1)
    lines = tuple("." * min(side, states - first) for first in range(0, states, side))
    return tuple(line.ljust(side) for line in lines), cells


def _require_one_reward(successors: NDArray[np.int32], rewards: NDArray[np.float64]) -> None:
    """Refuses two rewards for one transition, which no function of (s, a, s') could give."""
    same = successors[..., :, None] == successors[..., None, :]
    wrong = np.argwhere(same & (rewards[..., :, None] != rewards[..., None, :]))
    if wrong.size:
        state, action, place, other = wrong[0].tolist()
        raise ValueError(
            f"state {state}, action {action} leads to state {successors[state, action, place]} in "
            f"two places, which pay {rewards[state, action, place]} and "
            f"{rewards[state, action, other]}: one transition has one reward"
        )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
