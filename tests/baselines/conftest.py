"""A grid small enough to be solved exactly: known answers of the objectives are found on it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from irlbench.tabular.dynamics import TabularDynamics

Array = NDArray[np.float64]


class SmallGrid:
    """7 x 7 cells without an end: clamped moves that slip, +1 in the last corner, -1 in the centre.

    With probability 0.9 the chosen move is made, else one of the four at random. The reward is
    that of the current cell; episodes start anywhere, gamma is 0.95, the temperature 0.3.

    Attributes:
        transitions: P(s'|s, a), `[49, 4, 49]`.
        rewards: r(s) for every action, `[49, 4]`.
        initial: `[49]`.
    """

    side, discount, temperature = 7, 0.95, 0.3

    def __init__(self) -> None:
        states = self.side**2
        moved = np.zeros((states, 4, states))
        for state in range(states):
            row, column = divmod(state, self.side)
            for action, (down, right) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
                to_row = min(max(row + down, 0), self.side - 1)
                to_column = min(max(column + right, 0), self.side - 1)
                moved[state, action, to_row * self.side + to_column] = 1.0
        self.transitions = 0.9 * moved + 0.1 * moved.mean(axis=1, keepdims=True)
        cells = np.zeros(states)
        cells[-1], cells[states // 2] = 1.0, -1.0
        self.rewards = np.repeat(cells[:, None], 4, axis=1)
        self.initial = np.full(states, 1 / states)

    def soft_q(self, rewards: Array) -> Array:
        """The fixed point of Q = r + gamma P V with V = tau log sum exp(Q / tau), `[49, 4]`."""
        Q = np.zeros_like(rewards)
        for _ in range(700):  # 0.95^700 is below rounding
            Q = rewards + self.discount * self.transitions @ self.soft_value(Q)
        return Q

    def soft_value(self, Q: Array) -> Array:
        """V(s), `[49]`."""
        return self.temperature * np.logaddexp.reduce(Q / self.temperature, axis=1)

    def log_policy(self, Q: Array) -> Array:
        """log pi(a|s), `[49, 4]`."""
        return (Q - self.soft_value(Q)[:, None]) / self.temperature

    def occupancy(self, log_pi: Array) -> Array:
        """The normalised discounted occupancy measure, `[49, 4]`: it sums to 1."""
        pi = np.exp(log_pi)
        moves = np.einsum("sa,sat->st", pi, self.transitions)
        visits = np.linalg.solve(
            np.eye(len(moves)) - self.discount * moves.T, (1 - self.discount) * self.initial
        )
        return visits[:, None] * pi

    def starc(self, first: Array, second: Array) -> float:
        """The STARC distance of two rewards, in [0, 1] (Skalse et al., 2024).

        Value canonicalisation under the uniform policy, then the unweighted L2 distance of the
        normalised tables over state-action pairs, halved.
        """
        canonical = [self._value_canonical(rewards) for rewards in (first, second)]
        units = [rewards / np.linalg.norm(rewards) for rewards in canonical]
        return float(np.linalg.norm(units[0] - units[1])) / 2

    def _value_canonical(self, rewards: Array) -> Array:
        """r + gamma P v - v, with v the value of the uniform policy."""
        moves = self.transitions.mean(axis=1)
        value = np.linalg.solve(np.eye(len(moves)) - self.discount * moves, rewards.mean(axis=1))
        return rewards + self.discount * self.transitions @ value - value[:, None]


@pytest.fixture(scope="session")
def small_grid() -> SmallGrid:
    """The grid, its solver and its measures."""
    return SmallGrid()


@pytest.fixture(scope="session")
def grid(small_grid: SmallGrid) -> TabularDynamics:
    """The small grid as dynamics of five successors; 30 steps where the horizon is finite."""
    following = np.argsort(-small_grid.transitions, axis=2, kind="stable")[:, :, :5]
    return TabularDynamics(
        successors=following.astype(np.int32),
        probabilities=np.take_along_axis(small_grid.transitions, following, axis=2),
        initial=small_grid.initial,
        terminal=np.zeros(49, dtype=bool),
        horizon=30,
        discount=small_grid.discount,
    )


@pytest.fixture(scope="session")
def expert_occupancy(small_grid: SmallGrid) -> Array:
    """Of the maximum-causal-entropy expert on the small grid, exact, `[49, 4]`."""
    return small_grid.occupancy(small_grid.log_policy(small_grid.soft_q(small_grid.rewards)))
