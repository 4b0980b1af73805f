from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from irlbench.envs.text import corpus
from irlbench.envs.text.models import SHIPPED, language_model
from irlbench.envs.text.pretraining import ARCHITECTURE, Schedule, train_tiny_model
from irlbench.errors import UsageError
from irlbench.serialisation import read_safetensors


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    seen: list[tuple[int, int, dict[str, float]]] = []
    threads = torch.get_num_threads()
    recipe = train_tiny_model(
        folder, seed=4, threads=1, quick=True, progress=lambda *step: seen.append(step)
    )
    assert torch.get_num_threads() == threads
    return folder, recipe, seen


def test_a_quick_model_is_a_whole_one(trained):
    folder, recipe, seen = trained
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "recipe.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert [p.name for p in folder.parent.iterdir()] == [folder.name], "nothing is left beside it"
    assert json.loads((folder / "recipe.json").read_text()) == recipe
    assert recipe["seed"] == 4 and recipe["measured"]["test_prompts"] == 8
    assert [s[:2] for s in seen] == [(i, 6) for i in range(1, 7)]
    assert seen[-1][2]["loss"] < seen[0][2]["loss"]
    model = language_model(str(folder))
    assert model.policy().vocabulary == model.tokenizer.vocabulary == ARCHITECTURE["vocab_size"]
    assert model.tokenizer.encode("348+67=").tolist() == list(b"348+67=")


def test_equal_seeds_give_equal_weights(trained, tmp_path):
    folder, _, _ = trained
    for name, seed in (("same", 4), ("other", 5)):
        train_tiny_model(tmp_path / name, seed=seed, threads=1, quick=True)
    weights = [
        read_safetensors(f / "model.safetensors")
        for f in (folder, tmp_path / "same", tmp_path / "other")
    ]
    assert all((weights[1][k] == v).all() for k, v in weights[0].items())
    assert any((weights[2][k] != v).any() for k, v in weights[0].items())


def test_a_taken_folder_is_refused(trained):
    folder, _, _ = trained
    with pytest.raises(UsageError, match="is taken"):
        train_tiny_model(folder, threads=1, quick=True)
    with pytest.raises(UsageError, match="threads 0"):
        train_tiny_model(folder.parent / "new", threads=0, quick=True)


def test_a_failure_leaves_nothing_behind(tmp_path):
    def stop(*step):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train_tiny_model(tmp_path / "model", threads=1, quick=True, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_schedule_warms_up_and_decays():
    schedule = Schedule(steps=100, warmup=10, learning_rate=1.0)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


def test_the_model_that_ships_is_as_its_recipe_says():
    recipe = json.loads((SHIPPED / "recipe.json").read_text())
    weights = read_safetensors(SHIPPED / "model.safetensors")
    assert sum(w.size for w in weights.values()) == recipe["parameters"] < 1.5e6
    assert all(w.dtype == np.float32 for w in weights.values())
    assert recipe["architecture"] == ARCHITECTURE
    assert recipe["corpus"] == corpus.describe()
    assert 0.2 <= recipe["measured"]["accuracy"] <= 0.5
    assert recipe["measured"]["accuracy_greedy"] > recipe["measured"]["accuracy"] + 0.2
