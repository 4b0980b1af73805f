"""A safe detour and a risky shortcut: does a method know what an agent can control?"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from irlbench.envs.gridworld.tabular_model import TabularModel

START, DETOUR, GOAL, LAVA = range(4)
SAFE, RISKY = range(2)


@lru_cache(maxsize=32)
def risky_path(risk: float = 0.5, detour_risk: float = 0.0, lava: float = -100.0) -> TabularModel:
    """The risky path of seals (Gleave et al., 2020), two actions.

    From the start, action 0 leads to the detour and from there action 0 to the goal (action 1
    waits). From the start, action 1 leads to the goal at once, or into the lava. Goal and lava are
    left no more. An agent that thinks of luck as of a choice (maximum entropy over trajectories,
    Ziebart et al., 2008) takes the shortcut; one that knows what it controls (maximum causal
    entropy, Ziebart et al., 2010) does not.

    Args:
        risk: Probability that the shortcut ends in the lava.
        detour_risk: Probability that the detour does.
        lava: What a step in the lava pays; one in the goal pays 1.

    Raises:
        ValueError: If a risk is no probability.
    """
    for name, value in (("risk", risk), ("detour_risk", detour_risk)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be a probability, got {value}")
    successors = np.empty((4, 2, 2), dtype=np.int32)
    successors[:] = np.arange(4)[:, None, None]
    probabilities = np.zeros((4, 2, 2))
    probabilities[:, :, 0] = 1.0
    successors[START, SAFE] = DETOUR
    for place, chance in (((DETOUR, SAFE), detour_risk), ((START, RISKY), risk)):
        successors[place] = GOAL, LAVA
        probabilities[place] = 1 - chance, chance
    return TabularModel(
        layout=("S.G", "  L"),
        cells=np.array([[0, 0], [0, 1], [0, 2], [1, 2]]),
        successors=successors,
        probabilities=probabilities,
        starts=np.array([START]),
        terminal=np.zeros(4, dtype=bool),
        rewards=np.array([0.0, 0.0, 1.0, lava]),
    )
