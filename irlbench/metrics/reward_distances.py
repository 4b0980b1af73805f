"""Distances between rewards that no shaping and no positive scale can change, in exact form.

Each distance first takes a reward to a canonical one, the same for all rewards that differ by
potential-based shaping, r(s, a, s') + gamma Phi(s') - Phi(s); then divides it by its size; and then
halves the Euclidean distance of the two. So 0 is the same reward, 1 its negation, and 0.7 a reward
that has nothing to do with it. They differ in the canonical reward:

- STARC (Skalse et al., 2024): the advantage under one policy for all, the uniform one. It takes
  the mean over next states, and knows that episodes end in terminal states.
- EPIC (Gleave et al., 2021): takes off means over a distribution of states and actions, as if any
  state could follow any other. Centred, so that its distance is Pearson's, sqrt((1 - rho) / 2).
- DARD (Wulfe et al., 2022): as EPIC, but next states come from the dynamics.

EPIC and DARD tell a reward of transitions from its mean over next states, though no policy can. A
recovered reward of states and actions, such as tau log pi of an expert, holds shaping as such a
mean: where moves are random it is at 0 by STARC, and far by the others.

A constant reward has the canonical reward 0, which cannot be divided by its size: it stays 0. Two
constant rewards are at distance 0, and a constant one is at 1/2 from every other reward. (To STARC,
where episodes end, a constant reward is not trivial: it pays for staying alive.)

`canonical_rewards` says how each treats rewards of states, of actions and of transitions. None
counts what is paid for acting in a terminal state when it compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.metrics.canonical_rewards import (
    TabularReward,
    dard_canonical,
    distribution,
    epic_canonical,
    expected,
    per_successor,
    value_canonical,
)
from irlbench.tabular.dynamics import TabularDynamics

# A canonical reward that is smaller than this times the numbers it was made of is rounding.
_TRIVIAL = 1e-10


def starc_distance(
    dynamics: TabularDynamics,
    first: TabularReward,
    second: TabularReward,
    *,
    policy: NDArray[np.floating[Any]] | None = None,
    coverage: NDArray[np.floating[Any]] | None = None,
) -> float:
    """STARC with value canonicalisation and the L2 norm, halved (Skalse et al., 2024).

    Args:
        dynamics: S states, A actions; the discount, below 1.
        first: A reward.
        second: Another.
        policy: Of the canonicalisation, `[states, actions]`; None is the uniform policy.
        coverage: Weights of states and actions in the norm, `[states, actions]`; None weighs all
            alike. Terminal states are left out.

    Returns:
        0 to 1.

    Raises:
        UsageError: If a reward, the policy or the coverage is none of these dynamics, or the
            discount is 1.
    """
    standard = [
        starc_standard(dynamics, reward, policy=policy, coverage=coverage)
        for reward in (first, second)
    ]
    return half_distance(standard[0], standard[1], _pair_weights(dynamics, coverage))


def starc_standard(
    dynamics: TabularDynamics,
    reward: TabularReward,
    *,
    policy: NDArray[np.floating[Any]] | None = None,
    coverage: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """The standardised reward that `starc_distance` compares: canonical, and of norm 1.

    Args:
        dynamics: S states, A actions; the discount, below 1.
        reward: Any.
        policy: Of the canonicalisation, `[states, actions]`; None is the uniform policy.
        coverage: Weights of states and actions in the norm, `[states, actions]`; None weighs all
            alike. Terminal states are left out.

    Returns:
        float64 `[states, actions]`; all zero for a constant reward where no episode ends.

    Raises:
        UsageError: As `starc_distance`.
    """
    table = expected(dynamics, reward)
    canonical = value_canonical(dynamics, table, policy)
    # The values that cancel in the advantage of a constant reward are as large as this.
    scale = float(np.abs(table).max()) / (1 - dynamics.discount)
    return standardised(canonical, _pair_weights(dynamics, coverage), scale)


def epic_distance(
    dynamics: TabularDynamics,
    first: TabularReward,
    second: TabularReward,
    *,
    coverage: NDArray[np.floating[Any]] | None = None,
    states: NDArray[np.floating[Any]] | None = None,
    actions: NDArray[np.floating[Any]] | None = None,
) -> float:
    """EPIC, exact: sqrt((1 - rho) / 2) of the canonical rewards (Gleave et al., 2021).

    The transitions that it compares are those that can happen: a state and an action by the
    coverage, the next state by the dynamics.

    Args:
        dynamics: S states, A actions; the discount.
        first: A reward.
        second: Another.
        coverage: Weights of states and actions, `[states, actions]`; None weighs all alike.
            Terminal states are left out.
        states: D_S of the canonicalisation, `[states]`; None is uniform.
        actions: D_A of the canonicalisation, `[actions]`; None is uniform.

    Returns:
        0 to 1.

    Raises:
        UsageError: If a reward or a distribution is none of these dynamics, or a reward is an array
            per successor that does not say what transitions pay that cannot happen.
    """
    return _pearson_distance(
        dynamics,
        [epic_canonical(dynamics, r, states=states, actions=actions) for r in (first, second)],
        [per_successor(dynamics, r) for r in (first, second)],
        coverage,
    )


def dard_distance(
    dynamics: TabularDynamics,
    first: TabularReward,
    second: TabularReward,
    *,
    coverage: NDArray[np.floating[Any]] | None = None,
    actions: NDArray[np.floating[Any]] | None = None,
) -> float:
    """DARD, exact: sqrt((1 - rho) / 2) of the canonical rewards (Wulfe et al., 2022).

    Args:
        dynamics: S states, A actions; the discount.
        first: A reward.
        second: Another.
        coverage: Weights of states and actions, `[states, actions]`; None weighs all alike.
            Terminal states are left out.
        actions: D_A of the canonicalisation, `[actions]`; None is uniform.

    Returns:
        0 to 1.

    Raises:
        UsageError: As `epic_distance`.
    """
    return _pearson_distance(
        dynamics,
        [dard_canonical(dynamics, r, actions=actions) for r in (first, second)],
        [per_successor(dynamics, r) for r in (first, second)],
        coverage,
    )


def standardised(
    values: NDArray[np.float64], weights: NDArray[np.float64], scale: float
) -> NDArray[np.float64]:
    """Values divided by their weighted L2 norm; zero where they are but rounding.

    Args:
        values: `[...]`.
        weights: Of the same shape, sum to one.
        scale: Size of the numbers that the values were computed from.
    """
    norm = float(np.sqrt((weights * values**2).sum()))
    return np.zeros_like(values) if norm <= _TRIVIAL * scale else values / norm


def half_distance(
    first: NDArray[np.float64], second: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """Half the weighted L2 distance of two standardised rewards: 0 to 1.

    Args:
        first: `[...]`.
        second: Of the same shape.
        weights: Of the same shape, sum to one.
    """
    return min(1.0, float(np.sqrt((weights * (first - second) ** 2).sum())) / 2)


def _pearson_distance(
    dynamics: TabularDynamics,
    canonical: list[NDArray[np.float64]],
    rewards: list[NDArray[np.float64]],
    coverage: NDArray[np.floating[Any]] | None,
) -> float:
    """sqrt((1 - rho) / 2) over the transitions that can happen; all arrays `[S, A, K]`."""
    weights = _pair_weights(dynamics, coverage)[:, :, None] * dynamics.probabilities
    standard = [
        standardised(c - (weights * c).sum(), weights, float(np.abs(r).max()))
        for c, r in zip(canonical, rewards, strict=True)
    ]
    return half_distance(standard[0], standard[1], weights)


def _pair_weights(
    dynamics: TabularDynamics, coverage: NDArray[np.floating[Any]] | None
) -> NDArray[np.float64]:
    """Weights of states and actions, those of terminal states left out: sum to one."""
    weights = distribution("coverage", coverage, (dynamics.states, dynamics.actions))
    weights = np.where(dynamics.terminal[:, None], 0.0, weights)
    total = weights.sum()
    if not total > 0:
        raise UsageError("the coverage is on terminal states only: nothing can be compared there")
    return weights / total
