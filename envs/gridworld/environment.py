"""The registered environments: maps, and worlds by name, single and batched."""

from __future__ import annotations

from typing import Any

from irlbench.envs.gridworld.model import gridworld_model
from irlbench.envs.gridworld.tabular_environment import TabularEnv, TabularVectorEnv
from irlbench.envs.gridworld.worlds import build_world


class GridworldEnv(TabularEnv):
    """A gridworld drawn as a map; see `gridworld_model`.

    Args:
        layout: The map.
        slip: Probability that a random move replaces the chosen one.
        wind: Probability of a gust in cells that have wind.
        render_mode: "ansi", "rgb_array" or None.
    """

    def __init__(
        self, layout: str, slip: float = 0.0, wind: float = 0.0, render_mode: str | None = None
    ) -> None:
        super().__init__(gridworld_model(layout, slip, wind), render_mode)


class GridworldVectorEnv(TabularVectorEnv):
    """A batch of gridworlds drawn as a map; see `GridworldEnv` and `TabularVectorEnv`.

    Args:
        num_envs: Rows.
        layout: The map.
        slip: Probability that a random move replaces the chosen one.
        max_episode_steps: Steps after which an episode is truncated; None for no limit.
        wind: Probability of a gust in cells that have wind.
        render_mode: "ansi", "rgb_array" or None.
    """

    def __init__(
        self,
        num_envs: int,
        layout: str,
        slip: float = 0.0,
        max_episode_steps: int | None = None,
        wind: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        model = gridworld_model(layout, slip, wind)
        super().__init__(num_envs, model, max_episode_steps, render_mode)


class WorldEnv(TabularEnv):
    """A world by name, with its parameters; see `build_world`.

    Args:
        world: One of `WORLDS`.
        render_mode: "ansi", "rgb_array" or None.
        **parameters: Of the world.
    """

    def __init__(self, world: str, render_mode: str | None = None, **parameters: Any) -> None:
        super().__init__(build_world(world, **parameters), render_mode)


class WorldVectorEnv(TabularVectorEnv):
    """A batch of worlds by name; see `WorldEnv` and `TabularVectorEnv`.

    Args:
        num_envs: Rows.
        world: One of `WORLDS`.
        max_episode_steps: Steps after which an episode is truncated; None for no limit.
        render_mode: "ansi", "rgb_array" or None.
        **parameters: Of the world.
    """

    def __init__(
        self,
        num_envs: int,
        world: str,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(num_envs, build_world(world, **parameters), max_episode_steps, render_mode)
