"""`irlbench experts` and `irlbench models`."""

from __future__ import annotations

import json

import pytest

from irlbench.cli import main
from irlbench.registry import registry
from irlbench.serialisation import sha256_file


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_training_and_evaluating_an_expert(capsys, tmp_path):
    assert main(["experts", "train", "gridworld/four-rooms"]) == 0
    told = capsys.readouterr().out
    folder = tmp_path / "runs" / "experts" / "four-rooms-v0"
    assert sorted(path.name for path in folder.iterdir()) == [
        "expert.json",
        "expert.safetensors",
        "references.json",
    ]
    assert "the expert of gridworld/four-rooms-v0 is in runs/experts/four-rooms-v0" in told
    assert "expert, as frozen" in told
    assert main(["experts", "train", "gridworld/four-rooms"]) == 2
    assert "name another folder (--out)" in capsys.readouterr().err
    command = ["experts", "evaluate", "gridworld/four-rooms"]
    assert main([*command, "--policy", str(folder)]) == 0
    told = capsys.readouterr().out.splitlines()
    now, frozen = (next(line for line in told if word in line) for word in (", now", "expert, as"))
    assert now.split()[-5:-2] == frozen.split()[-5:-2]
    assert main(command) == 0
    assert "expert, now" in capsys.readouterr().out
    assert main([*command, "--policy", "nowhere"]) == 2
    assert "nowhere: holds neither expert.json nor policy.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("text/gsm8k", "has no expert to train"),
        ("control/cartpole --save-at 50001", "it is never at step 50001"),
        ("gridworld/four-rooms --steps 5", "it takes no steps"),
        ("control/cartpole --steps 0", "--steps must be at least 1, got 0"),
        ("control/cartpole --seed -1", "--seed must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(capsys, tmp_path, arguments, told):
    assert main(["experts", "train", *arguments.split()]) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_policies_along_the_way_are_kept_and_measured(capsys, tmp_path):
    command = ["experts", "train", "control/cartpole", "--steps", "2048", "--save-at", "1024"]
    assert main([*command, "--out", "made"]) == 0
    told = capsys.readouterr().out
    assert "at-1024" in told
    frozen = json.loads((tmp_path / "made" / "references.json").read_text())["policies"]
    assert frozen["at-1024"]["scores"]["episodes"] == 50
    assert frozen["at-1024"]["recipe"]["step"] == 1024
    assert frozen["at-1024"]["sha256"] == sha256_file(tmp_path / "made" / "at-1024.safetensors")
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        *("expert.json", "expert.safetensors", "references.json"),
        *("at-1024.json", "at-1024.safetensors"),
    }


def test_another_tasks_expert_is_frozen_as_this_ones(capsys, tmp_path):
    command = ["experts", "evaluate", "control/cartpole-fixed"]
    assert main([*command, "--policy", "control/cartpole", "--out", "made"]) == 0
    assert "500 ± 0" in capsys.readouterr().out
    frozen = json.loads((tmp_path / "made" / "references.json").read_text())
    cartpole = registry().task("control/cartpole").info.recipe["expert"]["sha256"]
    assert frozen["expert"] == {
        "sha256": cartpole,
        "recipe": {"policy_of": "control/cartpole-v0"},
    }
    assert frozen["references"] == registry().task("control/cartpole-fixed").info.references
    assert main([*command, "--policy", "control/cartpole"]) == 0
    assert "control/cartpole-v0, now" in capsys.readouterr().out
    for policy in ([], ["--policy", "made"], ["--policy", "control/cartpole-fixed"]):
        assert main([*command, *policy, "--out", "again"]) == 2
        assert "--out freezes another task's expert" in capsys.readouterr().err
    assert main([*command, "--policy", "control/cartpole", "--out", "made"]) == 2
    assert "made holds references.json already" in capsys.readouterr().err


def test_a_model_is_trained_into_a_folder_that_was_free(capsys, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    assert main(["models", "train", "--quick", "--out", "taken"]) == 2
    assert "taken is taken" in capsys.readouterr().err
    assert main(["models", "train", "--quick", "--threads", "1", "--out", "made"]) == 0
    told = capsys.readouterr().out
    assert "tiny-llama is in made" in told
    assert "next: irlbench run text/arithmetic --model made" in told
    recipe = json.loads((tmp_path / "made" / "recipe.json").read_text())
    assert recipe["threads"] == 1
    assert f"{recipe['parameters']:,}" in told
    assert (tmp_path / "made" / "model.safetensors").is_file()
