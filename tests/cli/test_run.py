"""`irlbench run`: what reaches `irlbench.run`, and what is said at the end."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from irlbench.cli import main
from irlbench.errors import IrlbenchError, UnsupportedPairError
from irlbench.running import api
from irlbench.running.api import RunSummary


@pytest.fixture
def called(monkeypatch):
    """The arguments of every call of `irlbench.run`, which does nothing but check them."""
    calls: list[dict[str, Any]] = []
    signature = inspect.signature(api.run)

    def run(*args: Any, **kwargs: Any) -> RunSummary:
        bound = signature.bind(*args, **kwargs)
        calls.append({k: v for k, v in bound.arguments.items() if k != "progress"})
        return RunSummary(Path("runs/x"), planned=2, done=2)

    monkeypatch.setattr(api, "run", run)
    return calls


def _asked(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """The one call, without what is empty."""
    (call,) = calls
    return {key: value for key, value in call.items() if value not in ({}, (), None)}


def test_a_suite_alone_leaves_everything_to_the_defaults(called):
    assert main(["run", "quick"]) == 0
    assert _asked(called) == {"target": "quick"}


def test_every_option_arrives(called, tmp_path):
    arguments = """run control/cartpole control/hopper --algorithms bc,random --seeds 0..2 --jobs 2
    --threads 3 --device cpu --set bc.learning_rate=0.1 --set bc.hidden=(8,) --budget steps=1e3
    --budget seconds=9 --timeout 60 --demos cs285 --demonstrations 1,2 --preferences 5
    --track demonstrations --data here --model org/m@main --plugin a.py --plugin b.py
    --out there""".split()
    assert main(arguments) == 0
    assert _asked(called) == {
        "target": ["control/cartpole", "control/hopper"],
        "algorithms": ["bc", "random"],
        "seeds": [0, 1, 2],
        "jobs": 2,
        "threads": 3,
        "device": "cpu",
        "settings": {"bc.learning_rate": "0.1", "bc.hidden": "(8,)"},
        "budget": {"steps": 1000, "seconds": 9.0},
        "timeout": 60.0,
        "demos": "cs285",
        "demonstrations": [1, 2],
        "preferences": [5],
        "track": "demonstrations",
        "data": Path("here"),
        "model": "org/m@main",
        "plugins": [Path("a.py"), Path("b.py")],
        "out": Path("there"),
    }


def test_the_command_line_goes_before_the_file(called, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        "suite = 'smoke'\nseeds = 5\njobs = 2\n[budget]\nsteps = 10\nseconds = 3\n"
        "[algorithms.bc]\nlearning_rate = 0.5\nsaves = 2\n"
    )
    options = ["--config", str(file), "--seeds", "1", "--set", "bc.saves=3", "--budget", "steps=20"]
    assert main(["run", *options]) == 0
    assert _asked(called) == {
        "target": "smoke",
        "seeds": 1,
        "jobs": 2,
        "budget": {"steps": 20, "seconds": 3.0},
        "settings": {"bc.learning_rate": 0.5, "bc.saves": "3"},
    }
    called.clear()
    assert main(["run", "quick", "--config", str(file)]) == 0
    assert _asked(called)["target"] == "quick"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("run", "name a suite (control, control-core, gridworld, quick, smoke) or tasks"),
        ("run quick --seeds x", "--seeds"),
        ("run quick --jobs 0", "--jobs must be at least 1, got 0"),
        ("run quick --threads two", "--threads takes a whole number, got 'two'"),
        ("run quick --timeout -5", "--timeout takes a positive number of seconds, got '-5'"),
        ("run quick --device gpu", "unknown device 'gpu'; did you mean 'cpu'?"),
        ("run quick --budget step=5", "did you mean 'steps'?"),
        ("run quick --set learning_rate=5", "--set takes algorithm.field=value"),
        ("run quick --demonstrations 0", "--demonstrations must be at least 1"),
        ("run quick --algorithms bc,,", "--algorithms takes names"),
        ("run quick --config nowhere.toml", "nowhere.toml: No such file"),
        ("run quick --sed 3", "unknown option '--sed'; did you mean '--seeds'"),
        ("run quick --seeds", "--seeds"),
        ("rn quick", "Did you mean 'run'?"),
    ],
)
def test_unusable_arguments_end_with_2_and_no_traceback(called, capsys, arguments, told):
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("irlbench: ")
    assert told in captured.err
    assert "Traceback" not in captured.err
    assert not called


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("run quik", "unknown suite or task 'quik'; did you mean 'quick'?"),
        ("run control/cartpol", "did you mean 'control/cartpole-v0'"),
        ("run quick --algorithms bd", "unknown algorithm 'bd'; did you mean 'bc'"),
        ("run quick --set bc.learning_rat=1", "did you mean 'learning_rate'"),
        ("run quick --set bd.learning_rate=1", "unknown algorithm 'bd'"),
        ("run quick --set bc.learning_rate=fast", "bc.learning_rate must be of type float"),
        ("run quick --set bc.learning_rate=-1", "learning_rate must be positive"),
        ("run quick --track demonstration", "did you mean 'demonstrations'"),
        ("run quick --plugin nowhere.py", "--plugin nowhere.py: No such file"),
        ("run gridworld/four-rooms --algorithms base", "runs in text, not in gridworld"),
        ("run gridworld/four-rooms --data here", "does not use --data"),
        ("run control/hopper --demos nobody", "nobody"),
    ],
)
def test_unknown_names_are_refused_before_anything_runs(capsys, tmp_path, arguments, told):
    assert main([*arguments.split(), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("irlbench: ")
    assert told in captured.err
    assert "Traceback" not in captured.err
    assert not list(tmp_path.glob("out/trials/*"))


def test_an_output_directory_that_cannot_be_used(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["run", "gridworld/four-rooms", "--out", str(tmp_path / "file")]) == 2
    assert "--out" in capsys.readouterr().err
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "irlbench.json").write_text('{"schema": 99}')
    assert main(["run", "gridworld/four-rooms", "--out", str(tmp_path / "newer")]) == 2
    assert "schema 99" in capsys.readouterr().err


def _ending(monkeypatch: pytest.MonkeyPatch, summary: RunSummary) -> None:
    monkeypatch.setattr(api, "run", lambda *args, **kwargs: summary)


def test_a_run_that_went_well_says_what_to_do_next(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    _ending(monkeypatch, RunSummary(tmp_path / "runs" / "x", planned=3, done=3))
    assert main(["run", "quick"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "3 trials done, 0 failed; records in runs/x",
        "next: irlbench report runs/x",
    ]
    assert captured.err == ""
    assert main(["run", "quick", "-q"]) == 0
    assert capsys.readouterr().out == "3 trials done, 0 failed; records in runs/x\n"


def test_reused_trials_are_told_apart(monkeypatch, capsys):
    _ending(monkeypatch, RunSummary(Path("runs/x"), planned=5, done=1, reused=4, failed=1))
    assert main(["run", "quick"]) == 1
    assert "1 trial done, 4 there already, 1 failed in all" in capsys.readouterr().out


def test_failures_end_with_1_and_say_where_to_look(monkeypatch, capsys):
    failures = [(f"{i:064x}", f"ValueError: nan {i}\nsecond line") for i in range(7)]
    summary = RunSummary(Path("runs/x"), planned=9, done=2, failed=7, failures=failures)
    _ending(monkeypatch, summary)
    assert main(["run", "quick"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "irlbench: trial 000000000000 failed: ValueError: nan 0"
    assert "second line" not in "".join(lines)
    assert lines[5] == "irlbench: ... and 2 more"
    assert lines[6].startswith(
        "irlbench: 7 of 9 trials failed: `irlbench status runs/x` names them"
    )
    assert "record.json" in lines[6] and "log.txt" in lines[6]


def test_an_interrupted_run_ends_with_130_and_says_how_to_go_on(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["irlbench", "run", "quick", "--out", "my runs"])
    _ending(monkeypatch, RunSummary(Path("my runs"), planned=9, done=2, interrupted=True))
    assert main() == 130
    captured = capsys.readouterr()
    assert "2 trials done, 0 failed" in captured.out
    assert captured.err.splitlines()[-1] == (
        "irlbench: to go on: irlbench run quick --out 'my runs'"
    )


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(*args: Any, **kwargs: Any) -> RunSummary:
        raise error

    monkeypatch.setattr(api, "run", run)


@pytest.mark.parametrize(
    ("error", "code"),
    [(UnsupportedPairError("not here"), 2), (IrlbenchError("broken"), 1)],
)
def test_errors_of_our_own_have_no_traceback_unless_asked(monkeypatch, capsys, error, code):
    _raising(monkeypatch, error)
    assert main(["run", "quick"]) == code
    assert capsys.readouterr().err == f"irlbench: {error}\n"
    for arguments in (["-v", "run", "quick"], ["run", "quick", "-v"]):
        assert main(arguments) == code
        told = capsys.readouterr().err
        assert "Traceback" in told and told.endswith(f"irlbench: {error}\n")


def test_any_other_error_shows_its_traceback(monkeypatch, capsys):
    _raising(monkeypatch, KeyError("what"))
    assert main(["run", "quick"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_before_the_first_trial(monkeypatch, capsys):
    _raising(monkeypatch, KeyboardInterrupt())
    assert main(["run", "quick"]) == 130
    assert capsys.readouterr().err == "irlbench: interrupted\n"
