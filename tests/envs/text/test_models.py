from __future__ import annotations

import json
import shutil

import pytest

from irlbench.envs.text.models import SHIPPED, language_model
from irlbench.envs.text.tasks import ARITHMETIC
from irlbench.envs.text.tokenizer import PAD
from irlbench.errors import DataError, UsageError
from irlbench.task import TaskOptions


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def copy_of_shipped(folder, file, **changes):
    shutil.copytree(SHIPPED, folder)
    described = json.loads((folder / file).read_text())
    for name, value in changes.items():
        if value is None:
            described.pop(name, None)
        else:
            described[name] = value
    (folder / file).write_text(json.dumps(described))
    return TaskOptions(model=str(folder))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tokenizer_config.json", None),
        ("config.json", "{}"),
        ("model-00002.safetensors", "x"),
        ("model.safetensors.index.json", "{}"),
        ("adapter_config.json", "{}"),
        ("tokenizer.json", "{}"),
        ("special_tokens_map.json", "{}"),
        ("added_tokens.json", "{}"),
        ("vocab.json", "{}"),
        ("vocab.txt", "a"),
        ("merges.txt", "a b"),
        ("tokenizer.model", "x"),
    ],
)
def test_the_hash_covers_every_file_that_is_read(tmp_path, file, text):
    same = copy_of_shipped(tmp_path / "same", "recipe.json", seed=5)
    assert language_model(same.model).hash == language_model(None).hash
    if text is None:
        other = copy_of_shipped(tmp_path / "other", file, eos_token="<|pad|>")
        assert language_model(other.model).tokenizer.eos_id == PAD
    else:
        other = same
        (tmp_path / "same" / file).write_text(text)
    assert language_model(other.model).hash != language_model(None).hash


def test_models_that_cannot_be_used(tmp_path, home):
    short = copy_of_shipped(tmp_path / "short", "config.json", max_position_embeddings=32)
    with pytest.raises(UsageError, match=r"reads 32 tokens, but prompt and horizon need \d+"):
        ARITHMETIC.prepare(short, home)
    endless = copy_of_shipped(tmp_path / "endless", "tokenizer_config.json", eos_token=None)
    with pytest.raises(UsageError, match="end-of-sequence"):
        ARITHMETIC.prepare(endless, home)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="safetensors"):
        ARITHMETIC.prepare(TaskOptions(model=str(tmp_path / "empty")), home)
    with pytest.raises(UsageError, match="no such folder"):
        ARITHMETIC.prepare(TaskOptions(model=str(tmp_path / "nowhere")), home)


def test_a_hub_id_without_a_network_names_both_options(home):
    with pytest.raises(UsageError, match=r"--model nobody/nothing@main .*--data"):
        ARITHMETIC.prepare(TaskOptions(model="nobody/nothing@main"), home)
