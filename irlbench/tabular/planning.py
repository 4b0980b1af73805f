"""Value iteration, soft and hard, over a finite and an infinite horizon.

Q(s, a) = E[r(s, a, s') + gamma V(s')] and V(s) = tau log sum_a exp(Q(s, a) / tau), with the policy
pi(a|s) = exp((Q(s, a) - V(s)) / tau) (Ziebart, Bagnell and Dey, 2010). Temperature 0 is its limit:
V is the maximum, and the policy is uniform over the actions that reach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.rewards import expected_reward

# A hard policy's log-odds between the best actions and the others: e^-1000 is 0 in float64, and
# unlike -inf it is a number that a saved policy may hold.
_NEVER = -1000.0
# Actions whose values differ by less, relative to the largest, are equally good.
_TIE = 1e-9


@dataclass(frozen=True, eq=False)
class Plan:
    """What value iteration finds. Over a finite horizon each array has a first axis of time.

    What `Q` and `policy` say of a terminal state is what it would be worth to act there.

    Attributes:
        Q: Values of actions, `[states, actions]` or `[horizon, states, actions]`.
        V: Values of states, `[states]` or `[horizon, states]`; 0 where the state is terminal.
        policy: pi(a|s), of the shape of `Q`.
        sweeps: Bellman backups made of every state.
    """

    Q: NDArray[Any]
    V: NDArray[Any]
    policy: NDArray[Any]
    sweeps: int


class BellmanBackup:
    """The soft Bellman optimality operator: V to V, and on the way Q and the policy.

    Args:
        dynamics: S states, A actions, and the discount gamma.
        reward: `[states]`, `[states, actions]` or `[states, actions, K]`.
        temperature: tau; at 0 the operator is the hard one.
        dtype: What it computes in.
        sweeps: How many sweeps from V = 0 it is made for; None: any number.
        ordered: Whether every sum is made in a fixed order and exponentials are shifted by the
            maximum, whatever their size: a result keeps its bits. Else it is up to twice as fast.

    Raises:
        UsageError: If the reward has another shape or is not finite, or tau is negative.
    """

    def __init__(
        self,
        dynamics: TabularDynamics,
        reward: NDArray[np.floating[Any]],
        temperature: float,
        dtype: type[np.floating[Any]] = np.float64,
        *,
        sweeps: int | None = None,
        ordered: bool = False,
    ) -> None:
        if not 0 <= temperature < inf:
            raise UsageError(f"a temperature is a number from 0 on, got {temperature}")
        table = expected_reward(dynamics, reward)
        self.largest = float(np.abs(table).max()) + temperature * log(dynamics.actions)
        self._dynamics, self._temperature, self._dtype = dynamics, temperature, dtype
        self._ordered = ordered
        # Below half of what exp takes, neither an exponential nor their sum is out of range.
        highest = self.largest * _discounted_steps(dynamics.discount, sweeps)
        self._shifted = ordered or highest >= temperature * log(np.finfo(dtype).max) / 2
        self._blocks = [
            (block, table[block.states].T.astype(dtype, order="C"))
            for block in dynamics.expectation(dtype)
        ]

    def __call__(
        self,
        values: NDArray[Any],
        Q: NDArray[Any] | None = None,
        policy: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """One sweep over all states.

        Args:
            values: V of the next step, zero or what an earlier sweep gave, `[states]`.
            Q: Where the values of actions go, `[actions, states]`, if they are asked for.
            policy: Where pi(a|s) goes, `[actions, states]`, if asked for; at temperature 0 left
                as it is.

        Returns:
            V of this step, `[states]`; in terminal states, too, what it is worth to act there.
        """
        dynamics, following = self._dynamics, self._dynamics.after(values)
        found = np.empty(dynamics.states, self._dtype)
        for block, reward in self._blocks:
            worth = np.empty_like(reward) if Q is None else Q[:, block.states]
            if self._ordered:
                block.ordered(following, worth)
                worth *= dynamics.discount
            else:
                block.fast(following, dynamics.discount, worth)
            worth += reward
            if self._temperature == 0:
                worth.max(axis=0, out=found[block.states])
            else:
                chosen = None if policy is None else policy[:, block.states]
                self._soft_maximum(worth, chosen, found[block.states])
        return found

    def _soft_maximum(
        self, Q: NDArray[Any], policy: NDArray[Any] | None, out: NDArray[Any]
    ) -> None:
        """Writes tau log sum_a exp(Q / tau) `[states]` into `out`, and pi into `policy`."""
        tau = self._temperature
        weights = np.empty_like(Q) if policy is None else policy
        highest = Q.max(axis=0) if self._shifted else None
        scaled = Q if highest is None else np.subtract(Q, highest, out=weights)
        if tau != 1:
            scaled = np.divide(scaled, tau, out=weights)
        np.exp(scaled, out=weights)
        weights.sum(axis=0, out=out)
        if policy is not None:
            policy /= out
        np.log(out, out=out)
        if tau != 1:
            out *= tau
        if highest is not None:
            out += highest


def _discounted_steps(discount: float, steps: int | None) -> float:
    """sum_t gamma^t over so many steps, or for ever."""
    if steps is None:
        return 1 / (1 - discount) if discount < 1 else inf
    return steps if discount == 1 else (1 - discount**steps) / (1 - discount)


def value_iteration(
    dynamics: TabularDynamics,
    reward: NDArray[np.floating[Any]],
    temperature: float,
    tolerance: float = 1e-10,
    dtype: type[np.floating[Any]] = np.float64,
    *,
    ordered: bool = False,
) -> Plan:
    """Plans for the discounted infinite horizon, to a tolerance.

    The soft Bellman operator contracts by gamma, so the number of iterations from V = 0 is known
    beforehand; it ends sooner once a step shows that the values are near enough.

    Args:
        dynamics: The transition probabilities, and the discount gamma.
        reward: `[states]`, `[states, actions]` or `[states, actions, K]`.
        temperature: tau.
        tolerance: Largest error of a value, relative to (max |r| + tau log A) / (1 - gamma).
        dtype: What it computes in. float32 takes half the memory and time.
        ordered: Whether the result keeps its bits; see `BellmanBackup`.

    Raises:
        UsageError: If the discount is not below 1, the tolerance is finer than what the type's
            rounding allows, or `BellmanBackup` refuses the reward or the temperature.
    """
    gamma = dynamics.discount
    if gamma >= 1:
        raise UsageError(
            f"an infinite horizon needs a discount below 1, got {gamma}: set finite_horizon"
        )
    finest = float(np.finfo(dtype).eps) / (1 - gamma)
    if not tolerance >= finest:  # also where it is NaN
        raise UsageError(
            f"at discount {gamma} {np.dtype(dtype)} keeps no tolerance of {tolerance:g}, only "
            f"from {finest:.1e} on"
        )
    backup = BellmanBackup(dynamics, reward, temperature, dtype, ordered=ordered)
    shape = (dynamics.actions, dynamics.states)
    V = np.zeros(dynamics.states, dtype)
    sweeps = 1
    for _ in range(ceil(log(tolerance) / log(gamma)) if gamma > 0 else 0):
        previous, V = V, backup(V)
        sweeps += 1
        # |V - V*| <= gamma / (1 - gamma) |V - previous|
        if np.abs(V - previous).max() * gamma <= tolerance * backup.largest:
            break
    Q, policy = np.empty(shape, dtype), np.empty(shape, dtype)
    V = dynamics.after(backup(V, Q, policy))
    Q = np.ascontiguousarray(Q.T)
    return Plan(Q, V, greedy(Q) if temperature == 0 else np.ascontiguousarray(policy.T), sweeps)


def finite_horizon_value_iteration(
    dynamics: TabularDynamics,
    reward: NDArray[np.floating[Any]],
    temperature: float,
    dtype: type[np.floating[Any]] = np.float64,
    *,
    ordered: bool = False,
) -> Plan:
    """Plans for every step of the horizon, by backward induction from V = 0.

    Args:
        dynamics: The transition probabilities, the horizon and the discount.
        reward: `[states]`, `[states, actions]` or `[states, actions, K]`.
        temperature: tau.
        dtype: What it computes in.
        ordered: Whether the result keeps its bits; see `BellmanBackup`.

    Raises:
        UsageError: If `BellmanBackup` refuses the reward or the temperature.
    """
    backup = BellmanBackup(
        dynamics, reward, temperature, dtype, sweeps=dynamics.horizon, ordered=ordered
    )
    # One allocation: a large one is kept for the next call, where many are in a row.
    Q, policy = np.empty((2, dynamics.horizon, dynamics.actions, dynamics.states), dtype)
    V = np.empty((dynamics.horizon, dynamics.states), dtype)
    following = np.zeros(dynamics.states, dtype)
    for step in reversed(range(dynamics.horizon)):
        V[step] = following = dynamics.after(backup(following, Q[step], policy[step]))
    Q = Q.transpose(0, 2, 1)
    return Plan(
        Q, V, greedy(Q) if temperature == 0 else policy.transpose(0, 2, 1), dynamics.horizon
    )


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
    if temperature == 0:
        return np.where(greedy(Q) > 0, 0.0, _NEVER)
    return (Q - Q.max(axis=-1, keepdims=True)) / temperature


def greedy(Q: NDArray[Any]) -> NDArray[Any]:
    """The policy that is uniform over the actions of greatest value.

    Args:
        Q: `[..., actions]`.

    Returns:
        pi(a|s), of the shape of `Q`.
    """
    behind = Q.max(axis=-1, keepdims=True) - Q
    best = behind <= _TIE * np.abs(Q).max()
    return best / best.sum(axis=-1, keepdims=True)
