"""Random finite worlds without any geometry."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.tabular_model import TabularModel, square_picture
from irlbench.envs.gridworld.worlds.random_numbers import drawn

_SUCCESSORS, _PROBABILITIES, _REWARDS, _PAYING = range(4)


@lru_cache(maxsize=32)
def garnet(
    states: int = 100,
    actions: int = 5,
    branching: int = 3,
    paying: float = 0.1,
    reward: Literal["state", "state-action", "transition"] = "state",
    seed: int = 0,
    dynamics_seed: int = 0,
) -> TabularModel:
    """Garnet(S, A, b): each state and action leads to b random states (Archibald et al., 1995).

    The successors are drawn without replacement; their probabilities are the lengths of the pieces
    that b - 1 uniform cuts leave of [0, 1]. Few entries of the reward table pay, each an amount
    drawn uniformly from [0, 1), as in Piot, Geist and Pietquin (2014). Episodes start anywhere.

    Args:
        states: Number of states S.
        actions: Number of actions A.
        branching: Successors b of each state and action.
        paying: Expected share of the reward table that is not 0.
        reward: What it depends on.
        seed: Of the reward.
        dynamics_seed: Of the transitions.

    Raises:
        ValueError: If a number or share cannot be.
    """
    if not 1 <= branching <= states:
        raise ValueError(f"branching must be 1 to {states} (states), got {branching}")
    if actions < 1:
        raise ValueError(f"actions must be at least 1, got {actions}")
    if not 0.0 <= paying <= 1.0:
        raise ValueError(f"paying must be a share, from 0 to 1, got {paying}")
    shape = {"state": 1, "state-action": 2, "transition": 3}
    if reward not in shape:
        raise ValueError(f"reward is by {', '.join(shape)}, got {reward!r}")
    cuts = np.sort(drawn(dynamics_seed, _PROBABILITIES, states, actions, branching - 1), axis=2)
    ends = np.pad(cuts, ((0, 0), (0, 0), (1, 1)), constant_values=(0.0, 1.0))
    table = (states, actions, branching)[: shape[reward]]
    amounts, chosen = drawn(seed, _REWARDS, *table), drawn(seed, _PAYING, *table)
    layout, cells = square_picture(states)
    return TabularModel(
        layout=layout,
        cells=cells,
        successors=_without_replacement(
            drawn(dynamics_seed, _SUCCESSORS, states, actions, branching), states
        ),
        probabilities=np.diff(ends, axis=2),
        starts=np.arange(states),
        terminal=np.zeros(states, dtype=bool),
        rewards=np.where(chosen < paying, amounts, 0.0),
    )


def _without_replacement(uniform: NDArray[np.float64], states: int) -> NDArray[np.int32]:
    """Sets of distinct states, one per leading index, by Floyd's algorithm.

    Args:
        uniform: Numbers in [0, 1), `[..., b]`.
        states: How many there are to draw from.

    Returns:
        int32 `[..., b]`; every set is equally likely.
    """
    size = uniform.shape[-1]
    found = np.empty(uniform.shape, dtype=np.int32)
    for place, last in enumerate(range(states - size, states)):
        drawn_here = (uniform[..., place] * (last + 1)).astype(np.int32)
        taken = (found[..., :place] == drawn_here[..., None]).any(axis=-1)
        found[..., place] = np.where(taken, last, drawn_here)
    return found
