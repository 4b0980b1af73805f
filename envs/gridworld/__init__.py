"""Gridworlds: everything can be computed exactly."""

from __future__ import annotations

from typing import Any

from irlbench.envs.gridworld import maps


def _environment(name: str, steps: int, **arguments: Any) -> dict[str, Any]:
    """A declaration: of a map, or of a world by name, with the parameters that its id fixes."""
    kind = "Gridworld" if "layout" in arguments else "World"
    return {
        "id": f"irlbench/{name}-v0",
        "entry_point": f"irlbench.envs.gridworld.environment:{kind}Env",
        "vector_entry_point": f"irlbench.envs.gridworld.environment:{kind}VectorEnv",
        "max_episode_steps": steps,
        "kwargs": arguments,
    }


# Every parameter is named, defaults too: they are part of what a task's version fixes.
_OBJECTS = {
    "world": "object-world",
    "size": 32,
    "objects": 50,
    "colours": 2,
    "slip": 0.3,
    "seed": 0,
}
_GARNET = {
    "world": "garnet",
    "states": 100,
    "actions": 5,
    "branching": 3,
    "paying": 0.1,
    "reward": "state",
    "seed": 0,
}
_RISKY = {"world": "risky-path", "lava": -100.0}
_EARLY = {"world": "early-termination", "reward": -1.0}
_LOCK = {
    "world": "combination-lock",
    "length": 12,
    "actions": 10,
    "swap": 0.5,
    "noise": 0.17,
    "treasure": 5.0,
    "decoy": 0.1,
    "seed": 0,
}

#: Every task has a variant of the same states, actions and reward whose dynamics are others.
ENVIRONMENTS: tuple[dict[str, Any], ...] = (
    _environment("FourRooms", 100, layout=maps.FOUR_ROOMS, slip=0.1),
    _environment("FourRoomsTransfer", 100, layout=maps.FOUR_ROOMS_ONE_WAY, slip=0.1, wind=1.0),
    _environment("WindyCliff", 100, layout=maps.WINDY_CLIFF, slip=0.0, wind=0.3),
    _environment("WindyCliffTransfer", 100, layout=maps.WINDY_CLIFF_TOWARDS, slip=0.0, wind=0.3),
    _environment("ObjectWorld", 20, **_OBJECTS, wind=0.0),
    _environment("ObjectWorldTransfer", 20, **_OBJECTS, wind=0.5),
    _environment("Garnet", 50, **_GARNET, dynamics_seed=0),
    _environment("GarnetTransfer", 50, **_GARNET, dynamics_seed=1),
    _environment("RiskyPath", 5, **_RISKY, risk=0.5, detour_risk=0.0),
    _environment("RiskyPathTransfer", 5, **_RISKY, risk=0.0, detour_risk=0.5),
    _environment("EarlyTermination", 10, **_EARLY, end=1),
    _environment("EarlyTerminationTransfer", 10, **_EARLY, end=0),
    _environment("CombinationLock", 12, **_LOCK, dynamics_seed=0),
    _environment("CombinationLockTransfer", 12, **_LOCK, dynamics_seed=1),
)
