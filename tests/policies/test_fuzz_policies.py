"""Policies and rewards from strangers: loaded, or refused in words. No code, no more memory."""

from __future__ import annotations

import copy
import json
import os
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from irlbench.errors import DataError
from irlbench.policies.causal_lm import CausalLMPolicy
from irlbench.policies.mlp import (
    CategoricalMLPPolicy,
    GaussianMLPPolicy,
    SquashedGaussianMLPPolicy,
)
from irlbench.policies.saved_model import REFUSED_KEYS
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import KINDS, load_policy, save_policy
from irlbench.randomness import RowGenerator
from irlbench.reward import FORMS, load_reward, save_reward
from irlbench.rewards.composed import InverseBellmanReward, LogRatioReward, ShapedReward
from irlbench.rewards.continuous import (
    ActorCriticReward,
    PolicyLogRatioReward,
    StateActionMLPReward,
    ValueGapReward,
)
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.mlp import MLPReward
from irlbench.rewards.table import TableReward

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]
ROWS = 4


def _layers(head, outputs, **more):
    arrays = {
        "hidden.0.weight": np.full((4, 3), 0.1),
        "hidden.0.bias": np.zeros(4),
        f"{head}.weight": np.full((outputs, 4), 0.1),
        f"{head}.bias": np.zeros(outputs),
        **more,
    }
    return {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}


def _gaussian(**more):
    bounds = {"action_low": [-1.0, -2.0], "action_high": [1.0, 2.0], "log_std": [0.0, -1.0]}
    return _layers("mean", 2, **bounds, **more)


def _language_model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
        bos_token_id=1,
        eos_token_id=2,
    )
    return CausalLMPolicy(LlamaForCausalLM(config))


NORMALISED = {"observation_mean": np.zeros(3), "observation_std": np.ones(3)}
POLICIES = {
    "uniform": lambda: UniformPolicy(5),
    "uniform box": lambda: UniformPolicy(low=np.array([-1.0, 0.0]), high=np.array([1.0, 2.0])),
    "table": lambda: TablePolicy(np.arange(6.0).reshape(3, 2)),
    "time-dependent-table": lambda: TimeDependentTablePolicy(np.arange(12.0).reshape(2, 3, 2)),
    "categorical-mlp": lambda: CategoricalMLPPolicy(_layers("logits", 3)),
    "gaussian-mlp": lambda: GaussianMLPPolicy(_gaussian(**NORMALISED)),
    "squashed-gaussian-mlp": lambda: SquashedGaussianMLPPolicy(_gaussian()),
    "causal-lm": _language_model,
}


def _of_both():
    """Of three numbers that are observed and two that act."""
    arrays = _layers("reward", 1)
    arrays["hidden.0.weight"] = np.full((4, 5), 0.1, np.float32)
    return StateActionMLPReward(arrays)


def _squashed():
    return SquashedGaussianMLPPolicy(_gaussian())


REWARDS = {
    "table reward": lambda: TableReward(np.arange(6.0).reshape(3, 2), 0.9, 0.5),
    "state table reward": lambda: TableReward(np.arange(3.0)),
    "linear reward": lambda: LinearReward(np.arange(3.0), 1.0),
    "constant reward": lambda: LinearReward.constant(1.0),
    "mlp reward": lambda: _network_reward(2),
    "shaped reward": lambda: ShapedReward(_network_reward(2), _network_reward(1), 0.9, 1.0),
    "shaped table": lambda: ShapedReward(_table(2), TableReward(np.arange(3.0)), 0.9),
    "inverse-bellman reward": lambda: InverseBellmanReward(_table(2), 0.9, 0.5),
    "log-ratio reward": lambda: LogRatioReward(_table(2), _table(2)),
    "log-ratio network": lambda: LogRatioReward(_network_reward(2), None),
    "state-action-mlp reward": _of_both,
    "shaped network of both": lambda: ShapedReward(_of_both(), _network_reward(1), 0.9),
    "actor-critic reward": lambda: ActorCriticReward(
        [_of_both(), _of_both()], _squashed(), 0.9, 0.1
    ),
    "q-minus-v reward": lambda: ValueGapReward(_of_both(), _network_reward(1), 0.9),
    "policy-log-ratio reward": lambda: PolicyLogRatioReward(_squashed(), _squashed(), 0.5),
}


