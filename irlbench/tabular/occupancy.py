"""Occupancy measures: how often a policy is in a state and takes an action there.

A policy is an array pi(a|s) `[states, actions]`, or pi_t(a|s) `[steps, states, actions]`, whose
last step goes on for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.tabular.chain import MarkovChain
from irlbench.tabular.dynamics import TabularDynamics

# Probabilities that a network gave in float32 sum to one within this.
_SUMS_TO_ONE = 1e-5


def policy_steps(
    dynamics: TabularDynamics, policy: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Checks a policy, and gives a stationary one an axis of time.

    Args:
        dynamics: S states, A actions.
        policy: `[states, actions]` or `[steps, states, actions]`.

    Returns:
        `[steps, states, actions]`, with one step if it is stationary.

    Raises:
        UsageError: If it has another shape, or holds numbers that are no distribution.
    """
    tables = np.asarray(policy)
    shape = (dynamics.states, dynamics.actions)
    if tables.shape[-2:] != shape or tables.ndim not in (2, 3) or not len(tables):
        raise UsageError(
            f"a policy here has shape {shape}, or a first axis of time more, got {tables.shape}"
        )
    tables = tables.reshape(-1, *shape)
    if not (tables.min() >= 0):  # also where one is NaN
        step, state, action = np.argwhere(~(tables >= 0))[0].tolist()
        raise UsageError(
            f"state {state}, action {action}: probability {tables[step, state, action]} "
            f"in the policy of step {step}"
        )
    sums = tables.sum(axis=2)
    if not (np.abs(sums - 1).max() <= _SUMS_TO_ONE):
        step, state = np.argwhere(~(np.abs(sums - 1) <= _SUMS_TO_ONE))[0].tolist()
        raise UsageError(
            f"state {state}: the policy's probabilities of actions at step {step} sum to "
            f"{sums[step, state]:.9g}, not 1"
        )
    return tables


def state_distributions(
    dynamics: TabularDynamics, policy: NDArray[np.floating[Any]], *, ordered: bool = False
) -> Iterator[NDArray[np.float64]]:
    """The distribution of the state at each step of the horizon, from the initial one on.

    Args:
        dynamics: S states, A actions; the horizon.
        policy: `[states, actions]` or `[steps, states, actions]`.
        ordered: Whether what comes into a state is added in the order of states, actions and
            successors, so that results keep their bits. Else it is several times as fast.

    Yields:
        At each step the probability of being in each state, the episode not over, float64
        `[states]`.

    Raises:
        UsageError: If the policy is none of these dynamics.
    """
    tables = policy_steps(dynamics, policy)
    following = _ordered_flow if ordered else _flow
    distribution = dynamics.first
    yield distribution
    for step in range(dynamics.horizon - 1):
        distribution = following(dynamics, distribution, tables[min(step, len(tables) - 1)])
        yield distribution


def occupancy_over_time(
    dynamics: TabularDynamics, policy: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """P(s_t = s, a_t = a) at each step of the horizon, the episode not over.

    Args:
        dynamics: S states, A actions; the horizon.
        policy: `[states, actions]` or `[steps, states, actions]`.

    Returns:
        float64 `[horizon, states, actions]`; each step sums to 1, or to less where episodes end.

    Raises:
        UsageError: If the policy is none of these dynamics.
    """
    tables = policy_steps(dynamics, policy)
    found = np.empty((dynamics.horizon, dynamics.actions, dynamics.states))
    for step, distribution in enumerate(state_distributions(dynamics, tables)):
        np.multiply(distribution, tables[min(step, len(tables) - 1)].T, out=found[step])
    return found.transpose(0, 2, 1)


def finite_horizon_occupancy(
    dynamics: TabularDynamics, policy: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """sum_t gamma^t P(s_t = s, a_t = a) over the horizon: the return is its product with r.

    Args:
        dynamics: S states, A actions; horizon and discount.
        policy: `[states, actions]` or `[steps, states, actions]`.

    Returns:
        float64 `[states, actions]`. Where no episode ends it sums to the horizon at discount 1,
        else to (1 - gamma^horizon) / (1 - gamma).

    Raises:
        UsageError: If the policy is none of these dynamics.
    """
    tables = policy_steps(dynamics, policy)
    total = np.zeros((dynamics.actions, dynamics.states))
    for step, distribution in enumerate(state_distributions(dynamics, tables)):
        weights = dynamics.discount**step * distribution
        total += weights * tables[min(step, len(tables) - 1)].T
    return np.ascontiguousarray(total.T)


def infinite_horizon_occupancy(
    dynamics: TabularDynamics, policy: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """(1 - gamma) sum_t gamma^t P(s_t = s, a_t = a), for ever.

    Args:
        dynamics: S states, A actions; the discount.
        policy: `[states, actions]` or `[steps, states, actions]`.

    Returns:
        float64 `[states, actions]`. It sums to 1, or to less where episodes end: what is missing
        is the discounted time after the end. The return is its product with r, over 1 - gamma.

    Raises:
        UsageError: If the policy is none of these dynamics, or the discount is not below 1.
    """
    tables = policy_steps(dynamics, policy)
    chain = MarkovChain(dynamics, tables[-1])
    total = np.zeros((dynamics.states, dynamics.actions))
    distribution, weight = dynamics.first, 1.0
    for table in tables[:-1]:
        total += weight * distribution[:, None] * table
        distribution = _flow(dynamics, distribution, table)
        weight *= dynamics.discount
    total += weight * chain.visits(distribution)[:, None] * tables[-1]
    return (1 - dynamics.discount) * total


def _flow(
    dynamics: TabularDynamics, distribution: NDArray[np.float64], table: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """The distribution of the state one step later, `[states]`; episodes that end are left out."""
    return dynamics.after(dynamics.expectation(np.float64).flow(distribution * table.T))


def _ordered_flow(
    dynamics: TabularDynamics, distribution: NDArray[np.float64], table: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """As `_flow`, in the order of states, actions and successors."""
    flow = (distribution[:, None] * table)[:, :, None] * dynamics.probabilities
    successors = dynamics.successors.ravel()
    return dynamics.after(np.bincount(successors, weights=flow.ravel(), minlength=dynamics.states))
