"""A lock that one right action per step opens, seen through noisy vectors: a Block MDP."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.gridworld.emission import Emission
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.envs.gridworld.worlds.random_numbers import drawn

_LEFT, _RIGHT, _DEAD = range(3)


@lru_cache(maxsize=32)
def combination_lock(
    length: int = 12,
    actions: int = 10,
    swap: float = 0.5,
    noise: float = 0.17,
    treasure: float = 5.0,
    decoy: float = 0.1,
    seed: int = 0,
    dynamics_seed: int = 0,
) -> TabularModel:
    """The diabolical combination lock of HOMER (Misra et al., 2020), also in MusIK (2023).

    At each of `length` steps there are two live states and a dead one. In a live state one action
    goes on, to the same or the other live state of the next step; every other leads to the dead
    states, which nothing leaves. The right action of the last step pays the treasure; a wrong one
    in a live state pays the decoy, so that greed leads away. Then the episode ends.

    Observed is a rotated code of the kind of state (3 places) and the step (length + 1 places),
    with noise: uniform where the paper's is Gaussian, of the same standard deviation (0.1) for
    0.17, so that states can always be told apart. The latent state is 3 x step + kind, and
    3 x length at the end.

    Args:
        length: Steps of an episode.
        actions: How many there are to choose from.
        swap: Probability that the right action changes to the other live state.
        noise: Largest noise per coordinate, below 0.25.
        treasure: What opening the lock pays.
        decoy: What a wrong action in a live state pays.
        seed: Of the combination that the reward goes by.
        dynamics_seed: Of the combination that the lock opens by; where it is another, the reward
            is the same table of (state, action), and the way to earn it another.

    Raises:
        ValueError: If a number or probability cannot be, or the noise hides the state.
    """
    if length < 1 or actions < 2:
        raise ValueError(f"a lock has a step and two actions, got {length} and {actions}")
    if not 0.0 <= swap <= 1.0:
        raise ValueError(f"swap must be a probability, got {swap}")
    states = 3 * length + 1
    step, kind = np.divmod(np.arange(states), 3)
    paid, opens = _combination(seed, length, actions), _combination(dynamics_seed, length, actions)
    successors, probabilities = _transitions(opens, actions, swap)
    rewards = np.zeros((states, actions))
    for live in (_LEFT, _RIGHT):
        rewards[live:-1:3] = decoy
        rewards[3 * np.arange(length) + live, paid[:, live]] = 0.0
        rewards[3 * (length - 1) + live, paid[-1, live]] = treasure
    return TabularModel(
        layout=("." * length + " ", "." * length + "E", "x" * length + " "),
        cells=np.stack([np.where(step < length, kind, 1), step], axis=1),
        successors=successors,
        probabilities=probabilities,
        starts=np.array([_LEFT, _RIGHT]),
        terminal=step == length,
        rewards=rewards,
        emission=Emission(_codes(step, np.where(step < length, kind, _DEAD), length), noise),
    )


def _combination(seed: int, length: int, actions: int) -> NDArray[np.int64]:
    """The right action of each step in the two live states, `[length, 2]`."""
    return (drawn(seed, 0, length, 2) * actions).astype(np.int64)


def _transitions(
    opens: NDArray[np.int64], actions: int, swap: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Successors and probabilities, `[3 length + 1, actions, 2]`: right actions stay or swap."""
    length = len(opens)
    end = 3 * length
    step = np.arange(length)
    successors = np.full((end + 1, actions, 2), end, dtype=np.int32)
    probabilities = np.zeros(successors.shape)
    probabilities[..., 0] = 1.0
    successors[:-1] = np.repeat(np.minimum(3 * (step + 1) + _DEAD, end), 3)[:, None, None]
    for live, other in ((_LEFT, _RIGHT), (_RIGHT, _LEFT)):
        places = (3 * step + live, opens[:, live])
        following = [np.minimum(3 * (step + 1) + kind, end) for kind in (live, other)]
        successors[places] = np.stack(following, axis=1)
        probabilities[places] = 1 - swap, swap
    return successors, probabilities


def _codes(step: NDArray[np.int64], kind: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """One-hot kind beside one-hot step, `[states, D]`, D the least power of two that holds both."""
    dimension = 1 << (3 + length).bit_length()
    codes = np.zeros((len(step), dimension))
    codes[np.arange(len(step)), kind] = 1.0
    codes[np.arange(len(step)), 3 + step] = 1.0
    return codes
