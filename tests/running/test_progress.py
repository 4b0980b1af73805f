"""What a run tells while it is under way."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from irlbench.running.progress import (
    LiveProgress,
    PlainProgress,
    describe,
    duration,
    progress_for,
    step_reporter,
)
from irlbench.running.record import Record
from irlbench.running.trial import TrialSpec


def _trial(seed: int = 0, algorithm: str = "bc") -> TrialSpec:
    return TrialSpec(
        task="gridworld/toy-v0",
        task_hash="0" * 64,
        algorithm=algorithm,
        algorithm_version=1,
        plugin_hash=None,
        config={},
        budget={"steps": None, "gradient_steps": None, "seconds": None},
        track="demonstrations",
        demonstrations=1,
        preferences=None,
        seed=seed,
        demos=None,
        given={},
        model=None,
        device="cpu",
        threads=1,
    )


def _record(trial: TrialSpec, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "trial": trial.id,
        "status": "done",
        "spec": trial.to_json(),
        "world": "gridworld",
        "environment": "irlbench/Toy-v0",
        "primary": {
            "name": "return",
            "higher_is_better": True,
            "low": "random",
            "high": "expert",
        },
        "references": {},
        "scores": {"return": 12.3456},
        "costs": {"seconds": 75.0},
    }
    return Record(**{**values, **changes})


def _failed(trial: TrialSpec, message: str) -> Record:
    error = {"type": "ValueError", "message": message, "traceback": ""}
    return _record(trial, status="failed", scores={}, error=error)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_durations_are_for_people():
    seconds = [0.04, 9.94, 12.4, 59.4, 200, 3599, 7500]
    assert [duration(s) for s in seconds] == [
        "0.0 s",
        "9.9 s",
        "12 s",
        "59 s",
        "3 min 20 s",
        "59 min 59 s",
        "2 h 05 min",
    ]


def test_an_outcome_in_a_few_words():
    assert describe(_record(_trial())) == "return 12.35 in 1 min 15 s"
    assert describe(_failed(_trial(), " loss is nan\nmore")) == "ValueError: loss is nan"


def test_plain_lines():
    stream, now = io.StringIO(), [0.0]
    progress = PlainProgress(stream, every=30.0, clock=lambda: now[0])
    trials = [_trial(seed) for seed in range(10)]
    progress.planned(trials)
    progress.started(trials[0])
    for second in range(0, 100, 5):
        now[0] = float(second)
        progress.advanced(trials[0], second, None if second < 50 else 2000)
    progress.finished(trials[0], _record(trials[0]))
    progress.started(trials[1])
    progress.finished(trials[1], _failed(trials[1], "nan"))
    progress.note("something else")
    progress.close()
    assert stream.getvalue().splitlines() == [
        "10 trials to run",
        "[ 0/10] ...... gridworld/toy-v0 bc (1 demonstration) seed 0: step 30",
        "[ 0/10] ...... gridworld/toy-v0 bc (1 demonstration) seed 0: step 60 of 2,000",
        "[ 0/10] ...... gridworld/toy-v0 bc (1 demonstration) seed 0: step 90 of 2,000",
        "[ 1/10] done   gridworld/toy-v0 bc (1 demonstration) seed 0: return 12.35 in 1 min 15 s",
        "[ 2/10] FAILED gridworld/toy-v0 bc (1 demonstration) seed 1: ValueError: nan",
        "something else",
    ]


def test_quiet_tells_failures_and_notes_only():
    stream = io.StringIO()
    progress = progress_for(stream, quiet=True)
    good, bad = _trial(0), _trial(1)
    progress.planned([good, bad])
    for trial, record in ((good, _record(good)), (bad, _failed(bad, "nan"))):
        progress.started(trial)
        progress.advanced(trial, 1, None)
        progress.finished(trial, record)
    progress.note("mind this")
    progress.close()
    told = stream.getvalue().splitlines()
    assert told == [
        "[2/2] FAILED gridworld/toy-v0 bc (1 demonstration) seed 1: ValueError: nan",
        "mind this",
    ]


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (io.StringIO(), "xterm", PlainProgress),
        (Terminal(), "dumb", PlainProgress),
        (Terminal(), "xterm", LiveProgress),
    ],
)
def test_bars_only_where_they_can_be_drawn(monkeypatch, stream, term, kind):
    monkeypatch.setenv("TERM", term)
    progress = progress_for(stream)
    try:
        assert isinstance(progress, kind)
    finally:
        progress.close()


def _visible(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_bars_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    progress = LiveProgress(stream)
    good, bad = _trial(0), _trial(1, "acme/[red]x[/red]")
    progress.planned([good, bad])
    progress.started(good)
    progress.advanced(good, 1500, None)
    progress._bars.refresh()
    assert "0 of 2 trials" in _visible(stream.getvalue())
    assert "  gridworld/toy-v0 bc (1 demonstration) seed 0 " in _visible(stream.getvalue())
    assert "1,500" in stream.getvalue()
    progress.advanced(good, 1600, 2000)
    progress._bars.refresh()
    assert "1,600/2,000" in stream.getvalue()
    progress.finished(good, _record(good))
    progress.started(bad)
    progress.finished(bad, _failed(bad, "loss is [bold]nan[/bold]"))
    progress._bars.refresh()
    progress.note("[note]")
    progress.close()
    progress.close()
    lines = [line.rstrip() for line in _visible(stream.getvalue()).splitlines()]
    assert "✓ gridworld/toy-v0 bc (1 demonstration) seed 0  return 12.35 in 1 min 15 s" in lines
    told = "✗ gridworld/toy-v0 acme/[red]x[/red] (1 demonstration) seed 1  ValueError: loss is [bold]nan[/bold]"
    assert told in lines
    assert "[note]" in lines
    assert any("2 of 2 trials, 1 failed" in line for line in lines)


def test_steps_of_one_long_computation(monkeypatch):
    stream = io.StringIO()
    with step_reporter(stream, "training", every=1000.0) as advance:
        for step in (1, 2, 3, 500):
            advance(step, 500, {"loss": 0.25})
    assert stream.getvalue().splitlines() == [
        "training: step 1 of 500  loss 0.25",
        "training: step 500 of 500  loss 0.25",
    ]
    silent = io.StringIO()
    with step_reporter(silent, "training", quiet=True) as advance:
        advance(500, 500, {})
    assert silent.getvalue() == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    with step_reporter(terminal, "training", every=0.0) as advance:
        advance(250, 500, {"loss": 0.25})
    assert "250/500  loss 0.25" in _visible(terminal.getvalue())