def _table(actions):
    return TableReward(np.arange(3.0 * actions).reshape(3, actions))


def _network_reward(outputs):
    return MLPReward(_layers("reward", outputs), "state" if outputs == 1 else "state-action")


def test_every_kind_and_form_is_here():
    assert {make().kind for make in POLICIES.values()} == set(KINDS)
    assert {make().form for make in REWARDS.values()} == set(FORMS)


def _observations(policy):
    if policy.kind == "causal-lm":
        return {"tokens": np.full((ROWS, 8), 3), "length": np.full(ROWS, 3)}
    if "table" in policy.kind:
        return np.zeros(ROWS, dtype=np.int64)
    return np.zeros((ROWS, 3), dtype=np.float32)


def _use_policy(policy):
    """What is loaded acts: hands out as many actions as there are rows, and can be saved again."""
    observations = _observations(policy)
    if policy.kind.endswith("mlp"):
        arrays = policy.arrays()
        first = next(n for n in ("hidden.0", "logits", "mean") if f"{n}.weight" in arrays)
        observations = np.zeros((ROWS, arrays[f"{first}.weight"].shape[1]), dtype=np.float32)
    actions, _ = policy.act(observations, generator=RowGenerator(np.arange(ROWS)))
    assert len(actions) == ROWS
    assert policy.is_finite()
    assert isinstance(json.dumps(policy.settings()), str)


def _use_reward(reward):
    zeros, flags = np.zeros(ROWS, dtype=np.int64), np.zeros(ROWS, dtype=bool)
    observed, acting = _widths(reward)
    observations = np.zeros((ROWS, observed)) if observed else zeros
    actions = np.zeros((ROWS, acting)) if acting else zeros
    assert reward(observations, actions, observations, flags).shape == (ROWS,)
    assert 0 <= reward.discount <= 1


def _widths(reward):
    """How many numbers are observed, and how many act; 0 where an index does."""
    parts = [reward, *getattr(reward, "parts", dict)().values()]
    policies = [part for part in parts if isinstance(part, GaussianMLPPolicy)]
    if policies:
        return policies[0].inputs, policies[0].actions
    of_both = [part.inputs for part in parts if isinstance(part, StateActionMLPReward)]
    others = [getattr(p, "inputs", getattr(p, "weights", np.zeros(0)).size) for p in parts]
    observed = max((n for n in others if n not in of_both), default=0)
    if of_both:
        observed = observed or of_both[0] - 1
        return observed, of_both[0] - observed
    return observed, 0


def _saved(name, folder):
    """Saves one of the above; returns the stem of its files, what loads it and what uses it."""
    if name in POLICIES:
        save_policy(POLICIES[name](), folder)
        return "policy", load_policy, _use_policy
    save_reward(REWARDS[name](), folder)
    return "reward", load_reward, _use_reward


def _load(load, use, folder):
    try:
        loaded = load(folder)
    except DataError:
        return
    use(loaded)


SMALL = [name for name in (*POLICIES, *REWARDS) if name != "causal-lm"]


@pytest.mark.parametrize("cases", CASES)
def test_damaged_files(fuzz, damaged, tmp_path, cases):
    raw = {}
    for name in SMALL:
        (tmp_path / name).mkdir()
        stem, load, use = _saved(name, tmp_path / name)
        files = [tmp_path / name / f"{stem}.{end}" for end in ("json", "safetensors")]
        raw[name] = (load, use, {file: file.read_bytes() for file in files})

    def check(data):
        name = data.draw(st.sampled_from(SMALL))
        load, use, contents = raw[name]
        file = data.draw(st.sampled_from(sorted(contents)))
        for path, content in contents.items():
            path.write_bytes(damaged(data, content) if path == file else content)
        _load(load, use, tmp_path / name)

    fuzz(cases, check)


