"""A trial whose learning diverges leaves a record that says so, with the step and the term."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import irlbench
from irlbench.cli import main


@pytest.mark.parametrize(
    ("task", "setting"),
    [
        ("control/pendulum", "critic_learning_rate=1e30"),
        ("control/cartpole", "network_learning_rate=1e30"),
    ],
)
def test_a_diverged_trial_is_recorded_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, setting: str
) -> None:
    monkeypatch.setenv("IRLBENCH_HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    asked = ["run", task, "--algorithms", "sqil", "--seeds", "1", "--budget", "steps=200"]
    settings = [f"sqil.{setting}", "sqil.random_steps=10", "sqil.batch_size=16"]
    changed = [part for one in settings for part in ("--set", one)]
    assert main([*asked, *changed, "--out", str(out)]) == 1
    (row,) = irlbench.load_results(out).to_dicts()
    assert row["status"] == "failed"
    told = " ".join(str(value) for name, value in row.items() if "error" in name)
    assert re.search(r"learning diverged: \w+( action)? is \S+ at step \d+; smaller step", told)
