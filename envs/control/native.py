"""Small systems in NumPy as Gymnasium environments: one at a time, and natively batched.

A system is random in where episodes begin, and never ends by itself: `gymnasium.make` adds the time
limit. Random numbers are a function of (seed, episode), so that row i of a batch reset with seed s is
the single environment reset with s + i, step for step, through every autoreset.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from irlbench.randomness import row_keys, uniforms

#: A counter is episode * 2**32 + numbers drawn in this episode.
_EPISODE = 2**32


class System(ABC):
    """What moves. States are float64 `[variables, rows]`: every variable of a batch in one piece.

    Attributes:
        numbers: How many uniform numbers the start of an episode takes.
        observation_space: Of one row.
        action_space: Of one row.
    """

    numbers: ClassVar[int]
    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.Space[Any]

    @abstractmethod
    def start(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """First states.

        Args:
            uniform: Numbers in [0, 1), `[numbers, rows]`.
        """

    @abstractmethod
    def advance(
        self, states: NDArray[np.float64], actions: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One step of every row.

        Args:
            states: `[variables, rows]`.
            actions: `[rows]` or `[rows, dimensions]`, of the space's shape and kind.

        Returns:
            The next states, and the rewards `[rows]`.
        """

    @abstractmethod
    def observe(self, states: NDArray[np.float64]) -> NDArray[np.float32]:
        """What the rows show, `[rows, dimensions]`."""

    @abstractmethod
    def draw(self, state: NDArray[np.float64]) -> NDArray[np.uint8]:
        """A picture of one state `[variables]`: `[height, width, 3]`."""

    def checked(self, actions: Any, rows: int) -> NDArray[Any]:
        """Actions as an array, if there is a whole one per row.

        Raises:
            ValueError: If there is not, or one is not a number.
        """
        found = np.asarray(actions)
        space = self.action_space
        wanted = (rows, *(space.shape or ()))
        kinds = "iu" if isinstance(space, gymnasium.spaces.Discrete) else "fiu"
        if found.shape != wanted or found.dtype.kind not in kinds:
            raise ValueError(f"actions are {wanted} of {space}, got {found.dtype} {found.shape}")
        if isinstance(space, gymnasium.spaces.Discrete):
            legal = ((found >= 0) & (found < space.n)).all()
        else:
            legal = np.isfinite(found).all()
        if not legal:
            raise ValueError(f"actions are of {space}, got {found.tolist()}")
        return found


