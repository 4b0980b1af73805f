"""Finite worlds as Gymnasium environments: one at a time, and natively batched.

Random numbers are a function of (seed, episode, step), so that row i of a batch reset with seed s
is the single environment reset with s + i, step for step, through every autoreset.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from irlbench.envs.gridworld.emission import NOISE_STREAM
from irlbench.envs.gridworld.render import Frame, render
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.randomness import row_keys, uniforms

# A counter is episode * 2**32 + numbers drawn in this episode: one for the start, one per step.
_EPISODE = 32
_IN_EPISODE = 2**_EPISODE - 1
_BLOCK = 128
_BEFORE_FIRST = -(2**_EPISODE)
_NEVER = 2.0


class TabularEnv(gymnasium.Env[Any, np.int64]):
    """A finite world. The observation is the index of the state, or what its emission shows.

    It ends in terminal states only: `gymnasium.make` adds the time limit. Resetting without a seed
    goes on to the next episode of the last seed.

    Args:
        model: The world.
        render_mode: "ansi", "rgb_array" or None.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - declared so by the base class
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 8,
    }

    def __init__(self, model: TabularModel, render_mode: str | None = None) -> None:
        self.model = model
        self.observation_space = observation_space(model)
        self.action_space = spaces.Discrete(model.actions)
        self.render_mode = render_mode
        pairs, thresholds = model.states * model.actions, _thresholds(model)
        table = np.broadcast_to(thresholds, (pairs, thresholds.shape[1]))
        self._thresholds: list[list[float]] = table.tolist()
        self._successors: list[list[int]] = model.successors.reshape(pairs, -1).tolist()
        self._rewards: list[float] = model.rewards.ravel().tolist()
        self._terminal: list[bool] = model.terminal.tolist()
        self._key: NDArray[np.uint64] | None = None
        self._noise_key = np.zeros(0, dtype=np.uint64)
        self._episode = 0
        self._state: int | None = None
        self._block: list[float] = []
        self._drawn = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode in a state drawn uniformly from those that episodes start in."""
        super().reset(seed=seed)
        if seed is None and self._key is None:
            seed = int(self.np_random.integers(2**30))
        if seed is not None:
            self._key, self._episode = row_keys(np.array([seed])), 0
            self._noise_key = row_keys(np.array([seed]), NOISE_STREAM)
        else:
            self._episode += 1
        self._block, self._drawn = [], 0
        starts = self.model.starts
        state = int(starts[int(self._uniform() * len(starts))])
        self._state = state
        return self._observation(state), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Makes a step; the reward is the model's.

        Raises:
            ValueError: If the action is none of the model's.
            gymnasium.error.ResetNeeded: Before the first `reset`.
        """
        model = self.model
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        if not 0 <= action < model.actions:
            raise ValueError(f"an action is 0 to {model.actions - 1}, got {action!r}")
        pair = self._state * model.actions + int(action)
        turn = bisect_right(self._thresholds[pair], self._uniform())
        places = (self._state, pair, pair * model.successors.shape[2] + turn)
        reward = self._rewards[places[model.rewards.ndim - 1]]
        state = self._successors[pair][turn]
        self._state = state
        return self._observation(state), reward, self._terminal[state], False, {}

    def render(self) -> Frame | None:
        """The world with the agent in it: text, or an image uint8 `[height, width, 3]`."""
        if self.render_mode is None or self._state is None:
            return None
        return render(self.model, self._state, self.render_mode)

    def _observation(self, state: int) -> Any:
        emission = self.model.emission
        if emission is None:
            return np.int64(state)
        counter = np.array([(self._episode << _EPISODE) + self._drawn - 1])
        return emission.observe(np.array([state]), self._noise_key, counter)[0]

    def _uniform(self) -> float:
        place = self._drawn % _BLOCK
        if place == 0:
            assert self._key is not None
            first = (self._episode << _EPISODE) + self._drawn
            self._block = uniforms(self._key, first + np.arange(_BLOCK)).tolist()
        self._drawn += 1
        return self._block[place]


