"""Other hidden rewards, put inside an environment's implementation.

An environment that keeps its reward (a table, a function) says how to change it: a method
`alter_reward(change)`. Any other has the reward changed in the `step` of its innermost object, by
a class made for it: whoever digs the environment out meets the changed reward too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from irlbench.errors import IrlbenchError

Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]
#: Draws of the independent reward; any seed would do.
_NOISE_SEED = 0x5EED


class HiddenRewardRead(IrlbenchError):
    """Somebody has read a reward that is hidden."""


class Unreadable:
    """In place of rewards: whatever is done with it raises."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise HiddenRewardRead("the hidden reward of the environment was read")

    __getattr__ = __getitem__ = __iter__ = __len__ = __array__ = __bool__ = _raise
    __float__ = __int__ = __index__ = __abs__ = __neg__ = __str__ = __repr__ = __format__ = _raise
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _raise
    __rtruediv__ = __pow__ = __lt__ = __le__ = __gt__ = __ge__ = __reduce_ex__ = _raise
    __eq__ = __ne__ = __hash__ = _raise


def _noise() -> Change:
    draws = np.random.default_rng(_NOISE_SEED)
    return lambda rewards: draws.normal(size=rewards.shape)


def _nan(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full_like(rewards, np.nan)


#: Name of a hidden reward to what makes it of the true one, for one process.
CHANGES: Mapping[str, Callable[[], Change]] = {
    "true": lambda: lambda rewards: rewards,
    "negated": lambda: np.negative,
    "noise": _noise,
    "nan": lambda: _nan,
    "unreadable": lambda: _nan,  # what is stored; what `step` gives cannot be read at all
}


class Alteration:
    """Changes the hidden reward of environments, and counts the rewards that were paid.

    Args:
        name: One of `CHANGES`.
        safe_info: Keys of `info` that the task shows learners.
    """

    def __init__(self, name: str, safe_info: frozenset[str]) -> None:
        self._change, self._unreadable = CHANGES[name](), name == "unreadable"
        self._idle, self._safe = name == "true", safe_info
        self.paid = 0

    def apply(self, env: VectorEnv[Any, Any, Any]) -> VectorEnv[Any, Any, Any]:
        """Changes an environment, and everything in it that pays rewards.

        Args:
            env: A true environment that nobody has stepped yet.

        Returns:
            The same object.
        """
        rows = [row.unwrapped for row in getattr(env, "envs", ())]
        for row in rows:
            self._alter(row, self._of_row)
        if rows:
            self._step_through(env, self._beside)
        else:
            self._alter(env, self._of_batch)
        self._step_through(env, self._delivered)
        return env

    def _alter(self, part: Any, change: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        """By the way that the environment has for it, else by its `step`."""
        alter = getattr(part, "alter_reward", None)
        if alter is not None:
            alter(self._change)
        else:
            self._step_through(part, change)

    def _step_through(self, env: Any, change: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        """Gives an object a class of its own, whose `step` changes reward and `info`."""
        kind = type(env)

        def step(self: Any, *arguments: Any, **named: Any) -> Any:
            observation, reward, terminated, truncated, info = kind.step(self, *arguments, **named)
            reward, info = change(reward, info)
            return observation, reward, terminated, truncated, info

        own = {"step": step, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
        env.__class__ = type(kind.__name__, (kind,), own)

    def _of_batch(self, reward: Any, info: Any) -> tuple[Any, Any]:
        return self._changed(reward), self._terms(info, self._tells)

    def _of_row(self, reward: Any, info: Any) -> tuple[Any, Any]:
        """Rewards by name only: a batch of rows cannot take every number there is."""
        return self._changed(reward), self._terms(info, _is_reward)

    def _beside(self, reward: Any, info: Any) -> tuple[Any, Any]:
        """What else could tell the reward, once the rows are one batch."""
        return reward, self._terms(info, lambda key: self._tells(key) and not _is_reward(key))

    def _changed(self, value: Any) -> Any:
        values = np.asarray(value)
        if self._idle or values.dtype.kind not in "fiu":
            return value
        changed = self._change(values.astype(np.float64))
        return changed if values.ndim else float(changed)

    def _delivered(self, reward: Any, info: Any) -> tuple[Any, Any]:
        """What leaves the batch: counted, and closed where nobody may read it."""
        self.paid += int(np.size(reward))
        if self._unreadable:
            return Unreadable(), self._closed(info)
        return reward, info

    def _terms(self, info: Mapping[str, Any], told: Callable[[str], bool]) -> dict[str, Any]:
        """`info` with every number changed that could tell the reward."""
        return {
            key: self._terms(value, told)
            if isinstance(value, Mapping)
            else (self._changed(value) if told(key) else value)
            for key, value in info.items()
        }

    def _closed(self, info: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: self._closed(value)
            if isinstance(value, Mapping)
            else (Unreadable() if self._tells(key) else value)
            for key, value in info.items()
        }

    def _tells(self, key: str) -> bool:
        """Whether a number under this key is hidden, or is a reward by its name."""
        return _is_reward(key) or (
            key not in self._safe and key != "final_obs" and not key.startswith("_")
        )


def _is_reward(key: str) -> bool:
    return "reward" in key and not key.startswith("_")
