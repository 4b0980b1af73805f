"""Control environments, Gymnasium's and variants of them, one by one and in batches."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from irlbench.errors import IrlbenchError

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


def make_drawn(environment: str) -> gymnasium.Env[Any, Any]:
    """One environment that draws itself.

    Args:
        environment: Gymnasium id.

    Raises:
        IrlbenchError: If what it draws with is not installed; what to install is said.
    """
    view: dict[str, Any] = {}
    if _is_mujoco(environment):
        _require_opengl()
        quiet_mujoco()
        # The camera that goes with the robot; by default it would run out of the picture.
        view = {"camera_name": "track", "width": 320, "height": 320}
    env = gymnasium.make(environment, render_mode="rgb_array", disable_env_checker=True, **view)
    try:
        env.reset(seed=0)
        env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        raise IrlbenchError(f"{environment} cannot be drawn: {error}") from None
    return env


def _require_opengl() -> None:
    """Makes sure that MuJoCo can draw; without a screen, by EGL unless another way is chosen."""
    if sys.platform == "linux" and "DISPLAY" not in os.environ:
        # MuJoCo reads it when it is imported, and without it looks for a screen.
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        import mujoco

        context = mujoco.GLContext(16, 16)
        context.make_current()
        context.free()
    except Exception as error:  # of many kinds, from a missing library to a driver's refusal
        chosen = os.environ.get("MUJOCO_GL")
        raise IrlbenchError(
            f"MuJoCo draws with OpenGL, and finds none (MUJOCO_GL={chosen or 'not set'}): without "
            "a screen install EGL (Debian, Ubuntu: apt-get install libegl1) and set MUJOCO_GL=egl, "
            "or OSMesa (libosmesa6) and MUJOCO_GL=osmesa"
        ) from error


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
    if _is_mujoco(environment):
        quiet_mujoco()


def _is_mujoco(environment: str) -> bool:
    entry = str(gymnasium.spec(environment).entry_point)
    return ".mujoco" in entry or "ant_transfer" in entry


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