@pytest.mark.parametrize("cases", CASES)
def test_altered_settings(fuzz, altered, tmp_path, cases):
    raw = {}
    for name in SMALL:
        (tmp_path / name).mkdir()
        stem, load, use = _saved(name, tmp_path / name)
        raw[name] = (tmp_path / name / f"{stem}.json", load, use)
    contents = {name: json.loads(raw[name][0].read_text()) for name in raw}

    def check(data):
        name = data.draw(st.sampled_from(SMALL))
        path, load, use = raw[name]
        path.write_text(json.dumps(altered(data, contents[name])))
        _load(load, use, path.parent)

    fuzz(cases, check)


DTYPES = [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint64, np.bool_, np.complex64]


def _draw_array(data, array):
    """An array of another shape, type or content."""
    kind = data.draw(st.sampled_from(["type", "rank", "size", "zero", "value", "grow"]))
    if kind == "type":
        return array.real.astype(data.draw(st.sampled_from(DTYPES)))
    if kind == "rank":
        return array[None] if data.draw(st.booleans()) or not array.ndim else array[0]
    if kind == "size":
        return np.concatenate([array, array], axis=data.draw(st.integers(0, array.ndim - 1)))
    if kind == "zero":
        return array[:0]
    if kind == "grow":
        return np.zeros(data.draw(st.lists(st.integers(0, 5), max_size=5)), dtype=array.dtype)
    changed = array.copy()
    ugly = [np.nan, np.inf, -np.inf, 3e38, -1.0, 0.0]
    at, value = (
        data.draw(st.integers(0, array.size - 1)),
        np.array(data.draw(st.sampled_from(ugly))),
    )
    changed.reshape(-1)[at] = value.astype(array.dtype)
    return changed


@pytest.mark.parametrize("cases", CASES)
def test_other_arrays_than_the_kind_has(fuzz, tmp_path, cases):
    """Files that are whole, with arrays of any shape, type, name and content."""
    names = [name for name in SMALL if name != "uniform"]
    raw = {}
    for name in names:
        (tmp_path / name).mkdir()
        stem, load, use = _saved(name, tmp_path / name)
        made = (POLICIES if stem == "policy" else REWARDS)[name]()
        raw[name] = (tmp_path / name / f"{stem}.safetensors", load, use, made.arrays())

    def check(data):
        path, load, use, arrays = raw[data.draw(st.sampled_from(names))]
        arrays = dict(arrays)
        with np.errstate(all="ignore"):
            redraw(data, arrays)
            save_file(arrays, path)
            _load(load, use, path.parent)

    def redraw(data, arrays):
        for _ in range(data.draw(st.integers(1, 2))):
            name = data.draw(st.sampled_from(sorted(arrays)))
            kind = data.draw(st.sampled_from(["array", "array", "array", "name", "drop", "more"]))
            if kind == "array" and arrays[name].size:
                arrays[name] = np.ascontiguousarray(_draw_array(data, arrays[name]))
            elif kind == "name":
                arrays[data.draw(st.text(max_size=12))] = arrays.pop(name)
            elif kind == "drop" and len(arrays) > 1:
                del arrays[name]
            elif kind == "more":
                arrays[f"{name}.more"] = arrays[name]

    fuzz(cases, check)


# --- headers of safetensors made by hand


