"""IQ-Learn on CartPole from one demonstration, every 20th step of it: 25 states and actions.

    OMP_NUM_THREADS=1 python benchmarks/cartpole_iq_learn.py [--out runs/cartpole-iq-learn]

Five seeds, each with a demonstration of its own, of those that ship with the task, frozen by hash.
With 10,000 steps of one environment, an update for each; all else is default. The policy is judged
every 500 steps over 20 validation episodes, and at the end over the 50 test episodes too. The first
of the 20 whose mean return is 500 and the last are both told: a best one alone would be picked on
what it is judged by. The bar is on the mean of the last ones, over validation and over test episodes.
Beside it, without any environment, IQ-Learn offline and behavioural cloning from the same 25 steps.

The trials are ordinary ones of `irlbench run` in one output directory: what is finished there is not
run again, so the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import irlbench
from irlbench.metrics.statistics import t_interval
from irlbench.registry import registry
from irlbench.running import provenance
from irlbench.running.record import Record
from irlbench.running.store import Store
from irlbench.serialisation import canonical_json

TASK, BAR, WHOLE = "control/cartpole", 475.0, 500.0
STEPS, EVERY, SUBSAMPLE, DEMONSTRATIONS = 10_000, 500, 20, 1
ONLINE, OFFLINE = "demonstrations+interaction", "demonstrations"


@dataclass(frozen=True)
class Row:
    """One algorithm in one track.

    Attributes:
        algorithm: Its id.
        track: Of `TRACKS`.
        steps: Environment steps; None where it takes none.
        saves: Policies that are judged along the way.
    """

    algorithm: str
    track: str
    steps: int | None
    saves: int

    def settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What it is run with, `changes` among it where it is IQ-Learn."""
        mine: dict[str, Any] = {}
        if self.algorithm == "iq-learn":
            mine = ({} if self.steps is None else {"num_envs": 1}) | dict(changes)
        return {**mine, "subsample": SUBSAMPLE, "saves": self.saves}


