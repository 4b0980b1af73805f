"""Soft value iteration on known finite dynamics: exact maximum-entropy control.

Q(s, a) = E[r(s, a, s') + gamma V(s')] and V(s) = tau log sum_a exp(Q(s, a) / tau), with the policy
pi(a|s) = exp((Q(s, a) - V(s)) / tau) (Ziebart, Bagnell and Dey, 2010). Temperature 0 is its limit:
V is the maximum, and the policy is uniform over the actions that reach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Run, Solver, option
from irlbench.dynamics import TabularDynamics
from irlbench.errors import UsageError
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem
from irlbench.reward import RewardFunction

# A hard policy's log-odds between the best actions and the others: e^-1000 is 0 in float64, and
# unlike -inf it is a number that a saved policy may hold.
_NEVER = -1000.0
# Actions whose values differ by less, relative to the largest, are equally good.
_TIE = 1e-9


@dataclass(frozen=True)
class SoftValueIterationConfig:
    """Hyperparameters of soft value iteration."""

    temperature: float = option(1.0, "Weight tau of the entropy; 0 gives an optimal policy.")
    finite_horizon: bool = option(
        False, "Plan for the problem's horizon (a time-dependent policy), not for ever."
    )
    tolerance: float = option(
        1e-10, "Largest error of a value, relative to the largest that the reward allows."
    )

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must not be negative, got {self.temperature}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must lie between 0 and 1, got {self.tolerance}")


class SoftValueIteration(Solver):
    """Exact soft (or, at temperature 0, optimal) control of known finite dynamics."""

    id: ClassVar[str] = "soft-value-iteration"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "exact soft value iteration on known finite dynamics"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    actions: ClassVar[tuple[str, ...]] = ("discrete",)
    needs: ClassVar[frozenset[str]] = frozenset({"dynamics"})
    Config: ClassVar[type[Any]] = SoftValueIterationConfig

    def solve(
        self, problem: Problem, reward: RewardFunction | None, budget: Budget, run: Run
    ) -> Policy:
        """See `Solver.solve`.

        Returns:
            A `TablePolicy`, or for a finite horizon a `TimeDependentTablePolicy`.

        Raises:
            UsageError: If there is no reward function, it is one of whole trajectories or not
                finite, or the discount is 1 without a finite horizon.
        """
        from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy

        if reward is None:
            raise UsageError(f"{self.id} needs a reward function: it never steps an environment")
        config: SoftValueIterationConfig = self.config
        dynamics: TabularDynamics = problem.resource("dynamics")
        table = reward_table(reward, dynamics)
        if config.finite_horizon:
            values = finite_horizon_values(dynamics, table, config.temperature)
            return TimeDependentTablePolicy(policy_logits(values, config.temperature))
        values = infinite_horizon_values(dynamics, table, config.temperature, config.tolerance)
        return TablePolicy(policy_logits(values, config.temperature))


def reward_table(reward: RewardFunction, dynamics: TabularDynamics) -> NDArray[np.float64]:
    """E[r(s, a, s') | s, a]: the reward function on every transition, averaged over successors.

    Args:
        reward: Of states, of states and actions, or of transitions.
        dynamics: S states, A actions, K successors.

    Returns:
        float64 `[states, actions]`.

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
    if not np.isfinite(values).all():
        state, action, place = np.argwhere(~np.isfinite(values))[0].tolist()
        raise UsageError(
            f"the reward of state {state}, action {action}, next state "
            f"{dynamics.successors[state, action, place]} is {values[state, action, place]}"
        )
    return np.einsum("sak,sak->sa", dynamics.probabilities, values)


def soft_maximum(Q: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """tau log sum_a exp(Q / tau) over the last axis; the maximum where tau is 0.

    Args:
        Q: `[..., actions]`.
        temperature: tau.

    Returns:
        float64 `[...]`.
    """
    highest = Q.max(axis=-1)
    if temperature == 0:
        return highest
    rest = np.exp((Q - highest[..., None]) / temperature).sum(axis=-1)
    return np.asarray(highest + temperature * np.log(rest))


def policy_logits(Q: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Q / tau; where tau is 0, equal for all actions of greatest value and far lower elsewhere.

    Args:
        Q: `[..., actions]`.
        temperature: tau.

    Returns:
        Finite unnormalised log-probabilities of the shape of `Q`.
    """
    behind = Q.max(axis=-1, keepdims=True) - Q
    if temperature > 0:
        return -behind / temperature
    return np.where(behind <= _TIE * np.abs(Q).max(), 0.0, _NEVER)


def infinite_horizon_values(
    dynamics: TabularDynamics,
    reward: NDArray[np.float64],
    temperature: float,
    tolerance: float = 1e-10,
) -> NDArray[np.float64]:
    """Q of the discounted infinite horizon, to a tolerance.

    The soft Bellman operator contracts by gamma, so the number of iterations from V = 0 is known
    beforehand; it ends sooner once a step shows that the values are near enough.

    Args:
        dynamics: The transition probabilities, and the discount gamma.
        reward: `[states, actions]`.
        temperature: tau.
        tolerance: Largest error, relative to (max |r| + tau log A) / (1 - gamma).

    Returns:
        float64 `[states, actions]`.

    Raises:
        UsageError: If the discount is not below 1.
    """
    gamma = dynamics.discount
    if not 0 <= gamma < 1:
        raise UsageError(
            f"an infinite horizon needs a discount below 1, got {gamma}: set finite_horizon"
        )
    V = np.zeros(dynamics.states)
    Q = reward + gamma * dynamics.expect(V)
    if gamma == 0:
        return Q
    scale = float(np.abs(reward).max()) + temperature * log(dynamics.actions)
    for _ in range(ceil(log(tolerance) / log(gamma))):
        previous, V = V, soft_maximum(Q, temperature)
        Q = reward + gamma * dynamics.expect(V)
        # |V - V*| <= gamma / (1 - gamma) |V - previous|
        if np.abs(V - previous).max() * gamma <= tolerance * scale:
            break
    return Q


def finite_horizon_values(
    dynamics: TabularDynamics, reward: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """Q at every step of the horizon, by backward induction from V = 0.

    Args:
        dynamics: The transition probabilities, the horizon H and the discount.
        reward: `[states, actions]`.
        temperature: tau.

    Returns:
        float64 `[horizon, states, actions]`.
    """
    values = np.empty((dynamics.horizon, *reward.shape))
    V = np.zeros(dynamics.states)
    for step in reversed(range(dynamics.horizon)):
        values[step] = reward + dynamics.discount * dynamics.expect(V)
        V = soft_maximum(values[step], temperature)
    return values
