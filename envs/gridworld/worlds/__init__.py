"""The worlds by name: each is a function from its parameters to a `TabularModel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.errors import UnknownNameError
from irlbench.serialisation import load_named_class

#: Name to where the function is. It is called with the parameters, and gives the same model for
#: the same parameters, on every machine.
WORLDS: Mapping[str, str] = {
    "map": "irlbench.envs.gridworld.model:gridworld_model",
    "object-world": "irlbench.envs.gridworld.worlds.object_world:object_world",
    "garnet": "irlbench.envs.gridworld.worlds.garnet:garnet",
    "risky-path": "irlbench.envs.gridworld.worlds.risky_path:risky_path",
    "early-termination": "irlbench.envs.gridworld.worlds.early_termination:early_termination",
    "combination-lock": "irlbench.envs.gridworld.worlds.combination_lock:combination_lock",
}


def build_world(world: str = "map", **parameters: Any) -> TabularModel:
    """The model of a world.

    Args:
        world: One of `WORLDS`.
        **parameters: Of the world's function.

    Raises:
        UnknownNameError: If there is no such world.
        TypeError: If it has no such parameter.
        ValueError: If a parameter's value cannot be used.
    """
    if world not in WORLDS:
        raise UnknownNameError("world", world, WORLDS)
    model: TabularModel = load_named_class(WORLDS[world])(**parameters)
    return model
