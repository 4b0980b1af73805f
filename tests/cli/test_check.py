"""`irlbench check` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irlbench.cli import check, main

PEEKERS = str(Path(__file__).parents[1] / "checking" / "peekers.py")
WALK = ["--task", "gridworld/walk-v0", "--plugin", PEEKERS]
TITLE = "on gridworld/walk-v0, track demonstrations+interaction"


def test_one_line_for_each_check_and_what_it_cannot_show(capsys):
    assert main(["check", "peek/honest", *WALK, "-q"]) == 0
    title, *lines, counted, last = capsys.readouterr().out.splitlines()
    assert title == f"peek/honest {TITLE}"
    assert all(line.startswith(("held ", "not applicable ")) for line in lines)
    assert counted == f"{len(lines) - 1} held, 1 not applicable"
    assert last == check.CAVEAT and "not of malice" in last


def test_what_did_not_hold_ends_with_1(capsys):
    assert main(["check", "peek/make", *WALK, "--jobs", "2", "--timeout", "60"]) == 1
    told = capsys.readouterr().out.splitlines()
    (line,) = (line for line in told if line.startswith("did not hold"))
    assert "no environment of its own" in line and "peekers.py, line" in line
    assert told[-2].endswith("1 did not hold, 1 not applicable")


def test_json(capsys):
    arguments = ["--json", "--budget", "steps=100", "--seed", "3", "--set"]
    assert main(["check", "peek/random", *WALK, *arguments, "peek/random.scale=0.5"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["checked"] == f"peek/random {TITLE}" and found["held"] is False
    assert found["notes"] == [check.CAVEAT]
    verdicts = {each["name"]: each["verdict"] for each in found["checks"]}
    assert verdicts["same seed twice"] == "did not hold"
    assert verdicts["hidden reward noise"] == "inconclusive"
    assert all(each["reason"] for each in found["checks"])


def test_a_task(capsys):
    assert main(["check", "gridworld/early-termination", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["checked"] == "gridworld/early-termination-v0" and found["held"] is True
    assert {"hash", "references", "rows of a batch"} <= {each["name"] for each in found["checks"]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "unknown algorithm or task 'nothing'"),
        (["four-rooms"], "did you mean"),
        (["bc", "--task", "nothing"], "unknown task 'nothing'"),
        (["mce-irl", "--task", "control/cartpole"], "runs in gridworld"),
        (["bc", "--track", "preferences"], "no task that ships suits bc in track preferences"),
        (["bc", "--set", "bc.nothing=1"], "unknown field of bc 'nothing'"),
        (["bc", "--set", "ppo.steps=1"], "only bc is checked"),
        (["bc", "--seed", "-1"], "--seed must be at least 0"),
        (["bc", "--timeout", "0"], "--timeout"),
        (["bc", "--budget", "nothing=1"], "unknown budget field"),
        (["bc", "--plugin", "nothing.py"], "--plugin nothing.py"),
        (["gridworld/four-rooms", "--task", "bc"], "--task is for algorithms"),
        (["gridworld/four-rooms", "--seed", "0"], "--seed is for algorithms"),
        (["gridworld/four-rooms", "--data", "x"], "does not use --data"),
        (["text/gsm8k"], "needs --data"),
    ],
)
def test_unusable_arguments_end_with_2(capsys, arguments, told):
    assert main(["check", *arguments]) == 2
    assert told in capsys.readouterr().err
