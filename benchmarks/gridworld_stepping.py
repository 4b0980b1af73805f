"""Batched stepping of four rooms, against Gymnasium's batched FrozenLake in the same run.

Both step under random actions with slip and next-step autoreset, on one thread. FrozenLake, which
has no native batch, gets the batch size that suits it best. Our rows begin at different times, so
that some begin anew in every step.

    python benchmarks/gridworld_stepping.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

import irlbench  # noqa: F401 - registers the environment ids

OURS, PEER = "irlbench/FourRooms-v0", "FrozenLake-v1"
PEER_ROWS = (1, 8, 64, 512, 4096)


def four_rooms(rows: int) -> VectorEnv:
    """Our batch, its rows spread over the episode."""
    envs = gym.make_vec(OURS, num_envs=rows)
    envs.reset(seed=0)
    ages = np.random.default_rng(0).integers(100, size=rows)
    for age in range(100):
        envs.reset(options={"reset_mask": ages == age})
        envs.step(np.zeros(rows, dtype=np.int64))
    return envs


def frozen_lake(rows: int) -> VectorEnv:
    """Gymnasium's batch of single environments."""
    envs = gym.make_vec(PEER, num_envs=rows, vectorization_mode="sync")
    envs.reset(seed=0)
    return envs


def steps_per_second(make: Callable[[int], VectorEnv], rows: int, seconds: float) -> float:
    """Rows stepped per second under random actions, drawn before the clock starts."""
    envs = make(rows)
    actions = np.random.default_rng(1).integers(4, size=(64, rows))
    for batch in actions[:4]:
        envs.step(batch)
    calls, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        envs.step(actions[calls % 64])
        calls += 1
    envs.close()
    return calls * rows / elapsed


def main() -> int:
    """Measures, prints, and returns 1 if the speed-up is below what was asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4096, help="rows of our batch")
    parser.add_argument("--seconds", type=float, default=1.0, help="per measurement")
    parser.add_argument("--repeats", type=int, default=3, help="measurements; the median counts")
    parser.add_argument("--at-least", type=float, default=0.0, help="fail below this speed-up")
    chosen = parser.parse_args()
    ours: list[float] = []
    peer: dict[int, list[float]] = {rows: [] for rows in PEER_ROWS}
    for _ in range(chosen.repeats):
        ours.append(steps_per_second(four_rooms, chosen.rows, chosen.seconds))
        for rows, found in peer.items():
            found.append(steps_per_second(frozen_lake, rows, chosen.seconds))
    medians = {rows: statistics.median(found) for rows, found in peer.items()}
    best = max(medians.values())
    ratio = statistics.median(ours) / best
    print(f"gymnasium {gym.__version__}, numpy {np.__version__}, one thread, steps per second")
    print(f"{OURS:<22} {chosen.rows:>5} rows {statistics.median(ours):>14,.0f}")
    for rows, median in medians.items():
        print(f"{PEER:<22} {rows:>5} rows {median:>14,.0f}{'  best' if median == best else ''}")
    print(f"speed-up over the best: {ratio:,.0f}x")
    return int(ratio < chosen.at_least)


if __name__ == "__main__":
    sys.exit(main())
