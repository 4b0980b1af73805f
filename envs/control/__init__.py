"""Control: Gymnasium's classic and MuJoCo environments, and variants of them."""

from __future__ import annotations

from typing import Any

_MUJOCO = "gymnasium.envs.mujoco"


def _never_ending(name: str, entry_point: str) -> dict[str, Any]:
    """A MuJoCo environment of Gymnasium's whose robot may fall, and lie, and get up again."""
    return {
        "id": f"irlbench/{name}-v0",
        "entry_point": f"{_MUJOCO}.{entry_point}",
        "max_episode_steps": 1000,
        "kwargs": {"terminate_when_unhealthy": False},
    }


def _system(name: str, module: str, kind: str, steps: int, **arguments: Any) -> dict[str, Any]:
    """A system in NumPy, single and batched."""
    return {
        "id": f"irlbench/{name}-v0",
        "entry_point": f"irlbench.envs.control.{module}:{kind}Env",
        "vector_entry_point": f"irlbench.envs.control.{module}:{kind}VectorEnv",
        "max_episode_steps": steps,
        "kwargs": arguments,
    }


ENVIRONMENTS: tuple[dict[str, Any], ...] = (
    _system("CartPoleFixed", "cartpole_fixed", "CartPoleFixed", 500),
    _never_ending("HopperFixed", "hopper_v5:HopperEnv"),
    _never_ending("Walker2dFixed", "walker2d_v5:Walker2dEnv"),
    _never_ending("AntFixed", "ant_v5:AntEnv"),
    _never_ending("HumanoidFixed", "humanoid_v5:HumanoidEnv"),
    {
        "id": "irlbench/AntTransfer-v0",
        "entry_point": "irlbench.envs.control.ant_transfer:AntTransferEnv",
        "max_episode_steps": 1000,
    },
    _system("PointMaze", "point_maze", "PointMaze", 100, opening="right"),
    _system("PointMazeTransfer", "point_maze", "PointMaze", 100, opening="left"),
)
