"""An episode that may be ended early: does a method give termination a value of its own?"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from irlbench.envs.gridworld.tabular_model import TabularModel


@lru_cache(maxsize=32)
def early_termination(reward: float = -1.0, end: int = 1) -> TabularModel:
    """Early termination of seals (Gleave et al., 2020), after Kostrikov et al. (2019).

    Three states, two actions. The first state leads to the second whatever is done; there one
    action ends the episode and the other goes back. Every step pays the same, so that the best is
    to end as soon as possible where it is a cost, and never where it is a gain. A learnt reward of
    the wrong sign, or terminal states valued at zero by mistake, does the opposite.

    Args:
        reward: What every step pays.
        end: The action that ends the episode, 0 or 1.

    Raises:
        ValueError: If `end` is no action.
    """
    if end not in (0, 1):
        raise ValueError(f"end is action 0 or 1, got {end}")
    successors = np.array([[[1], [1]], [[0], [0]], [[2], [2]]], dtype=np.int32)
    successors[1, end] = 2
    return TabularModel(
        layout=("S.E",),
        cells=np.array([[0, 0], [0, 1], [0, 2]]),
        successors=successors,
        probabilities=np.ones(successors.shape),
        starts=np.array([0]),
        terminal=np.array([False, False, True]),
        rewards=np.full(3, float(reward)),
    )
