"""What running trials costs beside the trials: per trial, with all done already, with two jobs.

    python benchmarks/executor.py [--repeats 5]

- the executor's share per trial: trials that do nothing, one at a time;
- a directory in which all of 10,000 planned trials are done: the whole of `irlbench.run`, its fork
  server, preparation, plan, and a check of every file of every record;
- two jobs on two cores against one, on trials that keep one core busy for about a second.

The fork server is started, and what it preloads imported, before anything is timed. The median of
the repeats is held against the bar.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import irlbench
from irlbench.registry import registry
from irlbench.running import plan
from irlbench.running.store import Store
from irlbench.task import Prepared

PLUGIN = Path(__file__).with_name("idle.py")
TASK, NOTHING, COUNTS = "gridworld/idle", "idle/nothing", "idle/counts"
SHARE_BAR, FOUND_BAR, JOBS_BAR = 0.050, 5.0, 1.8
TRIALS, FEW, ROUNDS = 10_000, 50, 1_500_000


class Silent:
    """Hears when the first trial may start, and tells nobody."""

    began = 0.0

    def planned(self, trials: Any) -> None:
        """See `Progress.planned`."""
        self.began = time.perf_counter()

    def __getattr__(self, name: str) -> Any:
        return lambda *told: None


def run(out: Path, algorithm: str, seeds: int, jobs: int, rounds: int = 0) -> float:
    """Seconds from the plan to the last record.

    Raises:
        AssertionError: If a trial did not come to its end.
    """
    heard: Any = Silent()
    summary = irlbench.run(
        TASK,
        algorithms=algorithm,
        seeds=seeds,
        jobs=jobs,
        settings={f"{algorithm}.rounds": rounds},
        plugins=PLUGIN,
        out=out,
        device="cpu",
        progress=heard,
    )
    assert summary.done + summary.reused == seeds and not summary.failures
    return time.perf_counter() - heard.began


def share(folder: Path, repeats: int) -> list[float]:
    """Seconds per trial that does nothing."""
    return [run(folder / f"share{i}", NOTHING, FEW, 1) / FEW for i in range(repeats)]


def found(folder: Path, repeats: int) -> list[float]:
    """Seconds of a run that finds everything done."""
    out = folder / "found"
    run(out, NOTHING, 1, 1)
    _multiply(out)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run(out, NOTHING, TRIALS, 1)
        times.append(time.perf_counter() - began)
    return times


def _multiply(out: Path) -> None:
    """Makes the records of all trials from that of one."""
    store = Store(out)
    (model,) = store.records()
    choices = plan.Choices((TASK,), algorithms=(NOTHING,), seeds=tuple(range(TRIALS)))
    cells = plan.cells(choices)
    for spec in plan.trials(cells, {cell.task.id: Prepared() for cell in cells}, choices):
        if spec.id != model.trial:
            folder = shutil.copytree(store.folder(model.trial), store.folder(spec.id))
            record = dataclasses.replace(model, trial=spec.id, spec=spec.to_json()).sealed([])
            (folder / "record.json").write_text(json.dumps(record.to_json(), indent=1))


def jobs_ratio(folder: Path, repeats: int) -> list[float]:
    """How many times as fast two jobs are as one, on the same trials."""
    ratios = []
    for i in range(repeats):
        one, two = (run(folder / f"jobs{i}-{n}", COUNTS, 8, n, ROUNDS) for n in (1, 2))
        ratios.append(one / two)
    return ratios


def main() -> int:
    """Measures, prints a line per figure, and returns 1 if one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="measurements; the median counts")
    repeats = parser.parse_args().repeats
    registry().load_plugin(PLUGIN)
    held = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder / "first", NOTHING, 2, 1)  # imports what has to be imported
        for what, unit, bar, values in (
            ("executor's share of a trial", "ms", -1e3 * SHARE_BAR, share(folder, repeats)),
            (f"{TRIALS:,} trials found done", "s", -FOUND_BAR, found(folder, repeats)),
            ("two jobs against one", "times", JOBS_BAR, jobs_ratio(folder, repeats)),
        ):
            factor = 1e3 if unit == "ms" else 1.0
            median = factor * statistics.median(values)
            good = median >= bar if bar > 0 else median <= -bar
            held &= good
            spread = f"{factor * min(values):.2f} to {factor * max(values):.2f}"
            side = "at least" if bar > 0 else "under"
            told = f"{what}: {median:.2f} {unit}, {spread} ({side} {abs(bar):g})"
            print(f"{'ok  ' if good else 'MISS'}  {told}", flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
