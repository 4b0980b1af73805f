"""How long it takes to plan 10,000 trials: names checked, configurations made, ids computed.

    python benchmarks/planning.py [--repeats 5]

Two plans: one configuration under 10,000 seeds, and 100 configurations under 100 seeds each. The
median of the repeats is held against the bar. What is imported on the way is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from irlbench.running import plan
from irlbench.running.trial import TrialSpec
from irlbench.task import Prepared

TRIALS = 10_000
BAR = 2.0
"""Seconds that a plan may take."""

TASK = ("gridworld/four-rooms",)
PLANS = {
    "1 configuration, 10,000 seeds": plan.Choices(
        TASK, algorithms=("bc",), seeds=tuple(range(TRIALS))
    ),
    "100 configurations, 100 seeds": plan.Choices(
        TASK, algorithms=("bc",), seeds=tuple(range(100)), demonstrations=tuple(range(1, 101))
    ),
}


def planned(choices: plan.Choices) -> list[TrialSpec]:
    """The trials of a run, as `irlbench run` plans them once its tasks are prepared."""
    cells = plan.cells(choices)
    return plan.trials(cells, {cell.task.id: Prepared() for cell in cells}, choices)


def measure(choices: plan.Choices, repeats: int) -> list[float]:
    """Seconds that a plan takes, each time anew.

    Raises:
        AssertionError: If it has not `TRIALS` trials of different ids.
    """
    times = []
    for turn in range(repeats + 1):
        began = time.perf_counter()
        specs = planned(choices)
        found = {spec.id for spec in specs}
        if turn:  # the first imports
            times.append(time.perf_counter() - began)
        assert len(specs) == len(found) == TRIALS
    return times


def main() -> int:
    """Measures, prints a line per plan, and returns 1 if one takes longer than its bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="measurements; the median counts")
    repeats = parser.parse_args().repeats
    held = True
    for name, choices in PLANS.items():
        times = measure(choices, repeats)
        median = statistics.median(times)
        held &= median < BAR
        print(
            f"{'ok  ' if median < BAR else 'MISS'}  {TRIALS:,} trials planned ({name}): "
            f"{median:.3f} s, {min(times):.3f} to {max(times):.3f} (under {BAR:g} s)"
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
