"""The gridworld tasks, each beside its variant for transfer."""

from __future__ import annotations

from typing import Any

from irlbench.data.annotator import SimulatedAnnotator
from irlbench.envs.gridworld.experts import ExpertModel
from irlbench.envs.gridworld.preferences import PreferencePool
from irlbench.envs.gridworld.task import GridworldTask
from irlbench.problem import Budget

#: Tells segments apart that differ by one unit of reward in 73 of 100 cases, by two in 88.
_ANNOTATOR = SimulatedAnnotator(temperature=1.0, tie_threshold=0.5)


def _with_transfer(
    name: str, environment: str, summary: str, transfer: str, **shared: Any
) -> tuple[GridworldTask, GridworldTask]:
    """A task, and the one in which a reward that was learnt in it is tried.

    Args:
        name: Of the task.
        environment: Name of its environment.
        summary: Of the task.
        transfer: Of its variant.
        **shared: What both are given.
    """
    return (
        GridworldTask(
            name=name,
            version=0,
            environment=f"irlbench/{environment}-v0",
            summary=summary,
            transfer=f"gridworld/{name}-transfer-v0",
            **shared,
        ),
        GridworldTask(
            name=f"{name}-transfer",
            version=0,
            environment=f"irlbench/{environment}Transfer-v0",
            summary=transfer,
            **shared,
        ),
    )


FOUR_ROOMS, FOUR_ROOMS_TRANSFER = _with_transfer(
    "four-rooms",
    "FourRooms",
    "four rooms, 104 cells, slip 0.1; +1 for every step in the goal hallway",
    "four rooms with a one-way door: the upper left room leads to the goal only round below",
    discount=0.99,
    expert=ExpertModel("maximum-causal-entropy", temperature=0.3),
    pool=200,
    demonstrations=20,
    budget=Budget(steps=100_000),
    preferences=PreferencePool(segment=20, annotator=_ANNOTATOR, given=200),
)
WINDY_CLIFF, WINDY_CLIFF_TRANSFER = _with_transfer(
    "windy-cliff",
    "WindyCliff",
    "72 cells, a cliff that costs 10, wind away from it; +1 for every step at the goal beyond",
    "the windy cliff with wind towards the cliff: the way along its edge is not safe any more",
    discount=0.95,
    expert=ExpertModel("maximum-causal-entropy", temperature=0.1),
    pool=200,
    demonstrations=5,
    budget=Budget(steps=100_000),
    preferences=PreferencePool(segment=10, annotator=_ANNOTATOR, given=500),
)
OBJECT_WORLD, OBJECT_WORLD_TRANSFER = _with_transfer(
    "object-world",
    "ObjectWorld",
    "32 x 32 cells with coloured objects, slip 0.3; a reward that is not linear in its features",
    "the object world in wind that blows every second step one cell to the right",
    discount=0.9,
    expert=ExpertModel("maximum-causal-entropy", temperature=0.1),
    pool=500,
    demonstrations=50,
    budget=Budget(steps=100_000),
    preferences=PreferencePool(segment=10, annotator=_ANNOTATOR, given=500),
)
GARNET, GARNET_TRANSFER = _with_transfer(
    "garnet",
    "Garnet",
    "a random world of 100 states, 5 actions, 3 successors each; a state in ten pays",
    "the random world with other successors",
    discount=0.95,
    expert=ExpertModel("boltzmann", temperature=0.05),
    pool=200,
    demonstrations=5,
    budget=Budget(steps=100_000),
    preferences=PreferencePool(
        segment=10, annotator=SimulatedAnnotator(temperature=0.2, tie_threshold=0.1), given=200
    ),
)
RISKY_PATH, RISKY_PATH_TRANSFER = _with_transfer(
    "risky-path",
    "RiskyPath",
    "four states: a detour to the goal, and a shortcut that ends in lava (-100) every second time",
    "the risky path with a safe shortcut and a risky detour",
    discount=0.9,
    expert=ExpertModel("maximum-causal-entropy", temperature=0.5),
    pool=200,
    demonstrations=20,
    budget=Budget(steps=20_000),
    preferences=PreferencePool(segment=5, annotator=_ANNOTATOR, given=50),
    note="a diagnostic: what keeps out of the lava scores 0.97 or more, behavioural cloning from one "
    "demonstration on",
)
EARLY_TERMINATION, EARLY_TERMINATION_TRANSFER = _with_transfer(
    "early-termination",
    "EarlyTermination",
    "three states, every step costs 1, one action ends the episode",
    "early termination by the other action",
    discount=0.9,
    expert=ExpertModel("optimal"),
    pool=200,
    demonstrations=20,
    budget=Budget(steps=20_000),
    preferences=PreferencePool(segment=10, annotator=_ANNOTATOR, given=50),
    note="a diagnostic: behavioural cloning reaches the expert from one demonstration; a constant "
    "reward above zero (`survival`) never ends and scores below the random policy",
)
COMBINATION_LOCK, COMBINATION_LOCK_TRANSFER = _with_transfer(
    "combination-lock",
    "CombinationLock",
    "12 steps, one of 10 actions right in each; states are seen as noisy vectors",
    "the lock with another combination, and the reward that goes by the old one",
    discount=0.99,
    expert=ExpertModel("optimal"),
    pool=200,
    demonstrations=20,
    budget=Budget(steps=100_000),
    preferences=PreferencePool(segment=12, annotator=_ANNOTATOR, given=200),
    hidden_state=True,
)