class SystemEnv(gymnasium.Env[Any, Any]):
    """One system. Resetting without a seed goes on to the next episode of the last seed.

    Args:
        system: What moves.
        render_mode: "rgb_array" or None.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - declared so by the base class
        "render_modes": ["rgb_array"],
        "render_fps": 50,
    }

    def __init__(self, system: System, render_mode: str | None = None) -> None:
        self.system, self.render_mode = system, render_mode
        self.observation_space, self.action_space = system.observation_space, system.action_space
        self._key: NDArray[np.uint64] | None = None
        self._episode = 0
        self._state: NDArray[np.float64] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        if seed is None and self._key is None:
            seed = int(self.np_random.integers(2**30))
        if seed is not None:
            self._key, self._episode = row_keys(np.array([seed])), 0
        else:
            self._episode += 1
        assert self._key is not None
        self._state = self.system.start(
            _numbers(self.system, self._key, np.array([self._episode], dtype=np.int64))
        )
        return self.system.observe(self._state)[0], {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Makes a step.

        Raises:
            ValueError: If the action is none of the space's.
            gymnasium.error.ResetNeeded: Before the first `reset`.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        actions = self.system.checked(np.asarray(action)[None], 1)
        self._state, rewards = self.system.advance(self._state, actions)
        return self.system.observe(self._state)[0], float(rewards[0]), False, False, {}

    def render(self) -> NDArray[np.uint8] | None:
        """A picture, uint8 `[height, width, 3]`."""
        if self.render_mode is None or self._state is None:
            return None
        return self.system.draw(self._state[:, 0])


class SystemVectorEnv(VectorEnv[NDArray[np.float32], NDArray[Any], NDArray[Any]]):
    """A batch of systems, stepped together, with next-step autoreset.

    Resetting a row without a seed goes on to the next episode of the row's last seed, as an
    autoreset does. `reset(options={"reset_mask": mask})` resets the rows that are set.

    Args:
        num_envs: Rows.
        system: What moves.
        max_episode_steps: Steps after which an episode is truncated; None for no limit.
        render_mode: "rgb_array" or None.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - declared so by the base class
        **SystemEnv.metadata,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        system: System,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ValueError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.num_envs, self.system, self.render_mode = num_envs, system, render_mode
        self.single_observation_space = system.observation_space
        self.single_action_space = system.action_space
        self.observation_space = batch_space(system.observation_space, num_envs)
        self.action_space = batch_space(system.action_space, num_envs)
        self._limit = max_episode_steps
        self._keys: NDArray[np.uint64] | None = None
        self._episodes = np.zeros(num_envs, dtype=np.int64)
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.zeros(num_envs, dtype=bool)
        self._states = np.zeros((0, num_envs))

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins episodes.

        Args:
            seed: Row i is seeded with seed + i, or with the i-th of a sequence.
            options: `reset_mask`, bool `[rows]`: which rows to reset; without it, all.

        Returns:
            The observations of all rows, `[rows, dimensions]`, and an empty dictionary.

        Raises:
            ValueError: If there are not as many seeds or mask values as rows, or a seed is
                negative.
            gymnasium.error.ResetNeeded: If the first reset leaves rows out.
        """
        given, rows = self._given(seed), self._rows(options)
        super().reset(seed=int(given[0]) if isinstance(seed, int | np.integer) else None)
        if self._keys is None:
            unseeded = np.flatnonzero(given < 0)
            given[unseeded] = self.np_random.integers(2**30, size=unseeded.size)
            self._keys = np.zeros(self.num_envs, dtype=np.uint64)
        seeded = rows[given[rows] >= 0]
        self._keys[seeded] = row_keys(given[seeded])
        self._episodes[seeded] = -1
        self._begin(rows)
        return self.system.observe(self._states), {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[
        NDArray[np.float32],
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Makes one step in every row; a row whose episode ended begins its next one instead.

        Args:
            actions: `[rows]` or `[rows, dimensions]`.

        Returns:
            Observations, rewards (0 in rows that begin), terminations (none), truncations, and an
            empty dictionary.

        Raises:
            ValueError: If there is not one of the space's actions per row.
            gymnasium.error.ResetNeeded: Before the first `reset`.
        """
        if self._keys is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        actions = self.system.checked(actions, self.num_envs)
        began = np.flatnonzero(self._ended)
        self._states, rewards = self.system.advance(self._states, actions)
        self._steps += 1
        if began.size:
            self._begin(began)
            rewards[began] = 0.0
        if self._limit is not None:
            self._ended = self._steps >= self._limit
        never = np.zeros(self.num_envs, dtype=bool)
        return self.system.observe(self._states), rewards, never, self._ended.copy(), {}

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One picture per row; see `SystemEnv.render`."""
        if self.render_mode is None or self._keys is None:
            return None
        return tuple(self.system.draw(state) for state in self._states.T)

    def _begin(self, rows: NDArray[np.int64]) -> None:
        """The next episode of these rows."""
        assert self._keys is not None
        self._episodes[rows] += 1
        begun = self.system.start(_numbers(self.system, self._keys[rows], self._episodes[rows]))
        if not self._states.size:
            self._states = np.zeros((len(begun), self.num_envs))
        self._states[:, rows] = begun
        self._steps[rows], self._ended[rows] = 0, False

    def _given(self, seed: int | Sequence[int | None] | None) -> NDArray[np.int64]:
        """The seed of each row, or -1 where none is given."""
        if seed is None:
            seed = [None] * self.num_envs
        elif isinstance(seed, int | np.integer):
            seed = [int(seed) + row for row in range(self.num_envs)]
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
        if self._keys is None and not mask.all():
            raise gymnasium.error.ResetNeeded("the first reset must reset every row")
        return np.flatnonzero(mask)


def _numbers(
    system: System, keys: NDArray[np.uint64], episodes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What starts the episodes of these rows, `[numbers, rows]`."""
    counters = episodes * _EPISODE + np.arange(system.numbers)[:, None]
    return uniforms(keys, counters)
