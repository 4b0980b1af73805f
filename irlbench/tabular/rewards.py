"""Rewards of finite problems as arrays: one number per state, per action or per successor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.reward import RewardFunction
from irlbench.tabular.dynamics import TabularDynamics


def transition_rewards(reward: RewardFunction, dynamics: TabularDynamics) -> NDArray[np.float64]:
    """r(s, a, s'): the reward function on every transition there is.

    Args:
        reward: Of states, of states and actions, or of transitions; its observations are state
            indices.
        dynamics: S states, A actions, K successors.

    Returns:
        float64 `[states, actions, K]`.

    Raises:
        UsageError: If the reward is one of whole trajectories, or not finite somewhere.
    """
    if reward.kind == "trajectory":
        raise UsageError("a reward of whole trajectories has no value per transition")
    shape = dynamics.successors.shape
    states = np.broadcast_to(np.arange(shape[0])[:, None, None], shape).ravel()
    actions = np.broadcast_to(np.arange(shape[1])[:, None], shape).ravel()
    following = dynamics.successors.astype(np.int64).ravel()
    values = np.asarray(
        reward(states, actions, following, dynamics.terminal[following]), dtype=np.float64
    ).reshape(shape)
    require_finite(values, dynamics)
    return values


def expected_reward(dynamics: TabularDynamics, reward: NDArray[np.floating]) -> NDArray[np.float64]:
    """E[r(s, a, s') | s, a].

    Args:
        dynamics: S states, A actions, K successors.
        reward: `[states]`, `[states, actions]`, or per successor `[states, actions, K]`.

    Returns:
        float64 `[states, actions]`; of a reward of states a read-only view.

    Raises:
        UsageError: If the reward has another shape, or is not finite somewhere.
    """
    values = np.asarray(reward, dtype=np.float64)
    shape = dynamics.successors.shape
    if values.shape not in (shape[:1], shape[:2], shape):
        raise UsageError(
            f"a reward here has shape {shape[:1]}, {shape[:2]} or {shape} (states, actions, "
            f"successors), got {values.shape}"
        )
    require_finite(values, dynamics)
    if values.ndim == 1:
        return np.broadcast_to(values[:, None], shape[:2])
    if values.ndim == 2:
        return values
    return np.einsum("sak,sak->sa", dynamics.probabilities, values)


def require_finite(values: NDArray[np.float64], dynamics: TabularDynamics) -> None:
    """Refuses rewards that are no numbers.

    Args:
        values: `[states]`, `[states, actions]` or `[states, actions, K]`.
        dynamics: Which say the next state.

    Raises:
        UsageError: Naming the first such reward: its state, action and next state.
    """
    if np.isfinite(values).all():
        return
    place = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
    named = [f"state {place[0]}"]
    if len(place) > 1:
        named.append(f"action {place[1]}")
    if len(place) > 2:
        named.append(f"next state {dynamics.successors[place]}")
    raise UsageError(f"the reward of {', '.join(named)} is {values[place]}")