def _safetensors(header, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _tensor(dtype="F64", shape=(3, 2), offsets=(0, 48)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


NAME = "log_probabilities"
HEADERS = {
    "brain floats": _safetensors({NAME: _tensor("BF16", (3, 2), (0, 12))}, b"\0" * 12),
    "8-bit floats": _safetensors({NAME: _tensor("F8_E4M3", (3, 2), (0, 6))}, b"\0" * 6),
    "4-bit floats": _safetensors({NAME: _tensor("F4", (2, 2), (0, 2))}, b"\0" * 2),
    "unknown type": _safetensors({NAME: _tensor("F77")}, b"\0" * 48),
    "more than there is": _safetensors({NAME: _tensor(shape=(2**40, 2**20))}, b"\0" * 48),
    "overflowing": _safetensors({NAME: _tensor(shape=(2**40, 2**40))}, b"\0" * 48),
    "nothing, but long": _safetensors({NAME: _tensor(shape=(0, 2**62), offsets=(0, 0))}),
    "negative": _safetensors({NAME: _tensor(shape=(-3, -2))}, b"\0" * 48),
    "backwards": _safetensors({NAME: _tensor(offsets=(48, 0))}, b"\0" * 48),
    "overlapping": _safetensors({NAME: _tensor(), "b": _tensor(offsets=(24, 72))}, b"\0" * 72),
    "with a gap": _safetensors({NAME: _tensor(offsets=(8, 56))}, b"\0" * 56),
    "many axes": _safetensors({NAME: _tensor(shape=(1,) * 100, offsets=(0, 8))}, b"\0" * 8),
    "cut off": _safetensors({NAME: _tensor()}, b"\0" * 47),
    "too much": _safetensors({NAME: _tensor()}, b"\0" * 49),
    "long header": _safetensors({}, length=2**63),
    "header beyond the end": _safetensors({}, length=10**7),
    "no JSON": _safetensors(b"[" * 100_000),
    "no object": _safetensors(b"[]"),
    "twice": _safetensors(
        b'{"%b":%b,"%b":%b}' % ((NAME.encode(), json.dumps(_tensor()).encode()) * 2), b"\0" * 96
    ),
    "nothing": b"",
    "nothing in it": _safetensors({}),
    "pickle": b"\x80\x04\x95" + b"\0" * 40,
    "zip": b"PK\x03\x04" + b"\0" * 40,
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_made_to_harm_are_refused(tmp_path, name):
    save_policy(TablePolicy(np.zeros((3, 2))), tmp_path)
    (tmp_path / "policy.safetensors").write_bytes(HEADERS[name])
    with pytest.raises(DataError, match="policy"):
        load_policy(tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("end", ["json", "safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "hole"])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, kind, end):
    save_policy(TablePolicy(np.zeros((3, 2))), tmp_path)
    path = tmp_path / f"policy.{end}"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        header = _safetensors({NAME: _tensor("F64", (2**35, 2), (0, 2**39))})
        with path.open("wb") as stream:
            stream.write(header)
            stream.truncate(len(header) + 2**39)
    with pytest.raises(DataError, match=path.name):
        load_policy(tmp_path)


# --- language models


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language-model")
    save_policy(_language_model(), folder)
    return folder, json.loads((folder / "policy.json").read_text())


@pytest.mark.parametrize("cases", [15, pytest.param(1000, marks=pytest.mark.slow)])
def test_altered_configurations_of_a_language_model(fuzz, altered, language_model, cases):
    folder, content = language_model

    def check(data):
        (folder / "policy.json").write_text(json.dumps(altered(data, content)))
        try:
            policy = load_policy(folder)
        except DataError:
            return
        assert policy.is_finite()

    fuzz(cases, check)


#: What counts layers, experts and positions bears many names.
COUNTS = {
    "num_hidden_layers": 10**9,
    "num_layers": 60_000,
    "n_layer": 60_000,
    "n_layers": 10**9,
    "encoder_layers": 60_000,
    "num_labels": 10**9,
    "num_experts": 60_000,
    "num_local_experts": 60_000,
    "max_position_embeddings": 2**40,
    "n_positions": 10**6,
    "max_seq_len": 10**6,
    "hidden_size": 60_000,
    "vocab_size": 2**39,
}
FAMILIES = ["gpt2", "gptj", "codegen", "bloom", "mpt", "xlm", "qwen2", "mixtral", "mamba", "bart"]


@pytest.mark.parametrize(
    "families",
    [["llama", "gpt2"], pytest.param(FAMILIES, marks=pytest.mark.slow)],
    ids=["two", "ten"],
)
def test_a_configuration_takes_no_more_than_its_weights(language_model, tmp_path, families):
    folder, content = language_model
    for family in families:
        for key, size in COUNTS.items():
            described = copy.deepcopy(content)
            described["settings"]["config"] |= {key: size, "model_type": family}
            described["settings"]["config"].pop("layer_types", None)
            place = tmp_path / family / key
            place.mkdir(parents=True)
            (place / "policy.json").write_text(json.dumps(described))
            (place / "policy.safetensors").symlink_to(folder / "policy.safetensors")
    code = f"""
    for place in sorted(Path({str(tmp_path)!r}).glob("*/*")):
        try:
            load_policy(place)
        except DataError as error:
            print(place.parent.name, place.name, "refused")
        else:
            print(place.parent.name, place.name, "loaded")
    """
    told = _limited(textwrap.dedent(code).strip().replace("\n", "\n        ")).splitlines()
    assert len(told) == len(families) * len(COUNTS)
    loaded = {tuple(line.split()[:2]) for line in told if line.endswith("loaded")}
    # Llama calls its layers otherwise, and keeps no table of positions.
    others = {"num_layers", "n_layer", "n_layers", "encoder_layers", "n_positions", "max_seq_len"}
    others |= {"num_experts", "num_local_experts", "max_position_embeddings"}
    assert loaded <= {("llama", key) for key in others}


@pytest.mark.parametrize("key", sorted(REFUSED_KEYS))
@pytest.mark.parametrize("deep", [False, True])
def test_a_configuration_that_names_code_or_files_is_refused(language_model, key, deep):
    folder, content = language_model
    described = copy.deepcopy(content)
    config = described["settings"]["config"]
    (config.setdefault("text_config", {}) if deep else config)[key] = "kernels-community/x"
    (folder / "policy.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=f"a configuration with {key} is refused"):
        load_policy(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model.norm.weight": np.zeros(8, dtype=np.float64)}, "wanted is float32"),
        ({"model.norm.weight": np.full(8, np.nan, dtype=np.float32)}, "NaN or an infinity"),
        ({"model.norm.weight": np.zeros(9, dtype=np.float32)}, "do not fit the configuration"),
        ({"model.more": np.zeros(9, dtype=np.float32)}, "do not fit the configuration"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, told):
    policy = _language_model()
    save_policy(policy, tmp_path)
    save_file({**policy.arrays(), **change}, tmp_path / "policy.safetensors")
    with pytest.raises(DataError, match=told):
        load_policy(tmp_path)


MEMORY = """
    import resource
    from pathlib import Path
    import torch
    from transformers import AutoModelForCausalLM
    from irlbench.errors import DataError
    from irlbench.policies.causal_lm import CausalLMPolicy
    from irlbench.policy import load_policy
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
    if True:
        {code}
"""


def _limited(code: str) -> str:
    """What code prints in a process that may take a gibibyte more."""
    text = textwrap.dedent(MEMORY).format(code=code)
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


#: Small models of families whose configurations look unlike each other.
SMALL_MODELS = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50},
    "gptj": {"n_embd": 16, "n_layer": 2, "n_head": 2, "rotary_dim": 4, "vocab_size": 50},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50},
    "mixtral": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "num_local_experts": 2,
        "vocab_size": 50,
    },
    "mamba2": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_heads": 4,
        "head_dim": 8,
        "state_size": 8,
        "n_groups": 1,
        "vocab_size": 50,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("family", SMALL_MODELS)
def test_models_of_other_families_are_saved_and_loaded(tmp_path, family):
    """The limits let pass what is honest: mixtures of experts, tables of positions, infinities."""
    config = AutoConfig.for_model(family, **SMALL_MODELS[family])
    policy = CausalLMPolicy(AutoModelForCausalLM.from_config(config))
    save_policy(policy, tmp_path)
    loaded = load_policy(tmp_path)
    for name, array in policy.arrays().items():
        assert (loaded.arrays()[name] == array).all()