class TabularVectorEnv(VectorEnv[NDArray[Any], NDArray[np.int64], NDArray[Any]]):
    """A batch of finite worlds, stepped together, with next-step autoreset.

    Resetting a row without a seed goes on to the next episode of the row's last seed, as an
    autoreset does. `reset(options={"reset_mask": mask})` resets the rows that are set.

    Args:
        num_envs: Rows.
        model: The world.
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
        model: TabularModel,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ValueError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.num_envs = num_envs
        self.model = model
        self.single_observation_space = observation_space(model)
        self.single_action_space = spaces.Discrete(model.actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = render_mode
        self._limit = max_episode_steps
        thresholds = _thresholds(model)
        # One number for every state and action, or contiguous columns to gather from.
        self._thresholds: list[Any] = [
            float(column[0]) if len(column) == 1 else np.ascontiguousarray(column)
            for column in thresholds.T
        ]
        _, self._actions, self._width = model.successors.shape
        self._successors = model.successors.astype(np.int64).ravel()
        self._rewards, self._paid_by = model.rewards.ravel(), model.rewards.ndim - 1
        self._ends = bool(model.terminal.any())
        self._states = np.zeros(num_envs, dtype=np.int64)
        self._observed = np.zeros(0, dtype=np.float32)
        if model.emission is not None:
            self._observed = np.zeros((num_envs, model.emission.dimension), dtype=np.float32)
        self._keys = np.zeros(num_envs, dtype=np.uint64)
        self._noise_keys = np.zeros(num_envs, dtype=np.uint64)
        self._counters = np.zeros(num_envs, dtype=np.int64)
        self._begun = False
        self._pending = np.zeros(0, dtype=np.int64)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begins episodes in states drawn uniformly from those that episodes start in.

        Args:
            seed: Row i is seeded with seed + i, or with the i-th of a sequence.
            options: `reset_mask`, bool `[rows]`: which rows to reset; without it, all.

        Returns:
            The observations of all rows, `[rows, ...]`, and an empty dictionary.

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
        self._noise_keys[seeded] = row_keys(given[seeded], NOISE_STREAM)
        self._counters[seeded] = _BEFORE_FIRST
        self._next_episode(rows)
        draws = uniforms(self._keys[rows], self._counters[rows])
        self._counters[rows] += 1
        self._states[rows] = self._started(draws)
        self._pending = np.setdiff1d(self._pending, rows)
        return self._observations(rows), {}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[
        NDArray[Any],
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Makes one step in every row; a row whose episode ended begins its next one instead.

        Args:
            actions: int64 `[rows]`.

        Returns:
            Observations, rewards (0 in rows that begin), terminations, truncations, and an empty
            dictionary.

        Raises:
            ValueError: If there is not one of the model's actions per row.
            gymnasium.error.ResetNeeded: Before the first `reset`.
        """
        actions = self._checked(actions)
        began = self._pending
        if began.size:
            self._next_episode(began)
        draws = uniforms(self._keys, self._counters)
        self._counters += 1
        pairs = self._states * self._actions
        pairs += actions
        places = pairs * self._width
        for threshold in self._thresholds:
            here = threshold if isinstance(threshold, float) else threshold.take(pairs)
            places += (draws >= here).view(np.int8)
        rewards = self._rewards.take((self._states, pairs, places)[self._paid_by])
        self._states = self._successors.take(places)
        if began.size:
            self._states[began] = self._started(draws[began])
            rewards[began] = 0.0
        terminations = np.zeros(self.num_envs, dtype=bool)
        truncations = np.zeros(self.num_envs, dtype=bool)
        if self._ends:
            terminations = self.model.terminal.take(self._states)
        if self._limit is not None:
            # The start was a draw too: after n steps the count within the episode is n + 1.
            np.greater(self._counters & _IN_EPISODE, self._limit, out=truncations)
        if self._ends or self._limit is not None:
            self._pending = np.flatnonzero(terminations | truncations)
        return self._observations(), rewards, terminations, truncations, {}

    def alter_reward(self, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
        """Changes the reward that is paid. For audits: a learner must not notice.

        Args:
            change: From the true table of rewards to another of its shape.
        """
        self.model = self.model.with_rewards(change(self.model.rewards))
        self._rewards = self.model.rewards.ravel()

    def render(self) -> tuple[Frame, ...] | None:
        """One frame per row; see `TabularEnv.render`."""
        if self.render_mode is None or not self._begun:
            return None
        return tuple(render(self.model, int(s), self.render_mode) for s in self._states)

    def _next_episode(self, rows: NDArray[np.int64]) -> None:
        self._counters[rows] = ((self._counters[rows] >> _EPISODE) + 1) << _EPISODE

    def _started(self, draws: NDArray[np.float64]) -> NDArray[np.int64]:
        starts = self.model.starts
        return starts[(draws * len(starts)).astype(np.int64)]

    def _observations(self, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[Any]:
        """What every row shows; of these rows, what it shows anew."""
        emission = self.model.emission
        if emission is None:
            return self._states.copy()
        self._observed[rows] = emission.observe(
            self._states[rows], self._noise_keys[rows], self._counters[rows] - 1
        )
        return self._observed.copy()

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
        actions, most = np.asarray(actions), self._actions
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"{self.num_envs} rows need {self.num_envs} integer actions, "
                f"got {actions.dtype} {actions.shape}"
            )
        if actions.min() < 0 or actions.max() >= most:
            row = int(np.flatnonzero((actions < 0) | (actions >= most))[0])
            raise ValueError(f"an action is 0 to {most - 1}, got {actions[row]} in row {row}")
        return actions


def observation_space(model: TabularModel) -> spaces.Space[Any]:
    """What an environment of a model shows: an index, or a vector in its emission's bounds."""
    if model.emission is None:
        return spaces.Discrete(model.states)
    bound = np.float32(model.emission.bound)
    return spaces.Box(-bound, bound, (model.emission.dimension,), np.float32)


def _thresholds(model: TabularModel) -> NDArray[np.float64]:
    """Uniform numbers from the n-th of these on lead to the n-th successor or a later one.

    Returns:
        Ascending float64 `[states * actions, K - 1]`; one row where all are alike.
    """
    rows = model.probabilities.reshape(-1, model.probabilities.shape[2])
    if (rows == rows[0]).all():
        rows = rows[:1]
    last = rows.shape[1] - 1 - (rows[:, ::-1] > 0).argmax(axis=1)
    # Beyond the last possible successor rounding must not lead.
    beyond = np.arange(rows.shape[1] - 1) >= last[:, None]
    return np.where(beyond, _NEVER, np.cumsum(rows, axis=1)[:, :-1])