def rows(steps: int) -> tuple[Row, ...]:
    """What is measured, and what stands beside it."""
    return (
        Row("iq-learn", ONLINE, steps, steps // EVERY),
        Row("iq-learn", OFFLINE, None, 5),
        Row("bc", OFFLINE, None, 5),
    )


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        seed: Its seed.
        first: Steps after which a policy first returned 500 in the mean of all validation
            episodes; None: none did.
        last: Mean return of the last policy over validation episodes.
        final: The same over test episodes.
    """

    seed: int
    first: int | None
    last: float
    final: float


def outcome(record: Record, curve: Any) -> Outcome:
    """Reads a finished trial.

    Args:
        record: Its record.
        curve: A polars data frame: step, seconds, kind, name, value.

    Raises:
        SystemExit: If no policy was handed in along the way.
    """
    found = curve.filter((curve["kind"] == "validation") & (curve["name"] == "return"))
    points = sorted((row["step"], row["value"]) for row in found.to_dicts())
    if not points:
        raise SystemExit(f"trial {record.trial[:12]} handed in no policy: give it more --steps")
    first = next((step for step, value in points if value >= WHOLE), None)
    return Outcome(record.spec["seed"], first, points[-1][1], record.scores["return"])


def outcomes(
    row: Row, seeds: Sequence[int], changes: Mapping[str, Any], out: Path
) -> list[Outcome]:
    """Runs the trials of a row, those that are not there already, and reads them.

    Args:
        row: Which.
        seeds: A trial for each.
        changes: Settings of IQ-Learn that differ from its defaults.
        out: Output directory.

    Raises:
        SystemExit: If one was interrupted or failed, or was given other demonstrations than ship.
    """
    settings = row.settings(changes)
    summary = irlbench.run(
        TASK,
        algorithms=row.algorithm,
        track=row.track,
        seeds=seeds,
        threads=1,
        device="cpu",
        demonstrations=DEMONSTRATIONS,
        budget={} if row.steps is None else {"steps": row.steps},
        settings={f"{row.algorithm}.{name}": value for name, value in settings.items()},
        out=out,
    )
    if summary.interrupted:
        raise SystemExit("interrupted: the same command goes on")
    if summary.failures:
        raise SystemExit(f"{row.algorithm} failed: {summary.failures[0][1]}")
    cls, task = registry().algorithm(row.algorithm), registry().task(TASK)
    wanted = {
        "algorithm": row.algorithm,
        "algorithm_version": cls.version,
        "task_hash": task.hash,
        "track": row.track,
        "demonstrations": DEMONSTRATIONS,
        "config": json.loads(
            canonical_json(dataclasses.asdict(cls.configure(task.world, settings).config))
        ),
    }
    steps = task.info.budget.steps if row.steps is None else row.steps
    store, made = Store(out), []
    for record in store.records():
        spec = record.spec
        if (
            all(spec[name] == value for name, value in wanted.items())
            and spec["seed"] in seeds
            and spec["budget"] == {"steps": steps, "gradient_steps": None, "seconds": None}
        ):
            _require_shipped(record)
            made.append(outcome(record, store.curve(record.trial, record.curve_points)))
    assert len(made) == len(seeds), f"{len(made)} trials found of {len(seeds)}"
    return sorted(made, key=lambda found: found.seed)


def _require_shipped(record: Record) -> None:
    task: Any = registry().task(TASK)
    found, frozen = record.data["built"]["demonstrations"], task.frozen.content_hash
    if found != frozen:
        raise SystemExit(
            f"trial {record.trial[:12]} learnt from demonstrations of content {found[:12]}, but "
            f"{frozen[:12]} ship: name another --out"
        )


def told(row: Row, found: Sequence[Outcome]) -> str:
    """A row's means over seeds, with the interval of the last."""
    final = t_interval([one.final for one in found])
    ends = "" if final.low is None else f", 95% interval {final.low:.0f} to {final.high:.0f}"
    where = "offline" if row.steps is None else f"after {row.steps:,} steps"
    return (
        f"{row.algorithm} {where}: mean final return {final.estimate:.1f} over test episodes{ends}; "
        f"{statistics.fmean(one.last for one in found):.1f} over validation episodes; "
        f"{len(found)} seeds"
    )


def verdict(found: Sequence[Outcome]) -> bool:
    """Whether the mean of the last policies is at the bar, on validation and test episodes."""
    return all(
        statistics.fmean(getattr(one, name) for one in found) >= BAR for name in ("last", "final")
    )


def report(row: Row, found: Sequence[Outcome]) -> None:
    """Prints a line for each seed."""
    for one in found:
        first = "never" if one.first is None else f"at step {one.first:,}"
        hit = "" if row.steps is None else f"{WHOLE:g} first hit {first}; "
        print(
            f"      {row.algorithm} seed {one.seed}: {hit}last {one.last:.1f} over validation "
            f"episodes, {one.final:.1f} over test episodes",
            flush=True,
        )


def main() -> int:
    """Runs, prints a line per seed and a verdict; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="trials of each")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the environment")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a setting of iq-learn"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/cartpole-iq-learn"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: more threads give other numbers")
    if arguments.steps < EVERY:
        parser.error(f"--steps must be at least {EVERY}, got {arguments.steps}")
    if wrong := [text for text in arguments.set if "=" not in text]:
        parser.error(f"--set {wrong[0]}: write field=value")
    changes = dict(text.split("=", 1) for text in arguments.set)
    print(provenance.told("torch", "numpy", "gymnasium"))
    seeds = range(arguments.seeds)
    measured, *beside = rows(arguments.steps)
    found = outcomes(measured, seeds, changes, arguments.out)
    report(measured, found)
    print(f"{'ok  ' if verdict(found) else 'MISS'}  {told(measured, found)} (at least {BAR:g})")
    for row in beside:
        other = outcomes(row, seeds, changes, arguments.out)
        report(row, other)
        print(f"      {told(row, other)}")
    return 0 if verdict(found) else 1


if __name__ == "__main__":
    sys.exit(main())
