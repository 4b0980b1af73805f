"""Models and tokenizers from strangers: used, or refused in words; never obeyed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time

import pytest
from hypothesis import strategies as st

from irlbench.envs.text import examination
from irlbench.envs.text.examination import examine, examine_apart
from irlbench.envs.text.model_folders import require_finite, require_harmless, weight_files
from irlbench.envs.text.models import SHIPPED, language_model
from irlbench.errors import DataError, UsageError

CASES = [20, pytest.param(1000, marks=pytest.mark.slow)]
TEXTS = ["12+34=\n", "é ☃ <|eos|>\n"]


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    """A model of a few thousand weights, with the tokenizer of the one that ships."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "smallest"
    described = json.loads((SHIPPED / "config.json").read_text())
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 2}
    config = LlamaConfig(**{**described, **sizes, "num_attention_heads": 4})
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SHIPPED / name, folder)
    return folder


@pytest.fixture
def folder(smallest, tmp_path):
    return shutil.copytree(smallest, tmp_path / "mine")


def read_as_a_task(folder):
    """What is asked of a model before it is used, in this process, and its loading."""
    require_harmless(folder)
    for place in weight_files(folder):
        require_finite(place)
    examine(folder, TEXTS)
    model = language_model(str(folder))
    assert len(model.hash) == 64
    policy = model.policy()
    assert policy.vocabulary == model.tokenizer.vocabulary


def outcome(folder):
    said = folder.name
    try:
        read_as_a_task(folder)
    except UsageError as error:  # a DataError is one
        said = str(error)
    assert folder.name in said
    assert "\n" not in said
    assert len(said) < 1000
    return said


READ = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]


@pytest.mark.parametrize("cases", CASES)
def test_damaged_files(fuzz, folder, smallest, damaged, cases):
    def check(data):
        name = data.draw(st.sampled_from([*READ, "generation_config.json"]))
        (folder / name).write_bytes(damaged(data, (smallest / name).read_bytes()))
        outcome(folder)
        shutil.copy(smallest / name, folder / name)

    fuzz(cases, check)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 9),
    st.sampled_from(
        [264, 2**16, 2**31, 2**63, 10**400, 0.5, -1.0, 1e308, "", "x", "\ud800", "../.."]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "rope_type", "content", "x"]), inner, max_size=3),
    ),
    max_leaves=4,
)
CONFIG_KEYS = [
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim", "dtype"),
    *("num_key_value_heads", "intermediate_size", "hidden_act", "rope_parameters", "eos_token_id"),
    *("max_position_embeddings", "tie_word_embeddings", "architectures", "auto_map", "layer_types"),
    *("rope_scaling", "pad_token_id", "torch_dtype", "tokenizer_class", "text_config", "id2label"),
    *("use_cache", "attn_implementation", "is_encoder_decoder", "sliding_window", "_name_or_path"),
    *("transformers_weights", "quantization_config", "fusion_config", "configuration_files"),
]
MODEL_TYPES = [
    "llama",
    "gpt2",
    "mistral",
    "mixtral",
    "bert",
    "t5",
    "mamba",
    "gemma3",
    "none",
    "gpt_neox",
]


@pytest.mark.parametrize("cases", CASES)
def test_changed_configurations(fuzz, folder, cases):
    raw = json.loads((folder / "config.json").read_text())

    def check(data):
        described = dict(raw)
        for key in data.draw(st.lists(st.sampled_from(CONFIG_KEYS), min_size=1, max_size=2)):
            described[key] = data.draw(VALUES)
        if data.draw(st.integers(0, 4)) == 0:
            described["model_type"] = data.draw(st.sampled_from(MODEL_TYPES))
        (folder / "config.json").write_text(json.dumps(described))
        outcome(folder)

    fuzz(cases, check)


def expanding(times):
    one = {"type": "Replace", "pattern": {"String": "1"}, "content": "11"}
    return {"type": "Sequence", "normalizers": [one] * times}


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


