"""What the exact laboratory showed: tables of the gridworld suite's results, in Markdown.

    irlbench run gridworld --out runs/gridworld
    irlbench export runs/gridworld --out results/gridworld
    python benchmarks/laboratory.py results/gridworld > docs/laboratory.md

A cell is the mean over seeds with half the width of its 95% t-interval; where a trial failed, their
number stands beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from irlbench import load_results
from irlbench.metrics.statistics import t_interval
from irlbench.registry import registry

INTRODUCTION = """\
# The exact laboratory

Every algorithm in every track it can run in, on the gridworlds, {seeds} seeds each, with default
configurations. They are **not tuned**, but defaults were looked at on seeds 0 and 1 of some of
these tasks while the algorithms were written. All figures are from the records in
[results/gridworld](../results/gridworld/leaderboard.md), where intervals, costs and every trial
stand; `python benchmarks/laboratory.py results/gridworld` makes this page.

A cell is the mean over seeds ± half the width of its 95% t-interval. "-" is where an algorithm
cannot run, or a measure does not apply (see [gridworlds](gridworlds.md)). Only rows of one track
were given the same. *Known* stands for known dynamics, *sampled* for interaction.

![Four rooms: what each algorithm recovered](../results/gridworld/figures/gridworld-four-rooms-v0.svg)

Figures of the other tasks are in [results/gridworld/figures](../results/gridworld/figures);
[gridworlds](gridworlds.md) says how to read them.
"""

MEASURES = {
    "normalised": (
        "Behaviour",
        "Return of the final policy: 0 is the uniform policy, 1 the expert. An expert that acts "
        "with entropy can be beaten.",
    ),
    "metric.starc": (
        "Distance of the recovered reward",
        "STARC: 0 is the true reward up to shaping and scale, 1 its negation.",
    ),
    "metric.reoptimised_regret": (
        "Regret of what the recovered reward asks for",
        "The best policy for the recovered reward, in the same dynamics: 0 is optimal, 1 the "
        "uniform policy.",
    ),
    "metric.transfer_regret": (
        "Regret after transfer",
        "The same in the task's changed dynamics.",
    ),
}
#: Tracks as the page calls them.
TRACKS = {
    "demonstrations": "offline",
    "demonstrations+interaction": "sampled",
    "demonstrations+dynamics": "known",
    "preferences": "offline",
    "preferences+interaction": "sampled",
    "preferences+dynamics": "known",
}


def page(results: Any) -> str:
    """The page.

    Args:
        results: From `irlbench.load_results`.
    """
    ranked = results.filter(pl.col("track") != "reference")
    usual = {task: registry().task(task).info.demonstrations for task in ranked["task"].unique()}
    given = pl.col("demonstrations")
    expected = pl.col("task").replace_strict(usual, return_dtype=pl.Int64)
    main = ranked.filter(given.is_null() | (given == expected))
    parts = [INTRODUCTION.format(seeds=_seeds(ranked))]
    for column, (title, meaning) in MEASURES.items():
        if column in main.columns:
            parts += [f"## {title}\n\n{meaning}\n", _by_task(main, column)]
    numbers = ranked.filter(given.is_not_null() & (given != expected))
    if len(numbers):
        parts.append(
            "## Against the number of demonstrations\n\nReturn as above, and below it the regret "
            "after transfer.\n"
        )
        for task in (task for task in _order() if task in set(numbers["task"])):
            of_task = ranked.filter((pl.col("task") == task) & given.is_not_null())
            parts.append(f"### {_name(task)}\n")
            parts += [_by_number(of_task, c) for c in ("normalised", "metric.transfer_regret")]
    return "\n".join(parts)


def _seeds(rows: Any) -> str:
    """How many there are in every cell, or at least and at most."""
    cell = ("task", "algorithm", "track", "demonstrations", "preferences")
    counts = rows.group_by(cell).agg(pl.col("seed").n_unique())["seed"]
    least, most = counts.min(), counts.max()
    return str(least) if least == most else f"{least} to {most}"


def _by_task(rows: Any, column: str) -> str:
    tasks = [task for task in _order() if task in set(rows["task"])]
    lines = []
    for algorithm, track in sorted(set(rows.select("algorithm", "track").iter_rows()), key=_place):
        own = rows.filter((pl.col("algorithm") == algorithm) & (pl.col("track") == track))
        cells = [_cell(own.filter(pl.col("task") == task), column) for task in tasks]
        if any(cell != "-" for cell in cells):
            lines.append([f"{algorithm}, {TRACKS[track]}", *cells])
    return _table(["", *map(_name, tasks)], lines)


def _by_number(rows: Any, column: str) -> str:
    numbers = sorted(rows["demonstrations"].unique())
    lines = []
    for algorithm, track in sorted(set(rows.select("algorithm", "track").iter_rows()), key=_place):
        own = rows.filter((pl.col("algorithm") == algorithm) & (pl.col("track") == track))
        if own["demonstrations"].n_unique() < len(numbers):
            continue
        cells = [_cell(own.filter(pl.col("demonstrations") == n), column) for n in numbers]
        lines.append([f"{algorithm}, {TRACKS[track]}", *cells])
    return _table(["demonstrations", *map(str, numbers)], lines)


def _cell(rows: Any, column: str) -> str:
    values = rows[column].drop_nulls()
    failed = int((rows["status"] == "failed").sum())
    lost = f" ({failed} failed)" if failed else ""
    if not len(values):
        return f"-{lost}"
    found = t_interval(values)
    if found.low is None or found.high is None:
        return f"{found.estimate:.2f}{lost}"
    return f"{found.estimate:.2f} ±{(found.high - found.low) / 2:.2f}{lost}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _place(cell: tuple[str, str]) -> tuple[bool, str, int]:
    """Demonstrations first, then by name, then by track."""
    algorithm, track = cell
    return track.startswith("preferences"), algorithm, list(TRACKS).index(track)


def _order() -> list[str]:
    """Tasks in the order of the suite."""
    entries = registry().get("suites", "gridworld").entries
    return list(dict.fromkeys(entry.task for entry in entries))


def _name(task: str) -> str:
    return task.split("/")[1].removesuffix("-v0")


def main() -> int:
    """Prints the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("results", type=Path, help="records of the gridworld suite")
    sys.stdout.write(page(load_results(parser.parse_args().results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
