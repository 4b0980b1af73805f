"""Exact evaluation of policies: values, returns, expected value difference, regret.

A policy is an array pi(a|s) `[states, actions]`, or pi_t(a|s) `[steps, states, actions]`, whose
last step goes on for ever. A reward is an array `[states]`, `[states, actions]` or per successor
`[states, actions, K]`. Returns are discounted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.tabular.chain import MarkovChain
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.occupancy import policy_steps
from irlbench.tabular.planning import BellmanBackup, value_iteration
from irlbench.tabular.rewards import expected_reward


def policy_values(
    dynamics: TabularDynamics,
    reward: NDArray[np.floating[Any]],
    policy: NDArray[np.floating[Any]],
    *,
    finite_horizon: bool,
) -> NDArray[np.float64]:
    """V(s): the expected return of a policy from each state on, at the first step.

    Args:
        dynamics: S states, A actions, K successors; discount and horizon.
        reward: Of states, of actions or per successor.
        policy: Stationary or time-dependent.
        finite_horizon: Whether the return ends at the horizon.

    Returns:
        float64 `[states]`; 0 in terminal states.

    Raises:
        UsageError: If reward or policy are none of these dynamics, or the horizon is infinite and
            the discount is not below 1.
    """
    table, steps = expected_reward(dynamics, reward), policy_steps(dynamics, policy)
    if finite_horizon:
        order = np.minimum(np.arange(dynamics.horizon), len(steps) - 1)
        V = np.zeros(dynamics.states)
    else:
        order = np.arange(len(steps) - 1)
        earned = (steps[-1] * table).sum(axis=1)
        V = MarkovChain(dynamics, steps[-1]).values(earned)
    for step in reversed(order):
        V = (steps[step] * (table + dynamics.discount * dynamics.expect(V))).sum(axis=1)
    return np.where(dynamics.terminal, 0.0, V)


def expected_return(
    dynamics: TabularDynamics,
    reward: NDArray[np.floating[Any]],
    policy: NDArray[np.floating[Any]],
    *,
    finite_horizon: bool,
) -> float:
    """J: the expected return of a policy from the initial distribution.

    Args:
        dynamics: S states, A actions, K successors; discount and horizon.
        reward: Of states, of actions or per successor.
        policy: Stationary or time-dependent.
        finite_horizon: Whether the return ends at the horizon.

    Raises:
        UsageError: As `policy_values`.
    """
    values = policy_values(dynamics, reward, policy, finite_horizon=finite_horizon)
    return float(dynamics.initial @ values)


def optimal_return(
    dynamics: TabularDynamics, reward: NDArray[np.floating[Any]], *, finite_horizon: bool
) -> float:
    """The largest expected return that any policy has.

    Args:
        dynamics: S states, A actions, K successors; discount and horizon.
        reward: Of states, of actions or per successor.
        finite_horizon: Whether the return ends at the horizon.

    Raises:
        UsageError: If the reward is none of these dynamics, or the horizon is infinite and the
            discount is not below 1.
    """
    if not finite_horizon:
        best = value_iteration(dynamics, reward, temperature=0.0).Q.argmax(axis=1)
        policy = np.eye(dynamics.actions)[best]
        return expected_return(dynamics, reward, policy, finite_horizon=False)
    backup = BellmanBackup(dynamics, reward, temperature=0.0, ordered=True)
    V = np.zeros(dynamics.states)
    for _ in range(dynamics.horizon):
        V = backup(V)
    return float(dynamics.initial @ dynamics.after(V))


def expected_value_difference(
    dynamics: TabularDynamics,
    reward: NDArray[np.floating[Any]],
    expert: NDArray[np.floating[Any]],
    policy: NDArray[np.floating[Any]],
    *,
    finite_horizon: bool,
) -> float:
    """J(expert) - J(policy) under the true reward (Levine, Popovic and Koltun, 2011).

    Args:
        dynamics: S states, A actions, K successors; discount and horizon.
        reward: The true reward: of states, of actions or per successor.
        expert: Its policy, stationary or time-dependent.
        policy: The policy that is judged.
        finite_horizon: Whether the return ends at the horizon.

    Returns:
        Below zero where the policy is better than the expert.

    Raises:
        UsageError: As `policy_values`.
    """
    returns = [
        expected_return(dynamics, reward, judged, finite_horizon=finite_horizon)
        for judged in (expert, policy)
    ]
    return returns[0] - returns[1]


def regret(
    dynamics: TabularDynamics,
    reward: NDArray[np.floating[Any]],
    policy: NDArray[np.floating[Any]],
    *,
    finite_horizon: bool,
) -> float:
    """What the best policy earns beyond this one.

    Args:
        dynamics: S states, A actions, K successors; discount and horizon.
        reward: Of states, of actions or per successor.
        policy: Stationary or time-dependent.
        finite_horizon: Whether the return ends at the horizon.

    Returns:
        Not negative, but for rounding.

    Raises:
        UsageError: As `policy_values`.
    """
    best = optimal_return(dynamics, reward, finite_horizon=finite_horizon)
    return best - expected_return(dynamics, reward, policy, finite_horizon=finite_horizon)