TOKENIZER_PARTS = {
    "normalizer": [
        expanding(14),
        {"type": "Replace", "pattern": {"String": ""}, "content": "aa"},
        {"type": "Precompiled", "precompiled_charsmap": "CAAAAP////8AAAAA"},
        {"type": "Prepend", "prepend": "x" * 10**5},
        {"type": "Lowercase"},
    ],
    "pre_tokenizer": [
        split("(((("),
        split("(1+)+$"),
        split("(\\d|\\d\\d)+$"),
        {"type": "FixedLength", "length": 0},
        {"type": "Whitespace"},
    ],
    "post_processor": [
        {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "nope", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        },
        {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "a", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"a": {"id": "a", "ids": [1] * 9999, "tokens": ["a"] * 9999}},
        },
        {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "B", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        },
    ],
    "decoder": [
        {"type": "WordPiece", "prefix": "", "cleanup": True},
        {"type": "Replace", "pattern": {"Regex": "(1+)+$"}, "content": "x" * 999},
        {"type": "Strip", "content": "x", "start": 2**63, "stop": 9},
    ],
    "model": [
        {"type": "BPE", "vocab": {"a": 2**32 - 1}, "merges": []},
        {"type": "BPE", "vocab": {"1": 999}, "merges": []},
        {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]},
        {"type": "Unigram", "unk_id": 0, "vocab": [["1", 0.0]]},
        {"type": "Unigram", "unk_id": 0, "vocab": []},
        {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {}},
        {"type": "BPE", "dropout": 0.5, "vocab": {"1": 1}, "merges": []},
    ],
    "added_tokens": [
        [{"id": 2**32 - 1, "content": "1", "special": True}],
        [{"id": 0, "content": "", "special": False}],
        [],
    ],
    "truncation": [
        {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 9}
    ],
    "padding": [
        {
            "strategy": {"Fixed": 10**5},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 2**31,
            "pad_type_id": 0,
            "pad_token": "1",
        }
    ],
}
SETTINGS_KEYS = [
    *("eos_token", "pad_token", "bos_token", "tokenizer_class", "auto_map", "added_tokens_decoder"),
    *("extra_special_tokens", "model_max_length", "padding_side", "chat_template", "init_inputs"),
    *("fast_tokenizer_files", "gguf_file", "vocab_file", "merges_file", "add_bos_token", "vocab"),
    *("additional_special_tokens", "clean_up_tokenization_spaces", "tokenizer_object", "__class__"),
]
TOKENIZER_CLASSES = [
    *("LlamaTokenizer", "GPT2Tokenizer", "BertTokenizer", "T5Tokenizer", "PreTrainedTokenizer"),
    *("ByT5Tokenizer", "CodeLlamaTokenizer", "os.system", "MistralCommonBackend"),
]


@pytest.mark.parametrize("cases", CASES)
def test_changed_tokenizers(fuzz, folder, cases):
    raw = {name: json.loads((folder / name).read_text()) for name in READ[1:3]}

    def check(data):
        rules, told = dict(raw["tokenizer.json"]), dict(raw["tokenizer_config.json"])
        for part in data.draw(st.lists(st.sampled_from(sorted(TOKENIZER_PARTS)), max_size=2)):
            rules[part] = data.draw(st.one_of(st.sampled_from(TOKENIZER_PARTS[part]), VALUES))
        for key in data.draw(st.lists(st.sampled_from(SETTINGS_KEYS), max_size=2)):
            told[key] = data.draw(VALUES)
        if data.draw(st.integers(0, 4)) == 0:
            told["tokenizer_class"] = data.draw(st.sampled_from(TOKENIZER_CLASSES))
        (folder / "tokenizer.json").write_text(json.dumps(rules))
        (folder / "tokenizer_config.json").write_text(json.dumps(told))
        outcome(folder)

    fuzz(cases, check)


def change(place, **changes):
    described = json.loads(place.read_text()) if place.exists() else {}
    place.write_text(json.dumps({**described, **changes}))


def refused(folder, *words):
    with pytest.raises(DataError) as caught:
        language_model(str(folder)).require_sound(TEXTS)
    for word in (folder.name, *words):
        assert word in str(caught.value)


def test_code_beside_a_model_is_not_run(folder):
    ran = folder / "ran"
    (folder / "mine.py").write_text(f"open({str(ran)!r}, 'w')\n")
    classes = {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}
    change(folder / "config.json", auto_map=classes)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.T", "mine.T"]})
    change(folder / "generation_config.json", custom_generate="mine.py")
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "mine.py", folder / "custom_generate" / "generate.py")
    (folder / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    said = outcome(folder)
    assert not ran.exists()
    # A class of the library's own fits the model: it is loaded by that, or refused.
    assert said == folder.name or "no tokenizer can be loaded" in said
    change(folder / "config.json", model_type="mine")
    assert "contains custom code" in outcome(folder)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("config.json", {"transformers_weights": "a.safetensors"}, ["'transformers_weights'"]),
        ("config.json", {"configuration_files": ["config.4.json"]}, ["'configuration_files'"]),
        ("config.json", {"quantization_config": {"quant_method": "x"}}, ["'quantization_config'"]),
        ("config.json", {"text_config": {"quantization_config": {}}}, ["'quantization_config'"]),
        (
            "config.json",
            {"_attn_implementation": "me/kernel"},
            ["'me/kernel'", "code from the hub"],
        ),
        ("config.json", {"attn_implementation": {"": "me/kernel"}}, ["is a dict", "code"]),
        ("config.json", {"attn_implementation": "flash_attention_2"}, ["code from the hub"]),
        ("adapter_config.json", {"base_model_name_or_path": "/"}, ["is an adapter"]),
        ("tokenizer_config.json", {"vocab_file": "/etc/passwd"}, ["'/etc/passwd'", "'vocab_file'"]),
        ("tokenizer_config.json", {"merges_file": "../../etc"}, []),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer.4.json"]}, ["another file"]),
        ("tokenizer_config.json", {"gguf_file": "/x.gguf"}, ["another file"]),
        ("config.json", {"hidden_size": 10**9}, ["than its weights account for"]),
        ("config.json", {"num_hidden_layers": 10**9}, ["than its weights account for"]),
        ("config.json", {"vocab_size": 2**31}, ["do not belong together"]),
    ],
)
def test_configurations_that_ask_for_more_than_is_there(folder, file, changes, words):
    if "merges_file" in changes:
        (folder.parents[1] / "etc").write_text("a b")
    change(folder / file, **changes)
    began = time.monotonic()
    refused(folder, file if "account" not in str(words) else "", *words)
    assert time.monotonic() - began < 60


