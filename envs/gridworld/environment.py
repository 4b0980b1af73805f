"""Gridworlds as Gymnasium environments: one at a time, and natively batched.

Random numbers are a function of (seed, episode, step), so that row i of a batch reset with seed s
is the single environment reset with s + i, step for step, through every autoreset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from irlbench.envs.gridworld.model import ACTIONS, GridworldModel, gridworld_model
from irlbench.envs.gridworld.render import Frame, render
from irlbench.randomness import row_keys, uniforms

# A counter is episode * 2**32 + numbers drawn in this episode: one for the start, one per step.
_EPISODE = 32
_IN_EPISODE = 2**_EPISODE - 1
_BLOCK = 128
_BEFORE_FIRST = -(2**_EPISODE)


class GridworldEnv(gymnasium.Env[np.int64, np.int64]):
    """One gridworld. The observation is the index of the cell; see `GridworldModel`.

    It ends by nothing of its own: `gymnasium.make` adds the time limit. Resetting without a seed
    goes on to the next episode of the last seed.

    Args:
        layout: The map.
        slip: Probability that a random move replaces the chosen one.
        render_mode: "ansi", "rgb_array" or None.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - declared so by the base class
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 8,
    }

    def __init__(self, layout: str, slip: float, render_mode: str | None = None) -> None:
        self.model = gridworld_model(layout, slip)
        self.observation_space = spaces.Discrete(self.model.states)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.render_mode = render_mode
        self._thresholds = _thresholds(self.model)
        self._successors: list[list[list[int]]] = self.model.successors.tolist()
        self._rewards: list[float] = self.model.rewards.tolist()
        self._key: NDArray[np.uint64] | None = None
        self._episode = 0
        self._state: int | None = None
        self._block: list[float] = []
        self._drawn = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Begins an episode in a cell drawn uniformly."""
        super().reset(seed=seed)
        if seed is None and self._key is None:
            seed = int(self.np_random.integers(2**30))
        if seed is not None:
            self._key, self._episode = row_keys(np.array([seed])), 0
        else:
            self._episode += 1
        self._block, self._drawn = [], 0
        self._state = int(self._uniform() * self.model.states)
        return np.int64(self._state), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Makes a move; the reward is that of the cell it is made from.

        Raises:
            ValueError: If the action is none of the four.
            gymnasium.error.ResetNeeded: Before the first `reset`.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        if not 0 <= action < len(ACTIONS):
            raise ValueError(f"an action is 0 to {len(ACTIONS) - 1}, got {action!r}")
        reward = self._rewards[self._state]
        draw = self._uniform()
        turn = sum(draw >= threshold for threshold in self._thresholds)
        self._state = self._successors[self._state][int(action)][turn]
        return np.int64(self._state), reward, False, False, {}

    def render(self) -> Frame | None:
        """The map with the agent on it: text, or an image uint8 `[height, width, 3]`."""
        if self.render_mode is None or self._state is None:
            return None
        return render(self.model, self._state, self.render_mode)

    def _uniform(self) -> float:
        place = self._drawn % _BLOCK
        if place == 0:
            assert self._key is not None
            first = (self._episode << _EPISODE) + self._drawn
            self._block = uniforms(self._key, first + np.arange(_BLOCK)).tolist()
        self._drawn += 1
        return self._block[place]


class GridworldVectorEnv(VectorEnv[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]):
    """A batch of gridworlds, stepped together, with next-step autoreset.

    Resetting a row without a seed goes on to the next episode of the row's last seed, as an
    autoreset does. `reset(options={"reset_mask": mask})` resets the rows that are set.

    Args:
        num_envs: Rows.
        layout: The map.
        slip: Probability that a random move replaces the chosen one.
        max_episode_steps: Steps after which an episode is truncated; None for no limit.
        render_mode: "ansi", "rgb_array" or None.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - declared so by the base class
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 8,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        layout: str,
        slip: float,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ValueError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.num_envs = num_envs
        self.model = gridworld_model(layout, slip)
        self.single_observation_space = spaces.Discrete(self.model.states)
        self.single_action_space = spaces.Discrete(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = render_mode
        self._limit = max_episode_steps
        self._thresholds = _thresholds(self.model)
        self._successors = self.model.successors.astype(np.int64).ravel()
        self._rewards = self.model.rewards
        self._states = np.zeros(num_envs, dtype=np.int64)
        self._keys = np.zeros(num_envs, dtype=np.uint64)
        self._counters = np.zeros(num_envs, dtype=np.int64)
        self._begun = False
        self._pending = np.zeros(0, dtype=np.int64)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Begins episodes in cells drawn uniformly.

        Args:
            seed: Row i is seeded with seed + i, or with the i-th of a sequence.
            options: `reset_mask`, bool `[rows]`: which rows to reset; without it, all.

        Returns:
            The observations of all rows, int64 `[rows]`, and an empty dictionary.

        Raises:
            ValueError: If there are not as many seeds or mask values as rows, or a seed is
                negative.
            gymnasium.error.ResetNeeded: If the first reset leaves rows out.
        """
        given = self._given(seed)
        rows = self._rows(options)
        super().reset(seed=int(given[0]) if isinstance(seed, int | np.integer) else None)
        if not self._begun:
            unseeded = np.flatnonzero(given < 0)
            given[unseeded] = self.np_random.integers(2**30, size=unseeded.size)
            self._begun = True
        seeded = rows[given[rows] >= 0]
        self._keys[seeded] = row_keys(given[seeded])
        self._counters[seeded] = _BEFORE_FIRST
        self._next_episode(rows)
        draws = uniforms(self._keys[rows], self._counters[rows])
        self._counters[rows] += 1
        self._states[rows] = (draws * self.model.states).astype(np.int64)
        self._pending = np.setdiff1d(self._pending, rows)
        return self._states.copy(), {}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[
        NDArray[np.int64],
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Makes one move in every row; a row whose episode ended begins its next one instead.

        Args:
            actions: int64 `[rows]`.

        Returns:
            Observations, rewards (of the cells that the moves are made from; 0 in rows that
            begin), terminations (never), truncations, and an empty dictionary.

        Raises:
            ValueError: If there is not one action of the four per row.
            gymnasium.error.ResetNeeded: Before the first `reset`.
        """
        actions = self._checked(actions)
        began = self._pending
        if began.size:
            self._next_episode(began)
        draws = uniforms(self._keys, self._counters)
        self._counters += 1
        first, second, third = self._thresholds
        places = self._states * 4
        places += actions
        places *= 4
        places += (draws >= first).view(np.int8)
        places += (draws >= second).view(np.int8)
        places += (draws >= third).view(np.int8)
        rewards = self._rewards.take(self._states)
        self._states = self._successors.take(places)
        if began.size:
            self._states[began] = (draws[began] * self.model.states).astype(np.int64)
            rewards[began] = 0.0
        terminations = np.zeros(self.num_envs, dtype=bool)
        truncations = np.zeros(self.num_envs, dtype=bool)
        if self._limit is not None:
            # The start was a draw too: after n steps the count within the episode is n + 1.
            np.greater(self._counters & _IN_EPISODE, self._limit, out=truncations)
            self._pending = np.flatnonzero(truncations)
        return self._states.copy(), rewards, terminations, truncations, {}

    def render(self) -> tuple[Frame, ...] | None:
        """One frame per row; see `GridworldEnv.render`."""
        if self.render_mode is None or not self._begun:
            return None
        return tuple(render(self.model, int(s), self.render_mode) for s in self._states)

    def _next_episode(self, rows: NDArray[np.int64]) -> None:
        self._counters[rows] = ((self._counters[rows] >> _EPISODE) + 1) << _EPISODE

    def _given(self, seed: int | Sequence[int | None] | None) -> NDArray[np.int64]:
        """The seed of each row, or -1 where none is given."""
        if seed is None:
            return np.full(self.num_envs, -1, dtype=np.int64)
        if isinstance(seed, int | np.integer):
            given = int(seed) + np.arange(self.num_envs, dtype=np.int64)
            if seed < 0:
                raise ValueError(f"a seed must not be negative, got {seed}")
            return given
        if len(seed) != self.num_envs:
            raise ValueError(f"{self.num_envs} rows need {self.num_envs} seeds, got {len(seed)}")
        negative = [s for s in seed if s is not None and s < 0]
        if negative:
            raise ValueError(f"a seed must not be negative, got {negative[0]}")
        return np.array([-1 if s is None else s for s in seed], dtype=np.int64)

    def _rows(self, options: dict[str, Any] | None) -> NDArray[np.int64]:
        """The rows to reset."""
        if options is None or "reset_mask" not in options:
            return np.arange(self.num_envs)
        mask = np.asarray(options["reset_mask"])
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(
                f"reset_mask needs {self.num_envs} booleans, got {mask.dtype} {mask.shape}"
            )
        if not self._begun and not mask.all():
            raise gymnasium.error.ResetNeeded("the first reset must reset every row")
        return np.flatnonzero(mask)

    def _checked(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self._begun:
            raise gymnasium.error.ResetNeeded("call reset before step")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"{self.num_envs} rows need {self.num_envs} integer actions, "
                f"got {actions.dtype} {actions.shape}"
            )
        if actions.min() < 0 or actions.max() >= len(ACTIONS):
            row = int(np.flatnonzero((actions < 0) | (actions >= len(ACTIONS)))[0])
            raise ValueError(
                f"an action is 0 to {len(ACTIONS) - 1}, got {actions[row]} in row {row}"
            )
        return actions


def _thresholds(model: GridworldModel) -> tuple[float, ...]:
    """Uniform numbers from the n-th of these on turn the move by more than n quarters."""
    return tuple(np.cumsum(model.turns)[:-1].tolist())
