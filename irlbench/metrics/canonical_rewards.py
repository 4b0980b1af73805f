"""Canonical rewards: one for all rewards that differ by potential-based shaping.

Shaping adds gamma Phi(s') - Phi(s) to a reward, and changes no policy's rank. Value
canonicalisation is that of STARC; EPIC and DARD have their own.

EPIC and DARD evaluate rewards on transitions that cannot happen. A reward of states or of states
and actions says what those pay. One of transitions does so only as a `RewardFunction`; as an array
per successor it is refused, unless it is the same for all successors. Both know no end of an
episode: a terminal state counts as any other, with the successors that its row in the dynamics
holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.reward import RewardFunction
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.evaluation import policy_values
from irlbench.tabular.rewards import expected_reward, transition_rewards

#: A reward `[states]`, `[states, actions]` or per successor `[states, actions, K]`, or a function.
TabularReward = NDArray[np.floating[Any]] | RewardFunction

# Transitions that are evaluated at once.
_BATCH = 2**20


def value_canonical(
    dynamics: TabularDynamics,
    reward: TabularReward,
    policy: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """E[r(s, a, s') + gamma V(s')] - V(s), V being the value of a policy: its advantage.

    Args:
        dynamics: S states, A actions; the discount, below 1.
        reward: Any.
        policy: Whose value, `[states, actions]`; None is the uniform policy.

    Returns:
        float64 `[states, actions]`.

    Raises:
        UsageError: If reward or policy are none of these dynamics, or the discount is 1.
    """
    if policy is None:
        policy = np.full((dynamics.states, dynamics.actions), 1 / dynamics.actions)
    table = expected(dynamics, reward)
    V = policy_values(dynamics, table, policy, finite_horizon=False)
    return table + dynamics.discount * dynamics.expect(V) - V[:, None]


def epic_canonical(
    dynamics: TabularDynamics,
    reward: TabularReward,
    *,
    states: NDArray[np.floating[Any]] | None = None,
    actions: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """r(s, a, s') + gamma m(s') - m(s) - gamma E[m(S)], with m(s) = E[r(s, A, S')].

    S and S' are drawn from one distribution and A from another (Gleave et al., 2021, definition
    4.1).

    Args:
        dynamics: S states, A actions, K successors; the discount.
        reward: Any that says what transitions pay that cannot happen.
        states: D_S, `[states]`; None is uniform.
        actions: D_A, `[actions]`; None is uniform.

    Returns:
        float64 `[states, actions, K]`.

    Raises:
        UsageError: If the reward or a distribution is none of these dynamics, or the reward is an
            array per successor that does not say what transitions pay that cannot happen.
    """
    state_weights = distribution("states", states, (dynamics.states,))
    action_weights = distribution("actions", actions, (dynamics.actions,))
    by_action = _by_action(dynamics, reward)
    if by_action is None:
        assert isinstance(reward, RewardFunction)
        mean = _mean_over_states(dynamics, reward, state_weights, action_weights)
    else:
        mean = by_action @ action_weights
    gamma = dynamics.discount
    following = gamma * mean[dynamics.successors] - mean[:, None, None]
    return per_successor(dynamics, reward) + following - gamma * (mean @ state_weights)


def dard_canonical(
    dynamics: TabularDynamics,
    reward: TabularReward,
    *,
    actions: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """r(s, a, s') + E[gamma r(s', A, S'') - r(s, A, S') - gamma r(S', A, S'')].

    A is drawn from a distribution, and the dynamics say S' from s and S'' from s' (Wulfe et al.,
    2022).

    Args:
        dynamics: S states, A actions, K successors; the discount.
        reward: Any that says what transitions pay that cannot happen.
        actions: D_A, `[actions]`; None is uniform.

    Returns:
        float64 `[states, actions, K]`.

    Raises:
        UsageError: If the reward or a distribution is none of these dynamics, or the reward is an
            array per successor that does not say what transitions pay that cannot happen.
    """
    action_weights = distribution("actions", actions, (dynamics.actions,))
    by_action = _by_action(dynamics, reward)
    if by_action is None:
        assert isinstance(reward, RewardFunction)
        crossed = _crossed(dynamics, reward, action_weights)
    else:
        later = by_action[dynamics.successors, np.arange(dynamics.actions)[:, None]]
        ahead = np.einsum("sak,sak->sa", dynamics.probabilities, later) @ action_weights
        crossed = ahead[:, None, None]
    mean = expected(dynamics, reward) @ action_weights
    gamma = dynamics.discount
    following = gamma * mean[dynamics.successors] - mean[:, None, None]
    return per_successor(dynamics, reward) + following - gamma * crossed


def expected(dynamics: TabularDynamics, reward: TabularReward) -> NDArray[np.float64]:
    """E[r(s, a, s') | s, a], float64 `[states, actions]`.

    Args:
        dynamics: S states, A actions, K successors.
        reward: Any.

    Raises:
        UsageError: If the reward is none of these dynamics.
    """
    if isinstance(reward, RewardFunction):
        return expected_reward(dynamics, transition_rewards(reward, dynamics))
    return expected_reward(dynamics, reward)


def per_successor(dynamics: TabularDynamics, reward: TabularReward) -> NDArray[np.float64]:
    """r(s, a, s') of the transitions that can happen, float64 `[states, actions, K]`.

    Args:
        dynamics: S states, A actions, K successors.
        reward: Any.

    Raises:
        UsageError: If the reward is none of these dynamics.
    """
    if isinstance(reward, RewardFunction):
        return transition_rewards(reward, dynamics)
    if reward.ndim == 3:
        expected_reward(dynamics, reward)  # checks it
        return np.asarray(reward, dtype=np.float64)
    return np.broadcast_to(expected_reward(dynamics, reward)[:, :, None], dynamics.successors.shape)


def _by_action(dynamics: TabularDynamics, reward: TabularReward) -> NDArray[np.float64] | None:
    """r(s, a) `[states, actions]` of a reward that no next state changes; None of a function.

    Raises:
        UsageError: If it is an array that depends on the next state.
    """
    if isinstance(reward, RewardFunction):
        if reward.kind in {"state", "state-action"}:
            return transition_rewards(reward, dynamics)[:, :, 0]
        return None
    values = per_successor(dynamics, reward)
    likeliest = dynamics.probabilities.argmax(axis=2)[:, :, None]
    found = np.take_along_axis(values, likeliest, axis=2)
    differs = ((values != found) & (dynamics.probabilities > 0)).any(axis=2)
    if differs.any():
        state, action = np.argwhere(differs)[0].tolist()
        raise UsageError(
            f"the reward of state {state}, action {action} depends on the next state "
            f"({values[state, action].tolist()}): as an array it does not say what transitions "
            "pay that cannot happen, give it as a RewardFunction"
        )
    return found[:, :, 0]


def _mean_over_states(
    dynamics: TabularDynamics,
    reward: RewardFunction,
    state_weights: NDArray[np.float64],
    action_weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """m(s) = E[r(s, A, S')] over all pairs of states, a few states at a time: `[states]`."""
    following = np.flatnonzero(state_weights)
    size = max(1, _BATCH // (dynamics.actions * len(following)))
    found = np.empty(dynamics.states)
    for low in range(0, dynamics.states, size):
        states = np.arange(low, min(low + size, dynamics.states))
        values = _evaluated(
            dynamics,
            reward,
            states[:, None, None],
            np.arange(dynamics.actions)[:, None],
            following,
        )
        found[states] = np.einsum("saj,a,j->s", values, action_weights, state_weights[following])
    return found


def _crossed(
    dynamics: TabularDynamics, reward: RewardFunction, action_weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """E[r(S', A, S'')] with S' from s and S'' from s', by s and s': `[states, actions, K]`."""
    successors, probabilities = dynamics.successors, dynamics.probabilities
    _, actions, width = successors.shape
    size = max(1, _BATCH // (actions * width) ** 2 // width)
    found = np.empty(successors.shape)
    for low in range(0, dynamics.states, size):
        states = slice(low, low + size)
        reached = successors[states]
        values = _evaluated(
            dynamics,
            reward,
            # [s, a, k of s', A, k of S', k of S'']
            reached[:, None, None, :, :, None],
            np.arange(actions)[:, None, None],
            successors[reached][:, :, :, :, None, :],
        )
        found[states] = np.einsum(
            "sakbij,b,sbi,sakbj->sak",
            values,
            action_weights,
            probabilities[states],
            probabilities[reached],
            optimize=True,
        )
    return found


def _evaluated(
    dynamics: TabularDynamics,
    reward: RewardFunction,
    states: NDArray[Any],
    actions: NDArray[Any],
    following: NDArray[Any],
) -> NDArray[np.float64]:
    """The reward function on broadcast states, actions and next states.

    Raises:
        UsageError: If it is not finite somewhere.
    """
    s, a, n = (x.astype(np.int64) for x in np.broadcast_arrays(states, actions, following))
    flat = reward(s.ravel(), a.ravel(), n.ravel(), dynamics.terminal[n.ravel()])
    values = np.asarray(flat, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values)))
        raise UsageError(
            f"the reward of state {s.ravel()[bad]}, action {a.ravel()[bad]}, next state "
            f"{n.ravel()[bad]} is {values[bad]}"
        )
    return values.reshape(s.shape)


def distribution(
    name: str, given: NDArray[np.floating[Any]] | None, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """A distribution, or the uniform one where none is given.

    Args:
        name: What it is called in errors.
        given: Weights, or None.
        shape: Its shape.

    Returns:
        float64, sums to one.

    Raises:
        UsageError: If its shape is another, a weight is negative or no number, or all are zero.
    """
    weights = np.ones(shape) if given is None else np.asarray(given, dtype=np.float64)
    if weights.shape != shape:
        raise UsageError(f"{name} must have shape {shape}, got {weights.shape}")
    if not (weights.min() >= 0 and 0 < weights.sum() < np.inf):
        raise UsageError(
            f"{name} must be weights from 0 on that are not all zero, got {weights.min()} to "
            f"{weights.max()}"
        )
    return weights / weights.sum()