def test_paths_of_a_makers_machine_are_read_over(folder):
    change(
        folder / "tokenizer_config.json",
        tokenizer_file="/home/nobody/tokenizer.json",
        special_tokens_map_file="special_tokens_map.json",
    )
    assert outcome(folder) == folder.name


def test_infinity_in_a_configuration_is_read(folder):
    change(folder / "config.json", time_step_limit=[0.0, float("inf")])
    assert outcome(folder) == folder.name


@pytest.mark.parametrize(
    "file",
    [
        "tokenizer.json",
        "config.json",
        "merges.txt",
        "model.safetensors",
        "additional_chat_templates/a",
    ],
)
def test_a_pipe_is_not_waited_for(folder, file):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    refused(folder, file, "is no plain file")


def test_a_file_without_end(folder):
    with (folder / "tokenizer.json").open("r+b") as stream:
        stream.truncate(2**36)
    refused(folder, "mine/tokenizer.json", "at most 67,108,864 are read")


def test_weights_that_are_a_hole(folder):
    size = 2**36
    header = {"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + size)
    refused(folder, "model.safetensors", "hardly any are there")


def test_weights_under_another_name_are_not_read_in_their_place(folder):
    name = "shard-00000-model-00001-of-00001.safetensors"
    shutil.copy(folder / "model.safetensors", folder / name)
    refused(folder, name, "distributed checkpoint")


@pytest.mark.parametrize(
    ("shard", "words"),
    [
        ("pytorch_model.bin", "safetensors only"),
        ("/etc/passwd", "weights lie beside it"),
        ("..\\x.safetensors", "weights lie beside it"),
        ("", "safetensors only"),
    ],
)
def test_shards_that_lie_elsewhere_or_are_no_safetensors(folder, shard, words):
    shutil.move(folder / "model.safetensors", folder / "pytorch_model.bin")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "model.safetensors.index.json", words)


@pytest.mark.parametrize(
    "name", ["x" * 5000, "~nobody-at-all/x", "a\0b"], ids=["long", "home", "null"]
)
def test_what_cannot_be_a_folder(name):
    with pytest.raises(UsageError, match="--model"):
        language_model(name)


def test_a_tokenizer_that_differs_each_time(folder):
    rules = json.loads((folder / "tokenizer.json").read_text())
    change(folder / "tokenizer.json", model={**rules["model"], "dropout": 0.5})
    with pytest.raises(DataError, match=r"tokenizer\.json, field 'dropout': is 0\.5"):
        examine(folder, TEXTS)


def test_a_tokenizer_that_expands_texts(folder):
    change(folder / "tokenizer.json", normalizer=expanding(14))
    with pytest.raises(DataError, match=r"writes 16,\d+ ids for a text of 7 bytes"):
        examine(folder, TEXTS)


def test_memory_is_limited(folder):
    change(folder / "tokenizer.json", normalizer=expanding(40))
    began = time.monotonic()
    with pytest.raises(DataError, match=r"mine: .* more than 0\.586 GiB: refused"):
        examine_apart(folder, TEXTS, memory=600 * 2**20)
    assert time.monotonic() - began < 60


def test_time_is_limited(folder, monkeypatch):
    monkeypatch.setattr(examination, "_CODE", "while True: pass")
    with pytest.raises(DataError, match=r"mine: .* takes more than 1 s: refused"):
        examine_apart(folder, [], seconds=1)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", r"signal 11 \(SIGSEGV\)"),
        ("import os; os._exit(3)", "exit code 3"),
    ],
)
def test_a_process_that_ends_is_a_refusal(folder, monkeypatch, code, words):
    monkeypatch.setattr(examination, "_CODE", code)
    with pytest.raises(DataError, match=f"mine: .* {words}"):
        examine_apart(folder, TEXTS)


def test_what_libraries_print_is_no_answer(folder, monkeypatch, capfd):
    noisy = examination._CODE.replace(
        "main()", "import irlbench.envs.text.examination as e\n"
        "e.examine = lambda *_: print('[\"usage\", \"x\"]')\nmain()"
    )  # fmt: skip
    monkeypatch.setattr(examination, "_CODE", noisy)
    examine_apart(folder, TEXTS)
    assert capfd.readouterr() == ("", "")
    assert sys.path  # as it was
