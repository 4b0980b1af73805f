"""Whether a run of the quick suite shows what it must.

    irlbench run quick --out runs/quick
    python benchmarks/quick_bars.py runs/quick

Bars: no failed trial, three worlds, at least 3 seeds a cell; behavioural cloning normalised at
least 0.95 on four-rooms, a return of at least 475 on CartPole on average, and on arithmetic a
verified accuracy above the base model's by more than 0.05, as the lower end of the 95% t-interval
of the difference paired by seeds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from irlbench import load_results
from irlbench.metrics.statistics import paired_difference, t_interval


def bars(results: Any) -> list[tuple[str, float, float]]:
    """What is measured, its value and the least that will do.

    Args:
        results: From `irlbench.load_results`.
    """

    def cell(task: str, algorithm: str) -> Any:
        rows = results.filter(
            (results["task"] == task)
            & (results["algorithm"] == algorithm)
            & (results["status"] == "done")
        )
        return rows.sort("seed")

    rooms = t_interval(cell("gridworld/four-rooms-v0", "bc")["normalised"])
    pole = t_interval(cell("control/cartpole-v0", "bc")["score"])
    learnt, base = (cell("text/arithmetic-v0", name) for name in ("bc", "base"))
    gained = paired_difference(learnt["score"], learnt["seed"], base["score"], base["seed"])
    seeds = results.group_by("task", "algorithm").len()["len"].min()
    return [
        ("trials that did not fail, share", (results["status"] == "done").mean(), 1.0),
        ("worlds", results["world"].n_unique(), 3),
        ("seeds per cell, least", seeds, 3),
        ("bc on four-rooms, normalised", rooms.estimate, 0.95),
        ("bc on CartPole, mean return", pole.estimate, 475.0),
        ("bc minus base on arithmetic, lower 95% bound", gained.low or 0.0, 0.05),
    ]


def main() -> int:
    """Prints a line per bar; 1 if one does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, help="output directory of `irlbench run quick`")
    held = True
    for name, value, least in bars(load_results(parser.parse_args().out)):
        held &= value >= least
        print(f"{'ok  ' if value >= least else 'MISS'}  {name}: {value:.4g} (at least {least:g})")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
