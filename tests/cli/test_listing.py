"""`irlbench list`."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from irlbench.cli import catalogue, listing, main
from irlbench.registry import Registry, why_not

PLUGIN = Path(__file__).parents[1] / "running" / "toy_plugin.py"


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """A registry of this test's own, so that plug-ins do not stay."""
    fresh = Registry()
    for module in (catalogue, listing):
        monkeypatch.setattr(module, "registry", lambda: fresh)
    return fresh


def _json(capsys, *arguments):
    assert main(["list", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_everything_as_json(capsys):
    found = _json(capsys)
    assert set(found) == {"tasks", "algorithms", "solvers", "suites", "matrix"}
    tasks = {task["id"]: task for task in found["tasks"]}
    cartpole = tasks["control/cartpole-v0"]
    assert cartpole["environment"] == "CartPole-v1"
    assert cartpole["horizon"] == 500
    assert cartpole["primary"] == cartpole["scores"][0]["name"] == "return"
    assert (cartpole["low"], cartpole["high"]) == ("random", "expert")
    assert len(cartpole["hash"]) == 64
    assert tasks["text/gsm8k-v0"]["needs_data"]
    for kind in ("tasks", "algorithms", "solvers", "suites", "matrix"):
        assert _json(capsys, kind) == {kind: found[kind]}


def test_hyperparameters_come_with_default_and_help(capsys):
    (bc,) = (a for a in _json(capsys, "algorithms")["algorithms"] if a["id"] == "bc")
    assert _json(capsys, "algorithms", "bc") == bc
    fields = {field["name"]: field for field in bc["hyperparameters"]}
    rate = fields["learning_rate"]
    assert rate["default"] == 1e-3 and rate["worlds"]["gridworld"] == 0.1
    assert "Adam" in rate["help"]
    assert fields["hidden"]["default"] == [256, 256]
    assert all(field["help"] for field in bc["hyperparameters"])
    assert bc["needs"]["demonstrations"] == {
        "gridworld": ["demonstrations"],
        "control": ["demonstrations"],
        "text": ["demonstrations", "reference_model"],
    }


def test_the_matrix_says_why_not(capsys, own_registry):
    pairs = {(p["algorithm"], p["task"]): p for p in _json(capsys, "matrix")["matrix"]}
    names = own_registry.names
    assert len(pairs) == len(names("algorithms")) * len(names("tasks"))
    assert pairs["bc", "control/cartpole-v0"]["runs"]
    refused = pairs["base", "control/cartpole-v0"]
    assert not refused["runs"] and refused["reason"] == "base runs in text, not in control"
    for (algorithm, task), pair in pairs.items():
        reason = why_not(own_registry.algorithm(algorithm), own_registry.task(task))
        assert pair["reason"] == reason and pair["runs"] == (reason is None)
    assert main(["list", "matrix"]) == 0
    shown = capsys.readouterr().out.splitlines()
    header, *rows = (line.split() for line in shown[: 1 + len(names("tasks"))])
    for task, *cells in rows:
        for algorithm, cell in zip(header[1:], cells, strict=True):
            assert (cell == "yes") == pairs[algorithm, task]["runs"]
    assert "  - base runs in text, not in control" in shown


@pytest.mark.parametrize("kind", ["tasks", "algorithms", "solvers", "suites"])
def test_tables_name_everything_and_so_does_the_short_list(capsys, own_registry, kind):
    for arguments in (["list"], ["list", kind]):
        assert main(arguments) == 0
        words = capsys.readouterr().out.split()
        assert set(own_registry.names(kind)) <= set(words)


def test_one_of_each_in_detail(capsys):
    assert main(["list", "tasks", "gridworld/four-rooms"]) == 0
    told = capsys.readouterr().out
    assert "irlbench/FourRooms-v0" in told and "return: 0 is random, 1 is expert" in told
    assert main(["list", "algorithms", "bc"]) == 0
    told = capsys.readouterr().out
    assert "in gridworld" in told and "change one with --set bc.gradient_steps=2000" in told
    assert "imports" not in told
    assert main(["list", "algorithms", "imitation/density"]) == 0
    assert "imports  imitation, tqdm, sklearn" in capsys.readouterr().out
    assert main(["list", "solvers", "ppo"]) == 0
    told = capsys.readouterr().out
    assert "gae_lambda" in told and "--set" not in told
    assert main(["list", "suites", "smoke"]) == 0
    assert "bc.gradient_steps=300 steps=4096" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("list task", "did you mean 'tasks'?"),
        ("list tasks control/hoper", "did you mean 'control/hopper-v0'"),
        ("list algorithms bd", "did you mean 'bc'"),
        ("list matrix bc", "a name goes with tasks, algorithms, solvers or suites"),
        ("list --plugin nowhere.py", "nowhere.py"),
    ],
)
def test_unknown_names(capsys, arguments, told):
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and told in captured.err and "Traceback" not in captured.err


def test_plugins_are_listed(capsys):
    found = _json(capsys, "--plugin", str(PLUGIN))
    assert "toy/good" in {algorithm["id"] for algorithm in found["algorithms"]}
    assert {"algorithm": "toy/good", "task": "gridworld/toy-v0", "runs": True, "reason": None} in (
        found["matrix"]
    )


def test_a_broken_plug_in_is_named_and_the_rest_is_listed(capsys, own_registry):
    broken = EntryPoint("acme/broken", "acme.nowhere:Broken", "irlbench.algorithms")
    own_registry._group("algorithms")["acme/broken"] = broken
    assert main(["list"]) == 0
    captured = capsys.readouterr()
    assert "  bc " in captured.out
    assert captured.err.count("algorithm 'acme/broken' cannot be loaded: ModuleNotFound") == 1
