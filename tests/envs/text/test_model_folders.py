from __future__ import annotations

import json
import pickle
import shutil
from logging import INFO

import gymnasium
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from irlbench.envs.text.gsm8k import data_folder, read_problems
from irlbench.envs.text.models import SHIPPED, language_model
from irlbench.envs.text.tasks import ARITHMETIC
from irlbench.errors import DataError, UsageError
from irlbench.policies.causal_lm import CausalLMPolicy
from irlbench.task import TaskOptions

NORM = "model.norm.weight"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(SHIPPED, tmp_path / "mine")


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_json(place, **changes):
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))


def refused(folder, home, capfd, *words):
    with pytest.raises(UsageError) as caught:
        ARITHMETIC.prepare(TaskOptions(model=str(folder)), home)
    said = str(caught.value)
    assert "\n" not in said
    for word in (folder.name, *words):
        assert word in said
    assert capfd.readouterr() == ("", "")
    return caught.value


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_a_sound_copy_is_taken(folder):
    model = language_model(str(folder))
    model.require_sound()
    assert model.policy().is_finite()


def test_the_folder_is_checked_before_the_base_is_measured(folder, home, monkeypatch, capfd):
    monkeypatch.setattr(type(ARITHMETIC), "measure_base", lambda *_: pytest.fail("too late"))
    (folder / "model.safetensors").write_bytes(b"")
    refused(folder, home, capfd, "model.safetensors")


def test_a_missing_weight_is_not_drawn_at_random(folder, home, capfd):
    change_weights(folder, lambda weights: weights.pop(NORM))
    assert isinstance(refused(folder, home, capfd, "1 missing", NORM), DataError)


def test_an_unexpected_weight(folder, home, capfd):
    def add(weights):
        weights.update({f"extra.{i}": np.zeros(1, dtype=np.float32) for i in range(5)})

    change_weights(folder, add)
    refused(folder, home, capfd, "5 unexpected: extra.0, extra.1, extra.2, ...")


def test_a_weight_of_another_shape(folder, home, capfd):
    change_weights(folder, lambda weights: weights.update({NORM: np.ones(7, dtype=np.float32)}))
    refused(folder, home, capfd, "1 of another shape", f"{NORM} ([7], not [128])")


def test_the_verbosity_of_transformers_is_put_back(folder):
    from transformers.utils import logging

    logging.set_verbosity_info()
    try:
        change_weights(folder, lambda weights: weights.pop(NORM))
        with pytest.raises(DataError):
            CausalLMPolicy.from_folder(str(folder))
        assert logging.get_verbosity() == INFO
    finally:
        logging.set_verbosity_warning()


def pickled(place):
    place.write_bytes(pickle.dumps({NORM: [1.0]}))


def cut(place):
    place.write_bytes(place.read_bytes()[:-1000])


def emptied(place):
    place.write_bytes(b"")


@pytest.mark.parametrize("damage", [pickled, cut, emptied])
def test_a_file_that_is_no_safetensors(folder, home, capfd, damage):
    damage(folder / "model.safetensors")
    words = ("mine/model.safetensors", "is no safetensors file", "pickles above all, are refused")
    refused(folder, home, capfd, *words)
    with pytest.raises(DataError, match="mine: no causal language model"):
        CausalLMPolicy.from_folder(str(folder))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite(folder, home, capfd, value):
    def spoil(weights):
        weights[NORM][3] = value

    change_weights(folder, spoil)
    refused(folder, home, capfd, "mine/model.safetensors", "NaN or an infinity", NORM)


def test_a_bfloat16_weight_that_is_not_finite(folder, home, capfd):
    import torch
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file as save

    weights = {k: w.to(torch.bfloat16) for k, w in load(folder / "model.safetensors").items()}
    save(weights, folder / "model.safetensors", metadata={"format": "pt"})
    language_model(str(folder)).require_sound()
    weights[NORM][0] = float("nan")
    save(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, home, capfd, NORM)


def test_the_shards_of_an_index_are_checked(folder, home, capfd):
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = folder / "model.safetensors.index.json"
    names = load_file(folder / "a.safetensors")
    index.write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, "a.safetensors")})
    )
    language_model(str(folder)).require_sound()
    assert language_model(str(folder)).policy().is_finite()
    cut(folder / "a.safetensors")
    refused(folder, home, capfd, "mine/a.safetensors", "is no safetensors file")
    (folder / "a.safetensors").unlink()
    refused(folder, home, capfd, "mine/a.safetensors", "cannot be read")
    index.write_text(json.dumps({"weight_map": {NORM: "../a.safetensors"}}))
    refused(folder, home, capfd, "'../a.safetensors'")
    index.write_text("[]")
    refused(folder, home, capfd, "no weight_map")


def test_a_vocabulary_smaller_than_the_tokenizers(folder, home, capfd):
    change_json(folder / "config.json", vocab_size=100)
    refused(folder, home, capfd, "mine/config.json, field 'vocab_size'", "is 100", "up to 263")


@pytest.mark.parametrize(
    "changes", [{"pad_token_id": 9999}, {"num_attention_heads": "two"}, {"model_type": "none-such"}]
)
def test_a_configuration_that_no_model_can_have(folder, home, capfd, changes):
    change_json(folder / "config.json", **changes)
    refused(folder, home, capfd)


@pytest.mark.parametrize(
    ("file", "text"), [("config.json", "[]"), ("config.json", "{"), ("tokenizer.json", "{}")]
)
def test_damaged_json(folder, home, capfd, file, text):
    (folder / file).write_text(text)
    with pytest.raises(DataError) as caught:
        ARITHMETIC.prepare(TaskOptions(model=str(folder)), home)
    said = str(caught.value)
    assert file in said or "mine: no tokenizer can be loaded" in said
    assert "\n" not in said
    assert capfd.readouterr() == ("", "")


def test_folders_without_a_model(folder, tmp_path, home, capfd):
    (folder / "config.json").unlink()
    refused(folder, home, capfd, "holds no config.json")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", home, capfd, "holds no config.json", "--model names a folder")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", home, capfd, "is a file; a folder is needed")


def test_pickled_weights_alone(folder, home, capfd):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, home, capfd, "safetensors only", "pytorch_model.bin")


def test_data_that_is_a_file(tmp_path):
    place = tmp_path / "train.jsonl"
    place.write_text("{}")
    with pytest.raises(UsageError, match=r"train\.jsonl: is a file; a folder is needed"):
        data_folder(place)
    with pytest.raises(UsageError, match="no such folder"):
        data_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_data_in_another_encoding(tmp_path, encoding):
    place = tmp_path / "train.jsonl"
    place.write_text('{"question": "é?", "answer": "#### 1"}\n', encoding=encoding)
    with pytest.raises(DataError) as caught:
        read_problems(place)
    said = str(caught.value)
    assert said.startswith("train.jsonl, row 1: is not UTF-8")
    assert "codec" not in said


def test_a_byte_order_mark_is_read_over(tmp_path):
    place = tmp_path / "train.jsonl"
    place.write_text('{"question": "é?", "answer": "#### 1"}\n', encoding="utf-8-sig")
    assert read_problems(place)[0].question == "é?"


def test_the_environment_asks_for_its_data_as_python_does():
    with pytest.raises(UsageError, match="data="):
        gymnasium.make("irlbench:irlbench/GSM8K-v0")
