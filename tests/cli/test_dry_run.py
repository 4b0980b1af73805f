"""What `irlbench run --dry-run` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from irlbench.cli import dry_run, main
from irlbench.cli.output import VERBOSITY
from irlbench.running.estimates import Basis, Plan, PlannedCell

SAME = Basis(3, True, 100.0, 1_400_000)


@pytest.fixture(autouse=True)
def _usual_verbosity(monkeypatch):
    monkeypatch.setattr(VERBOSITY, "verbose", False)
    monkeypatch.setattr(VERBOSITY, "quiet", False)


def _cell(to_run: int = 4, basis: Basis = SAME, **more: Any) -> PlannedCell:
    values: dict[str, Any] = {"task": "control/cartpole-v0", "algorithm": "bc", "given": ""}
    values |= {"retried": 0, "there": 10, "failed": 0}
    return PlannedCell(to_run=to_run, basis=basis, **{**values, **more})


def _plan(*cells: PlannedCell, jobs: int = 2, wall: float = 200.0, free: int = 70 * 10**9) -> Plan:
    return Plan(Path("runs/quick"), jobs, cells, wall, free)


def test_rows_align_and_say_what_they_rest_on(capsys):
    other = Basis(1, False, 0.01, None)
    dry_run.show(
        _plan(
            _cell(given="2 demonstrations", retried=1),
            _cell(3, other, algorithm="random", there=7, failed=2),
            _cell(5, Basis(), algorithm="new", there=0),
        )
    )
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "  task                 algorithm  to run  there  failed        time    disk"
        "  judged by                 given",
        "  control/cartpole-v0  bc              4     10       1  1 min 40 s  1.4 MB"
        "  3 records                 2 demonstrations",
        "  control/cartpole-v0  random          3      7       2      <0.1 s        "
        "  1 record, other settings",
        "  control/cartpole-v0  new             5      0       0",
        "",
        "12 trials to run, 17 there already: at least 3 min 20 s with 2 jobs (5 trials without an "
        "earlier record not counted), 6 min 40 s one by one, at least 5.6 MB in runs/quick "
        "(70 GB free)",
        "2 trials failed before; --retry-failed runs what failed again",
        "next: the same command without --dry-run",
    ]
    assert told.err == ""


def test_totals_in_words():
    told = dry_run.totals(_plan(_cell(), jobs=1, wall=400.0))
    assert told == (
        "4 trials to run, 10 there already: about 6 min 40 s with 1 job, 5.6 MB in runs/quick "
        "(70 GB free)"
    )
    told = dry_run.totals(_plan(_cell(1, Basis(2, True, 5.0, None), there=0), wall=5.0))
    assert told == (
        "1 trial to run, 0 there already: about 5.0 s with 2 jobs, 5.0 s one by one; "
        "70 GB free in runs/quick"
    )
    told = dry_run.totals(_plan(_cell(1200, Basis(), there=3400), wall=0.0))
    assert told == (
        "1,200 trials to run, 3,400 there already: no earlier record tells how long; "
        "70 GB free in runs/quick"
    )
    told = dry_run.totals(_plan(_cell(0, Basis()), wall=0.0))
    assert told == "0 trials to run, 10 there already in runs/quick"


def test_a_disk_that_is_too_small_is_warned_of(capsys):
    dry_run.show(_plan(_cell(), free=5_600_000))
    assert capsys.readouterr().err == ""
    dry_run.show(_plan(_cell(), free=5_599_999))
    assert capsys.readouterr().err == (
        "irlbench: the records may not fit: 5.6 MB to write, 5.6 MB free; "
        "free some space, or name another --out\n"
    )


def test_a_long_plan_is_shown_in_part_unless_asked_for(capsys, monkeypatch):
    cells = [_cell(given=f"{n} demonstrations") for n in range(1, 10_001)]
    dry_run.show(_plan(*cells))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 40 + 1 + 1 + 2
    assert lines[41] == "  ... and 9,960 rows more (`-v` shows them)"
    assert lines[-2].startswith("40,000 trials to run, 100,000 there already: about")
    monkeypatch.setattr(VERBOSITY, "verbose", True)
    dry_run.show(_plan(*cells))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 10_000 + 1 + 2
    assert lines[10_000].endswith("10000 demonstrations")


def test_quiet_leaves_the_hints_out(capsys, monkeypatch):
    monkeypatch.setattr(VERBOSITY, "quiet", True)
    dry_run.show(_plan(_cell(failed=1)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("4 trials to run")


def test_the_command_prints_it_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plugin = Path(__file__).parents[1] / "running" / "toy_plugin.py"
    asked = ["run", "gridworld/toy", "-a", "toy/good", "--plugin", str(plugin), "--out", "out"]
    assert main([*asked, "--seeds", "100", "--jobs", "3", "--dry-run"]) == 0
    told = capsys.readouterr()
    rows = told.out.splitlines()
    assert rows[1].split()[:5] == ["gridworld/toy-v0", "toy/good", "100", "0", "0"]
    assert rows[3].startswith(
        "100 trials to run, 0 there already: no earlier record tells how long"
    )
    assert rows[3].endswith(" free in out")
    assert told.err == ""
    assert list(tmp_path.iterdir()) == []
    assert main(["run", "gridworld/toy", "-a", "toy/god", "--dry-run"]) == 2
    assert "did you mean 'toy/good'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_951, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (14_300_000, "14 MB"),
        (70_000_000_000, "70 GB"),
        (1_500_000_000_000, "1.5 TB"),
        (12_345_000_000_000_000, "12,345 TB"),
    ],
)
def test_sizes(number: int, text: str):
    assert dry_run.size(number) == text
