"""Exit codes, help, versions and broken pipes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from irlbench.cli import main

COMMANDS = [
    "run",
    "status",
    "report",
    "list",
    "doctor",
    "data list",
    "data import",
    "models train",
    "experts train",
    "experts evaluate",
]


def _process(*arguments: str, **settings) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "irlbench", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **settings
    )


def test_as_a_module():
    done = _process("--version")
    assert (done.returncode, done.stdout) == (0, f"irlbench {version('irlbench')}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(capsys, command):
    assert main([*command.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert f"irlbench {command}" in told
    assert "--verbose" in told


def test_without_a_command_the_help_is_shown(capsys):
    for arguments, named in (([], "doctor"), (["data"], "import"), (["experts"], "evaluate")):
        assert main(arguments) == 2
        assert named in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("lst", "Did you mean 'list'?"),
        ("data imprt", "Did you mean 'import'?"),
        ("list --jsn", "did you mean '--json'?"),
        ("data import x.npz", "Missing option '--task'"),
        ("report", "Missing argument"),
        ("status nowhere", "nowhere is no directory of irlbench records"),
        ("models train llama", "unknown model 'llama'; did you mean 'tiny-llama'?"),
        ("models train --threads 0", "--threads must be at least 1"),
        ("experts train gridworld/four", "did you mean 'gridworld/four-rooms-v0'"),
    ],
)
def test_unusable_arguments(capsys, arguments, told):
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("irlbench: ")
    assert told in captured.err
    assert "Traceback" not in captured.err


def test_a_closed_pipe_is_no_error():
    command = [sys.executable, "-m", "irlbench", "list", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        told = child.stderr.read()
        assert child.wait(timeout=60) == 141
    assert told == b""


def test_an_encoding_without_the_letters_is_no_error(monkeypatch):
    import os

    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = _process("run", "--help", env=environment)
    assert done.returncode == 0 and "Run algorithms" in done.stdout


def test_shell_completion_names_tasks_and_algorithms():
    from irlbench.cli.options import complete_algorithms, complete_targets

    assert complete_targets("control/cartpole-v") == ["control/cartpole-v0"]
    assert "smoke" in complete_targets("")
    assert complete_algorithms("random,b") == ["random,base", "random,bc", "random,bt-reward"]


def test_tables_are_cut_nowhere(capsys, monkeypatch):
    from irlbench.cli import output

    long = "word " * 40
    output.table([["a", long], ["bb", "c"]], ["x", "y"])
    assert capsys.readouterr().out.splitlines()[1] == f"  a   {long.rstrip()}"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    output.table([["a", long], ["bb", "c"]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3 and max(map(len, lines)) <= 60
    assert " ".join(line.strip() for line in lines).split().count("word") == 40
