"""Maximum causal entropy IRL on 1,600 states: against `imitation`'s MCEIRL.

    OMP_NUM_THREADS=1 python benchmarks/mce_irl.py

Both are given the exact occupancy measure of one expert on the same grid with slip, over 50 steps
without discount, in this process and on one core. The peer makes so many of its updates (Adam, at a
step size that serves it better than its default); the project then goes on until the norm of its
gradient, in the peer's units, is as small as the smallest that the peer came to. Time is that of the
processor: other processes on the machine then count for little.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.baselines.algorithms.mce_irl import OccupancyMatching
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.occupancy import occupancy_over_time
from irlbench.tabular.planning import finite_horizon_value_iteration

SIDE, SLIP, HORIZON = 40, 0.1, 50
SPEED_UP = 50.0
"""Times that the project fits while the peer fits once."""


def grid() -> TabularDynamics:
    """Four moves, clamped at the walls; a slip makes one of the four at random."""
    cells = np.arange(SIDE * SIDE, dtype=np.int32).reshape(SIDE, SIDE)
    padded = np.pad(cells, 1, mode="edge")
    neighbours = [padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2]]
    moves = np.stack(neighbours, axis=-1).reshape(-1, 4)
    successors = moves[:, (np.arange(4)[:, None] + np.arange(4)) % 4]
    turns = np.array([1 - SLIP + SLIP / 4] + [SLIP / 4] * 3)
    return TabularDynamics(
        successors=successors,
        probabilities=np.broadcast_to(turns, successors.shape),
        initial=np.full(cells.size, 1 / cells.size),
        terminal=np.zeros(cells.size, dtype=bool),
        horizon=HORIZON,
        discount=1.0,
    )


def dense(dynamics: TabularDynamics) -> NDArray[np.float64]:
    """P(s'|s, a) as the peer wants it, `[states, actions, states]`."""
    transition = np.zeros((dynamics.states, dynamics.actions, dynamics.states))
    states = np.arange(dynamics.states)[:, None]
    for place in range(dynamics.successors.shape[2]):
        following = dynamics.successors[:, :, place]
        weights = dynamics.probabilities[:, :, place]
        np.add.at(transition, (states, np.arange(dynamics.actions), following), weights)
    return transition


def the_peer(
    dynamics: TabularDynamics, reward: NDArray[np.float64], updates: int, learning_rate: float
) -> tuple[float, float, int]:
    """Seconds and updates until the smallest gradient norm that the peer comes to, and that norm.

    Returns:
        Seconds, norm, updates.
    """
    import torch
    from gymnasium.spaces import Discrete
    from imitation.algorithms.mce_irl import MCEIRL, mce_occupancy_measures
    from imitation.rewards.reward_nets import RewardNet

    class Table(RewardNet):  # type: ignore[misc]  # the peer is untyped
        """r(s) as a table over one-hot observations."""

        def __init__(self) -> None:
            super().__init__(Discrete(dynamics.states), Discrete(dynamics.actions))
            self.values = torch.nn.Linear(dynamics.states, 1, bias=False)
            torch.nn.init.zeros_(self.values.weight)

        def forward(self, state: Any, action: Any, next_state: Any, done: Any) -> Any:
            return self.values(state).squeeze(1)

    env: Any = SimpleNamespace(
        horizon=HORIZON,
        state_dim=dynamics.states,
        action_dim=dynamics.actions,
        transition_matrix=dense(dynamics),
        initial_state_dist=dynamics.initial,
        observation_matrix=np.eye(dynamics.states, dtype=np.float32),
        state_space=Discrete(dynamics.states),
        action_space=Discrete(dynamics.actions),
    )
    _, visited = mce_occupancy_measures(env, reward=reward)
    table = Table()
    norms: list[float] = []
    times: list[float] = []

    class Watched(MCEIRL):  # type: ignore[misc]
        """The peer, its gradient norms and times noted."""

        def _train_step(self, obs_mat: Any) -> Any:
            found = super()._train_step(obs_mat)
            times.append(time.process_time() - began)
            norms.append(float(np.linalg.norm(found[1] - visited)))
            return found

    peer = Watched(
        visited,
        env,
        table,
        np.random.default_rng(0),
        optimizer_kwargs={"lr": learning_rate},
        linf_eps=0.0,
        grad_l2_eps=0.0,
        log_interval=None,
    )
    began = time.process_time()
    peer.train(max_iter=updates)
    best = int(np.argmin(norms))
    return times[best], norms[best], best + 1


def the_project(
    dynamics: TabularDynamics, reward: NDArray[np.float64], norm: float
) -> tuple[float, float, int]:
    """Seconds until a gradient norm, the norm then, and L-BFGS iterations."""
    policy = finite_horizon_value_iteration(dynamics, reward, 1.0).policy
    expert = occupancy_over_time(dynamics, policy) / HORIZON
    began = time.process_time()
    # Occupancies here sum to 1, the peer's to the steps.
    matching = OccupancyMatching(dynamics, expert)
    found = matching.solve(1000, norm / HORIZON, lambda step, loss, at: False)
    return time.process_time() - began, found.gradient_norm * HORIZON, found.steps


def main() -> int:
    """Measures, prints a line, and returns 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=60, help="updates that the peer makes")
    parser.add_argument("--learning-rate", type=float, default=0.3, help="the peer's step size")
    parser.add_argument("--repeats", type=int, default=5, help="fits of the project; the median")
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: both are measured on one core")
    dynamics = grid()
    reward = np.random.default_rng(0).normal(size=dynamics.states)
    theirs, norm, updates = the_peer(dynamics, reward, arguments.updates, arguments.learning_rate)
    fits = [the_project(dynamics, reward, norm) for _ in range(arguments.repeats)]
    _, reached, steps = fits[-1]
    if not (math.isfinite(norm) and reached <= norm):
        print(f"MISS  the project's gradient norm is {reached:.3g}, the peer's {norm:.3g}")
        return 1
    ours = statistics.median(seconds for seconds, *_ in fits)
    ratio = theirs / ours
    print(
        f"{'ok  ' if ratio >= SPEED_UP else 'MISS'}  MCE IRL, 1,600 states, horizon {HORIZON}: "
        f"{ours:.2f} s ({steps} L-BFGS iterations, gradient norm {reached:.3g}), imitation "
        f"{theirs:.0f} s ({updates} updates, {norm:.3g}), {ratio:.0f} times as fast "
        f"(at least {SPEED_UP:g}); CPU time"
    )
    return 0 if ratio >= SPEED_UP else 1


if __name__ == "__main__":
    sys.exit(main())
