"""Soft value iteration on finite dynamics: against `imitation`'s, and on a million states.

    OMP_NUM_THREADS=1 python benchmarks/tabular_planning.py

Both plan for the same grid of 1,600 cells with slip over 50 steps, taking turns in this process on
one core, and must agree. Then a grid of a million cells in float32: the time of 50 sweeps, and the
largest memory of the process, which has loaded nothing else by then.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.occupancy import occupancy_over_time
from irlbench.tabular.planning import finite_horizon_value_iteration, value_iteration

SLIP = 0.1
DISCOUNT = 0.95
HORIZON = 50
SPEED_UP = 150.0
"""Times that the project plans while the peer plans once."""
SECONDS, BYTES = 2.0, 2**29
"""What a million states may take."""


def grid(side: int) -> TabularDynamics:
    """Four moves, clamped at the walls; a slip makes one of the four at random."""
    cells = np.arange(side * side, dtype=np.int32).reshape(side, side)
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
        discount=DISCOUNT,
    )


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def million(repeats: int) -> tuple[list[float], int]:
    """Seconds of 50 sweeps over a million states with slip, and the peak of the memory.

    Raises:
        AssertionError: If there were fewer sweeps.
    """
    dynamics = grid(1000)
    reward = np.random.default_rng(0).random(dynamics.states)
    # So fine a tolerance that the values need 50 sweeps.
    tolerance = DISCOUNT ** (HORIZON + 2)
    planned = partial(value_iteration, dynamics, reward, 1.0, tolerance=tolerance, dtype=np.float32)
    times = []
    for _ in range(repeats):
        taken, plan = seconds(planned)
        assert plan.sweeps >= HORIZON, f"only {plan.sweeps} sweeps"
        times.append(taken / plan.sweeps * HORIZON)
    return times, peak_memory()


def dense(dynamics: TabularDynamics) -> NDArray[np.float64]:
    """P(s'|s, a) as the peer wants it, `[states, actions, states]`."""
    transition = np.zeros((dynamics.states, dynamics.actions, dynamics.states))
    states = np.arange(dynamics.states)[:, None]
    for place in range(dynamics.successors.shape[2]):
        following = dynamics.successors[:, :, place]
        weights = dynamics.probabilities[:, :, place]
        np.add.at(transition, (states, np.arange(dynamics.actions), following), weights)
    return transition


def against_the_peer(repeats: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of project and peer, in turn: planning, and the plan's occupancy.

    Raises:
        AssertionError: If they disagree by more than 1e-6.
    """
    from imitation.algorithms.mce_irl import mce_occupancy_measures, mce_partition_fh

    dynamics = grid(40)
    reward = np.random.default_rng(0).normal(size=dynamics.states)
    peer = SimpleNamespace(
        horizon=HORIZON,
        state_dim=dynamics.states,
        action_dim=dynamics.actions,
        transition_matrix=dense(dynamics),
        initial_state_dist=dynamics.initial,
    )
    ours: list[list[float]] = [[], []]
    theirs: list[list[float]] = [[], []]
    for _ in range(repeats):
        taken, found = seconds(partial(mce_partition_fh, peer, reward=reward, discount=DISCOUNT))
        theirs[0].append(taken)
        _, Q, pi = found
        taken, (visited, _) = seconds(partial(mce_occupancy_measures, peer, reward=reward, pi=pi))
        theirs[1].append(taken)
        # Several: the peer's large arrays have just pushed everything out of the caches.
        for _ in range(10):
            taken, plan = seconds(partial(finite_horizon_value_iteration, dynamics, reward, 1.0))
            ours[0].append(taken)
            taken, over_time = seconds(partial(occupancy_over_time, dynamics, plan.policy))
            ours[1].append(taken)
        assert np.abs(plan.Q - Q).max() < 1e-6
        assert np.abs(plan.policy - pi).max() < 1e-6
        assert np.abs(over_time.sum(axis=2) - visited[:-1]).max() < 1e-6
    return {
        "soft value iteration": (ours[0], theirs[0]),
        "occupancy measures": (ours[1], theirs[1]),
    }


def main() -> int:
    """Measures, prints a line per bar, and returns 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="measurements; the median counts")
    repeats = parser.parse_args().repeats
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: both are measured on one core")
    times, peak = million(repeats)
    median = statistics.median(times)
    held = median <= SECONDS and peak <= BYTES
    print(
        f"{'ok  ' if held else 'MISS'}  1,000,000 states with slip, {HORIZON} sweeps, float32: "
        f"{median:.2f} s, {min(times):.2f} to {max(times):.2f} (at most {SECONDS:g} s); "
        f"peak {peak / 2**30:.2f} GiB (at most {BYTES / 2**30:g} GiB)"
    )
    for name, (ours, theirs) in against_the_peer(repeats).items():
        ratio = statistics.median(theirs) / statistics.median(ours)
        bar = SPEED_UP if name == "soft value iteration" else None
        held &= bar is None or ratio >= bar
        print(
            f"{'MISS' if bar is not None and ratio < bar else 'ok  '}  1,600 states, horizon "
            f"{HORIZON}, {name}: {statistics.median(ours) * 1e3:.2f} ms, imitation "
            f"{statistics.median(theirs) * 1e3:.0f} ms, {ratio:.0f} times as fast"
            + ("" if bar is None else f" (at least {bar:g})")
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
