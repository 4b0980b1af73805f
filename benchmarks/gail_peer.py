"""GAIL against the `imitation` package's: wall-clock until a policy is at 90% of the expert.

    OMP_NUM_THREADS=1 python benchmarks/gail_peer.py [control/cartpole] [--out runs/gail-peer]

On CartPole (5 seeds) and HalfCheetah (3 seeds), seed by seed: ours, then the peer, which is stopped
after 3 times what ours took. Both learn from the same demonstrations, on one core, and hand in
policies at regular steps. The clock is the learner's; policies are judged in a process beside it,
on the task's validation episodes, so the time of that is not counted. The first policy whose
normalised return is at least 0.9 has arrived.

The trials are ordinary ones of `irlbench run` in one output directory: what is finished there is not
run again, so the same command goes on after a kill. Two cores must be free, for the learner and for
what judges it: on a busy machine times vary by more than the bar. The peer has the settings of its
command line on CartPole, and those that its release ships as tuned for HalfCheetah there. Ours has
its defaults on HalfCheetah, and on CartPole the settings below, which were chosen at seeds from 1000
on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import irlbench
from irlbench.registry import registry
from irlbench.running import provenance
from irlbench.running.record import Record
from irlbench.running.store import Store
from irlbench.serialisation import canonical_json

NORMALISED, SPEED_UP = 0.9, 3.0
#: More than any of its trials comes to: the clock ends them.
PEER_STEPS = 20_000_000


@dataclass(frozen=True)
class Plan:
    """How one task is measured.

    Attributes:
        seeds: How many.
        steps: Of ours; it has arrived by then, or not at all.
        every: Steps between policies that are handed in, of both.
        ours: Settings of ours that differ from its defaults.
        peer: The same of the peer.
    """

    seeds: int
    steps: int
    every: int
    ours: Mapping[str, Any] = field(default_factory=dict)
    peer: Mapping[str, Any] = field(default_factory=dict)


PLANS: Mapping[str, Plan] = {
    "control/cartpole": Plan(
        seeds=5,
        steps=50_000,
        every=500,
        # The peer's form of the reward, more environments at once and smaller batches, as it has them.
        ours={
            "reward": "-log(1-D)",
            "absorbing": False,
            "num_envs": 16,
            "random_steps": 100,
            "batch_size": 64,
            "network_learning_rate": 3e-3,
            "network_discriminator_learning_rate": 6e-4,
            "discriminator_every": 2,
            "gradient_penalty": 1.0,
        },
    ),
    "control/halfcheetah": Plan(
        seeds=3,
        steps=300_000,
        every=5_000,
        # imitation/scripts/config/tuned_hps/gail_seals_half_cheetah_best_hp_eval.json, but for the
        # discount, which is the task's.
        peer={
            "rollout": 4096,
            "epochs": 5,
            "clip": 0.1,
            "entropy": 3.992371122209408e-6,
            "learning_rate": 0.00026250519057717037,
            "value_weight": 0.11483689492120866,
            "gradient_clip": 0.8,
            "normalise_observations": True,
            "demo_batch_size": 8192,
            "discriminator_updates": 8,
            "newest": 512,
        },
    ),
}


@dataclass(frozen=True)
class Arrival:
    """When a trial's policies came to the expert.

    Attributes:
        seconds: Of learning; infinite where none did.
        step: Environment steps until then; None where none did.
        best: The best normalised return on validation episodes.
        last: That of the last policy.
    """

    seconds: float
    step: int | None
    best: float
    last: float


def arrival(points: list[tuple[float, int, float]]) -> Arrival:
    """The first point of a curve that is at the expert.

    Args:
        points: Seconds, steps and normalised returns.
    """
    best = max((value for _, _, value in points), default=-math.inf)
    last = max(points)[2] if points else -math.inf
    for seconds, step, value in sorted(points):
        if value >= NORMALISED:
            return Arrival(seconds, step, best, last)
    return Arrival(math.inf, None, best, last)


def measured(record: Record, curve: Any) -> Arrival:
    """When a finished trial came to the expert.

    Args:
        record: Its record.
        curve: A polars data frame: step, seconds, kind, name, value.
    """
    name = record.primary["name"]
    low, high = (record.references[record.primary[end]][name] for end in ("low", "high"))
    rows = curve.filter((curve["kind"] == "validation") & (curve["name"] == name))
    points = [(r["seconds"], r["step"], (r["value"] - low) / (high - low)) for r in rows.to_dicts()]
    return arrival(points)


def trial(
    out: Path,
    task: str,
    algorithm: str,
    seed: int,
    budget: Mapping[str, float | None],
    settings: Mapping[str, Any],
) -> Arrival:
    """Runs a trial, unless it is there already, and reads when it arrived.

    Raises:
        SystemExit: If it was interrupted or failed.
    """
    summary = irlbench.run(
        task,
        algorithms=algorithm,
        seeds=[seed],
        jobs=1,
        threads=1,
        device="cpu",
        budget=budget,
        settings={f"{algorithm}.{name}": value for name, value in settings.items()},
        out=out,
    )
    if summary.interrupted:
        raise SystemExit("interrupted: the same command goes on")
    if summary.failures:
        raise SystemExit(f"{task} {algorithm} seed {seed} failed: {summary.failures[0][1]}")
    cls, whole = registry().algorithm(algorithm), registry().task(task)
    config = dataclasses.asdict(cls.configure(whole.world, settings).config)
    wanted = {
        "task": whole.id,
        "algorithm": algorithm,
        "algorithm_version": cls.version,
        "seed": seed,
        "config": json.loads(canonical_json(config)),
    }
    store = Store(out)
    (found,) = [
        record
        for record in store.records()
        if all(record.spec[name] == value for name, value in wanted.items())
        and all(record.spec["budget"][name] == value for name, value in budget.items())
    ]
    return measured(found, store.curve(found.trial, found.curve_points))


def told(found: Arrival, given: float | None = None) -> str:
    """An arrival in a few words.

    Args:
        found: Which.
        given: Seconds after which the trial was stopped.
    """
    if found.step is not None:
        return f"{found.seconds:.1f} s, {found.step:,} steps (last {found.last:.2f})"
    within = "its steps" if given is None else f"{given:.1f} s"
    return f"not in {within} (best {found.best:.2f})"


def seeds_of(
    task: str,
    ours: str,
    peer: str,
    out: Path,
    seeds: int | None,
    changes: Mapping[str, Any],
) -> list[float]:
    """Measures a task, a line for each seed.

    Args:
        task: One of `PLANS`.
        ours: Id of the algorithm that is measured.
        peer: Id of the one that it is measured against.
        out: Output directory.
        seeds: How many; None: the plan's.
        changes: Settings of ours that differ from its defaults.

    Returns:
        For each seed how many times the peer's time is ours, at most as far as it was let run:
        infinite where it did not arrive, 0 where ours did not.
    """
    plan, ratios = PLANS[task], []
    for seed in range(plan.seeds if seeds is None else seeds):
        saves = plan.steps // plan.every
        settings = {**plan.ours, **changes, "saves": saves}
        mine = trial(out, task, ours, seed, {"steps": plan.steps}, settings)
        if mine.step is None:
            print(f"{task}  seed {seed}  {ours}: {told(mine)}", flush=True)
            ratios.append(0.0)
            continue
        given = round(SPEED_UP * mine.seconds, 1)
        theirs = trial(
            out,
            task,
            peer,
            seed,
            {"steps": PEER_STEPS, "seconds": given},
            {**plan.peer, "steps": PEER_STEPS, "saves": PEER_STEPS // plan.every},
        )
        ratios.append(theirs.seconds / mine.seconds)
        print(
            f"{task}  seed {seed}  {ours}: {told(mine)}  {peer}: {told(theirs, given)}  "
            f"ratio {ratios[-1]:.2f}",
            flush=True,
        )
    return ratios


def main() -> int:
    """Measures, prints a line per seed and a verdict per task; 1 if one misses the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", default=list(PLANS), help="of " + ", ".join(PLANS))
    parser.add_argument("--ours", default="gail", help="the algorithm that is measured")
    parser.add_argument("--peer", default="imitation/gail", help="what it is measured against")
    parser.add_argument("--seeds", type=int, help="how many of each task; 5 and 3 unless told")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a setting of ours"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gail-peer"), help="keeps the trials")
    arguments = parser.parse_args()
    if unknown := set(arguments.tasks) - set(PLANS):
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))}; known: {', '.join(PLANS)}")
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: both are measured on one core")
    if wrong := [text for text in arguments.set if "=" not in text]:
        parser.error(f"--set {wrong[0]}: write field=value")
    changes = dict(text.split("=", 1) for text in arguments.set)
    print(provenance.told("torch", "numpy", "gymnasium", "mujoco", "imitation"))
    verdicts = []
    for task in arguments.tasks:
        ratios = seeds_of(
            task, arguments.ours, arguments.peer, arguments.out, arguments.seeds, changes
        )
        median, held = statistics.median(ratios), sum(r >= SPEED_UP for r in ratios)
        verdicts.append(median >= SPEED_UP)
        told_median = "more, the peer did not arrive" if median == math.inf else f"{median:.2f}"
        print(
            f"{'ok  ' if verdicts[-1] else 'MISS'}  {task}: wall-clock to {NORMALISED:.0%} of the "
            f"expert, {arguments.peer} over {arguments.ours}: median {told_median} (at least "
            f"{SPEED_UP:g}); at {held} of {len(ratios)} seeds",
            flush=True,
        )
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
