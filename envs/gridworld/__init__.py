"""Gridworlds: everything can be computed exactly."""

from __future__ import annotations

from typing import Any

from irlbench.envs.gridworld.maps import FOUR_ROOMS

ENVIRONMENTS: tuple[dict[str, Any], ...] = (
    {
        "id": "irlbench/FourRooms-v0",
        "entry_point": "irlbench.envs.gridworld.environment:GridworldEnv",
        "vector_entry_point": "irlbench.envs.gridworld.environment:GridworldVectorEnv",
        "max_episode_steps": 100,
        "kwargs": {"layout": FOUR_ROOMS, "slip": 0.1},
    },
)
