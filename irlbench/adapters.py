"""Batched Gymnasium environments as Stable-Baselines3 sees them. Imported where it is used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv  # noqa: TID253 - imported late itself

from irlbench.reward import RewardFunction


class GymnasiumVecEnv(VecEnv):
    """A Stable-Baselines3 `VecEnv` made of a batched Gymnasium environment.

    Stable-Baselines3 wants the first observation of the next episode in the very step that ends
    one, and the last observation beside it, in `info["terminal_observation"]`. Where the batch
    resets with the next step, the rows that ended are reset at once by `reset_mask`: no step is
    spent on a reset, and no reset appears as a transition. `info["TimeLimit.truncated"]` tells a
    cut episode, whose last value is bootstrapped, from one that terminated.

    Args:
        env: A batch with arrays as observations. With next-step autoreset, or none, it must honour
            `reset(options={"reset_mask": ...})`; with same-step autoreset it must give
            `info["final_obs"]`.
        reward: Pays in place of the environment; None passes on what the environment pays.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], reward: RewardFunction | None = None) -> None:
        self._env, self._reward = env, reward
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._actions: NDArray[Any] = np.zeros(0)
        self._last: NDArray[Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> NDArray[Any]:
        """Begins new episodes in all rows; a seed given to `seed` is used once."""
        seed = self._seeds[0]
        self._last, _ = self._env.reset(seed=None if seed is None else int(seed))
        self._reset_seeds()
        self._reset_options()
        return np.array(self._last)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Steps every row; rows that ended give the first observation of their next episode.

        Raises:
            RuntimeError: Before the first `reset`.
            TypeError: If the batch cannot reset single rows.
        """
        if self._last is None:
            raise RuntimeError("call reset before step")
        observations, rewards, terminated, truncated, info = self._env.step(self._actions)
        done = terminated | truncated
        final = np.array(observations)
        if done.any():
            if self._mode is AutoresetMode.SAME_STEP:
                final[done] = np.stack([info["final_obs"][i] for i in np.flatnonzero(done)])
            else:
                observations = self._restart(final, done)
        if self._reward is not None:
            rewards = self._reward(self._last, self._actions, final, terminated)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(done):
            infos[i]["terminal_observation"] = final[i]
            infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        self._last = np.array(observations)
        return self._last.copy(), np.asarray(rewards, dtype=np.float32), done, infos

    def _restart(self, final: NDArray[Any], done: NDArray[np.bool_]) -> NDArray[Any]:
        """Resets the rows that ended, and makes sure that the others went on."""
        observations, _ = self._env.reset(options={"reset_mask": done.copy()})
        if not np.array_equal(observations[~done], final[~done], equal_nan=True):
            raise TypeError(
                "this batched environment restarts every row on reset(options={'reset_mask': ...})"
                ": it must restart those of the mask only, or use same-step autoreset"
            )
        return observations

    def close(self) -> None:
        """Closes the batch."""
        self._env.close()

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """An attribute of the batch, once per row asked for."""
        return [getattr(self._env, attr_name)] * len(self._rows(indices))

    def set_attr(
        self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None
    ) -> None:
        """Refused: rows of a batch have no attributes of their own."""
        raise NotImplementedError("rows of a batched environment have no attributes of their own")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: int | Iterable[int] | None = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Refused: rows of a batch have no methods of their own."""
        raise NotImplementedError("rows of a batched environment have no methods of their own")

    def env_is_wrapped(
        self, wrapper_class: Any, indices: int | Iterable[int] | None = None
    ) -> list[bool]:
        """No row is wrapped by itself."""
        return [False] * len(self._rows(indices))

    def _rows(self, indices: int | Iterable[int] | None) -> Sequence[int]:
        if indices is None:
            return range(self.num_envs)
        return [indices] if isinstance(indices, int) else list(indices)
