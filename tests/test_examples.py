"""The examples run as the README says."""

from __future__ import annotations

from pathlib import Path

import irlbench

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_an_own_algorithm_runs_beside_bc(tmp_path: Path) -> None:
    summary = irlbench.run(
        "gridworld/four-rooms",
        algorithms=["bc", "example/smoothed-counts"],
        plugins=[EXAMPLES / "smoothed_counts.py"],
        seeds=1,
        out=tmp_path / "mine",
    )
    assert (summary.done, summary.failed) == (2, 0)
    results = irlbench.load_results(tmp_path / "mine")
    scores = dict(zip(results["algorithm"], results["normalised"], strict=True))
    assert scores["example/smoothed-counts"] > 0.9
