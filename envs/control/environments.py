"""Control environments, Gymnasium's and variants of them, one by one and in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

_log = logging.getLogger(__name__)


class CartPoleBatch(CartPoleVectorEnv):
    """Gymnasium's batched CartPole, which can also begin single rows anew.

    `reset(options={"reset_mask": mask})` does what it does in Gymnasium's `SyncVectorEnv`; the
    parent class would restart every row.
    """

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins new episodes, in all rows or in those of `options["reset_mask"]`."""
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        if mask is None:
            return super().reset(seed=seed, options=options)
        state: Any = self.state
        if state is None:
            raise RuntimeError("reset every row once before single rows")
        if seed is not None:
            raise ValueError("single rows continue the batch's random numbers: give no seed")
        rows = np.asarray(mask, dtype=bool)
        state[:, rows] = self.np_random.uniform(self.low, self.high, (4, int(rows.sum())))
        self.steps[rows] = 0
        self.prev_done[rows] = False
        return state.T.astype(np.float32), {}


#: Environments with a batched form of their own; the others are stepped one after the other.
_BATCHED: dict[str, Callable[[int], VectorEnv[Any, Any, Any]]] = {
    "CartPole-v1": lambda rows: CartPoleBatch(num_envs=rows, max_episode_steps=500)
}


def make_one(environment: str) -> gymnasium.Env[Any, Any]:
    """One environment, its checker off.

    Args:
        environment: Gymnasium id.
    """
    _mute_mujoco(environment)
    return gymnasium.make(environment, disable_env_checker=True)


def make_batch(environment: str, rows: int) -> VectorEnv[Any, Any, Any]:
    """A batch with next-step autoreset, in which single rows can be reset (`reset_mask`).

    Args:
        environment: Gymnasium id.
        rows: Rows of the batch.
    """
    if environment in _BATCHED:
        return _BATCHED[environment](rows)
    if environment.startswith("irlbench/") and gymnasium.spec(environment).vector_entry_point:
        mode = gymnasium.VectorizeMode.VECTOR_ENTRY_POINT
        return gymnasium.make_vec(environment, num_envs=rows, vectorization_mode=mode)
    return SyncVectorEnv([partial(make_one, environment) for _ in range(rows)])


def _mute_mujoco(environment: str) -> None:
    entry = str(gymnasium.spec(environment).entry_point)
    if ".mujoco" in entry:
        quiet_mujoco()


@cache
def quiet_mujoco() -> None:
    """Sends MuJoCo's warnings to the log of this module. To be called before a model is loaded."""
    import mujoco

    def tell(text: str) -> None:
        # Every batch loads Gymnasium's model files, and what is old in them is not ours to mend.
        level = logging.DEBUG if "deprecated" in text else logging.WARNING
        _log.log(level, "MuJoCo: %s", text)

    # MuJoCo would write MUJOCO_LOG.TXT into the working directory.
    mujoco.set_mju_user_warning(tell)
