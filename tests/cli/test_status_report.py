"""A run, its status and its report, as a user sees them: in processes of their own."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from irlbench.cli import main
from irlbench.running.store import Store

PLUGIN = Path(__file__).parents[1] / "running" / "toy_plugin.py"
IRLBENCH = [sys.executable, "-m", "irlbench"]
RUN = ["run", "gridworld/toy", "--plugin", str(PLUGIN), "--jobs", "2"]


def _process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*IRLBENCH, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A directory with three good and three failed trials, and what the run printed."""
    folder = tmp_path_factory.mktemp("finished")
    arguments = ["--algorithms", "toy/good,toy/raises", "--seeds", "3", "--out", "out"]
    return folder, _process(*RUN, *arguments, cwd=folder), arguments


def test_lines_in_a_log_exit_code_and_where_to_look(finished):
    folder, done, _ = finished
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "6 trials to run"
    good = [x for x in lines if re.fullmatch(r"\[\d/6\] done   gridworld/toy-v0 toy/good .*", x)]
    bad = [x for x in lines if re.match(r"\[\d/6\] FAILED gridworld/toy-v0 toy/raises ", x)]
    assert len(good) == len(bad) == 3
    assert lines[-2:] == ["3 trials done, 3 failed; records in out", "next: irlbench report out"]
    last = done.stderr.splitlines()[-1]
    assert last.startswith("irlbench: 3 of 6 trials failed: `irlbench status out` names them")
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert str(folder) not in done.stdout + done.stderr


def test_the_same_command_again_runs_nothing(finished):
    folder, _, arguments = finished
    again = _process(*RUN, *arguments, cwd=folder)
    assert again.returncode == 1, "three of the trials did fail"
    assert again.stdout.splitlines() == [
        "0 trials to run",
        "0 trials done, 6 there already, 3 failed in all; records in out",
        "next: irlbench report out",
    ]


def test_status_lists_every_trial_on_request(finished, capsys, monkeypatch):
    folder, _, _ = finished
    monkeypatch.chdir(folder)
    assert main(["status", "out", "-v"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for record in Store(Path("out")).records():
        (line,) = [line for line in lines if line.split()[:1] == [record.trial[:12]]]
        assert line.split()[1:5] == [
            "gridworld/toy-v0",
            record.spec["algorithm"],
            str(record.spec["seed"]),
            record.status,
        ]


def test_status(finished, capsys, monkeypatch):
    folder, _, _ = finished
    monkeypatch.chdir(folder)
    assert main(["status", "out"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0] == "out: 3 trials done, 3 failed"
    assert re.search(r"gridworld/toy-v0  toy/good +3 +0 +\d+  2 demonstrations", told)
    assert re.search(r"gridworld/toy-v0  toy/raises +0 +3 +\d+  2 demonstrations", told)
    failed = [r for r in Store(folder / "out").records() if r.failed]
    for record in failed:
        assert f"out/trials/{record.trial}" in told
        assert (folder / "out" / "trials" / record.trial / "log.txt").is_file()
    assert told.count("RuntimeError: lost") == 3


def test_a_damaged_record_is_named_and_the_rest_is_shown(finished, capsys, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished[0] / "out", copy)
    damaged = Store(copy).ids()[0]
    path = copy / "trials" / damaged / "record.json"
    path.write_text(path.read_text().replace('"seed": ', '"seed": 1'))
    assert main(["status", str(copy)]) == 1
    captured = capsys.readouterr()
    assert f"trial {damaged[:12]} cannot be used" in captured.err
    assert "changed or damaged" in captured.err
    assert "toy/" in captured.out


def test_report_ends_with_the_table_and_the_page(finished, capsys, monkeypatch):
    folder, _, _ = finished
    monkeypatch.chdir(folder)
    assert main(["report", "out", "--out", "told"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "gridworld/toy-v0"
    rows = json.loads((folder / "told" / "leaderboard.json").read_text())["rows"]
    for row in rows:
        (line,) = (x for x in lines if f" {row['algorithm']} " in x)
        assert re.match(rf"\s+{row['rank']}  {row['algorithm']}", line)
        assert f"{row['n']}" in line
    assert lines[-1] == "The page: told/index.html"
    assert (folder / "told" / "index.html").is_file()
    assert "3 trials failed; each counts as the low reference" in captured.err
    assert main(["report", "out", "--out", "told", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def _wait_for(path: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.02)


def _interrupted(folder: Path, **streams) -> subprocess.Popen[bytes]:
    """A run of which one trial hangs, once it hangs."""
    more = ["--algorithms", "toy/good,toy/hangs", "--seeds", "1", "--out", "out"]
    where = ["--set", f"toy/hangs.where={folder}"]
    child = subprocess.Popen(
        [*IRLBENCH, *RUN, *more, *where], cwd=folder, start_new_session=True, **streams
    )
    _wait_for(folder / "hanging")
    deadline = time.monotonic() + 60
    while not Store(folder / "out").ids():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return child


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    with _interrupted(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert child.returncode == 130
    assert b"1 trial done, 0 failed; records in out" in out
    assert b"Traceback" not in err
    last = err.decode().splitlines()[-1]
    assert last.startswith("irlbench: to go on: irlbench run gridworld/toy --plugin ")
    assert len(Store(tmp_path / "out").ids()) == 1
    monkeypatch.chdir(tmp_path)
    assert main(["status", "out"]) == 0
    told = capsys.readouterr().out.splitlines()[0]
    assert told == "out: 1 trial done, 0 failed"
    hanging = int((tmp_path / "hanging").read_text())
    deadline = time.monotonic() + 10
    while not _gone(hanging):
        assert time.monotonic() < deadline, "the trial outlived its run"
        time.sleep(0.02)


def test_bars_on_a_terminal(tmp_path):
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "env": environment}
    seen = b""
    child = _interrupted(tmp_path, **streams)
    os.close(theirs)
    try:
        time.sleep(0.6)
        os.killpg(child.pid, signal.SIGINT)
        while select.select([ours], [], [], 60)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux ends a pty so
                break
            if not part:
                break
            seen += part
        assert child.wait(timeout=60) == 130
    finally:
        os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "preparing" in text
    assert "1 of 2 trials" in text
    assert re.search(r"✓ gridworld/toy-v0 toy/good \(2 demonstrations, .*\) seed 0  return", text)
    assert "  gridworld/toy-v0 toy/hangs (2 demonstrations" in text
    assert "to go on: irlbench run" in text
    assert "\x1b[?25h" in seen.decode(), "the cursor is shown again"
