from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from irlbench.data.demonstrations import Episode, TokenEpisode
from irlbench.errors import DataError
from irlbench.policies.causal_lm import CausalLMPolicy
from irlbench.policy import load_policy, save_policy
from irlbench.randomness import RowGenerator

VOCABULARY, EOS = 20, 19


def model(kind="llama", seed=0, **changes):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64)
        )
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.5,
        "tie_word_embeddings": True,
        **changes,
    }
    return LlamaForCausalLM(LlamaConfig(**settings))


def observe(prompts, width=40):
    tokens = np.full((len(prompts), width), 3, dtype=np.int32)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    return {"tokens": tokens, "length": np.array([len(p) for p in prompts])}


def append(observations, actions):
    rows = np.arange(len(actions))
    observations["tokens"][rows, observations["length"]] = actions
    observations["length"] += 1


def plain_log_probs(policy, ids):
    """Next-token log-probabilities by the model alone, one sequence, no cache, no padding."""
    with torch.no_grad():
        logits = policy.model(torch.tensor([list(ids)])).logits[0]
    return torch.log_softmax(logits.double(), dim=-1).numpy()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_cached_steps_and_one_pass_agree(kind):
    policy = CausalLMPolicy(model(kind))
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    observations, state = observe(prompts), None
    generator = RowGenerator(np.arange(3))
    stepwise = [[] for _ in prompts]
    for _ in range(12):
        actions, state = policy.act(observations, state, generator=generator)
        rows = torch.log_softmax(state.logits.double(), dim=-1).numpy()
        for row in range(3):
            stepwise[row].append(rows[row, actions[row]])
        single = policy.log_prob(observations, actions)
        assert np.allclose(single, [s[-1] for s in stepwise], atol=1e-5)
        append(observations, actions)
    episodes = []
    for row, prompt in enumerate(prompts):
        tokens = observations["tokens"][row, : observations["length"][row]]
        episodes.append(
            TokenEpisode(tokens, len(prompt), np.arange(len(tokens)) >= len(prompt), "length")
        )
        by_hand = plain_log_probs(policy, tokens)[np.arange(len(tokens) - 1), tokens[1:]]
        assert np.allclose(stepwise[row], by_hand[len(prompt) - 1 :], atol=1e-5)
    for found, wanted in zip(policy.score(episodes), stepwise, strict=True):
        assert found.dtype == np.float64
        assert np.allclose(found, wanted, atol=1e-5)


def test_rows_that_begin_anew_see_nothing_of_what_was_before():
    policy = CausalLMPolicy(model())
    observations, state = observe([[1, 2, 3], [4, 5]], width=24), None
    generator = RowGenerator(np.arange(2))
    fresh = np.zeros(2, dtype=bool)
    for step in range(60):
        actions, state = policy.act(observations, state, reset_mask=fresh, generator=generator)
        for row in range(2):
            ids = observations["tokens"][row, : observations["length"][row]]
            wanted = plain_log_probs(policy, ids)[-1]
            found = torch.log_softmax(state.logits[row].double(), dim=-1).numpy()
            assert np.allclose(found, wanted, atol=1e-4), step
        append(observations, actions)
        fresh = (observations["length"] >= 24) | (np.array([step % 7 == 3, False]))
        for row in map(int, np.flatnonzero(fresh)):
            observations["tokens"][row] = 3
            observations["tokens"][row, : 2 + step % 3] = 7
            observations["length"][row] = 2 + step % 3


def test_samples_do_not_depend_on_the_batch():
    policy = CausalLMPolicy(model())
    prompts = [[1 + i % 7] * (1 + i % 4) for i in range(6)]

    def sampled(rows):
        observations, state = observe([prompts[i] for i in rows]), None
        generator = RowGenerator(np.array(rows))
        for _ in range(15):
            actions, state = policy.act(observations, state, generator=generator)
            append(observations, actions)
        return observations["tokens"]

    together = sampled(range(6))
    for i in range(6):
        assert (sampled([i])[0] == together[i]).all()
    assert (sampled([0, 3, 5]) == together[[0, 3, 5]]).all()


def test_samples_follow_the_probabilities_and_the_mode_is_the_likeliest():
    policy = CausalLMPolicy(model(seed=3))
    observations = observe([[5, 6]] * 4000)
    actions, _ = policy.act(observations, generator=RowGenerator(np.arange(4000)))
    wanted = np.exp(plain_log_probs(policy, [5, 6])[-1])
    found = np.bincount(actions, minlength=VOCABULARY) / 4000
    assert 0.5 * np.abs(found - wanted).sum() < 0.05
    best, _ = policy.act(observations, deterministic=True, generator=RowGenerator(np.arange(4000)))
    assert (best == wanted.argmax()).all()


def test_a_row_that_has_not_moved_keeps_its_logits():
    policy = CausalLMPolicy(model())
    observations = observe([[1, 2], [3, 4]])
    generator = RowGenerator(np.arange(2))
    _, state = policy.act(observations, generator=generator)
    first = state.logits.clone()
    append(observations, np.array([5, 6]))
    observations["length"][1] -= 1
    _, state = policy.act(observations, state, generator=generator)
    assert torch.equal(state.logits[1], first[1])
    assert not torch.equal(state.logits[0], first[0])


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}])
def test_saved_and_loaded_it_is_the_same(tmp_path, changes):
    policy = CausalLMPolicy(model(**changes))
    save_policy(policy, tmp_path)
    loaded = load_policy(tmp_path)
    assert loaded.arrays().keys() == policy.arrays().keys()
    assert ("lm_head.weight" in policy.arrays()) == bool(changes)
    for name, array in policy.arrays().items():
        assert (loaded.arrays()[name] == array).all()
    tokens = np.array([1, 2, 3, 4, EOS], dtype=np.int32)
    episode = TokenEpisode(tokens, 2, np.arange(5) >= 2, "stop")
    assert (loaded.score([episode])[0] == policy.score([episode])[0]).all()
    assert loaded.is_finite()


def test_what_is_saved_tells_nothing_of_the_machine(tmp_path):
    from irlbench.envs.text.models import SHIPPED

    policy = CausalLMPolicy.from_folder(str(SHIPPED))
    save_policy(policy, tmp_path)
    text = (tmp_path / "policy.json").read_text()
    assert "/" not in text and "\\" not in text
    assert "_name_or_path" not in text and "transformers_version" not in text
    loaded = load_policy(tmp_path)
    assert loaded.settings() == policy.settings()
    assert loaded.arrays().keys() == policy.arrays().keys()
    for name, array in policy.arrays().items():
        assert (loaded.arrays()[name] == array).all()


def test_a_nan_is_noticed():
    spoilt = model()
    spoilt.model.norm.weight.data[0] = float("nan")
    assert not CausalLMPolicy(spoilt).is_finite()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "evil.Model"}}, "auto_map"),
        ({"hidden_size": 10**9}, "not fit|not a"),
        ({"num_hidden_layers": 10**9}, "layers"),
        ({"vocab_size": 21}, "do not fit"),
        ({"model_type": "no-such-model"}, "not a"),
        ({"model_type": None}, "not a"),
        ({"num_attention_heads": "two"}, "not a"),
        ({"num_attention_heads": 0}, "not a"),
    ],
)
def test_a_changed_configuration_is_refused(tmp_path, change, words):
    save_policy(CausalLMPolicy(model()), tmp_path)
    place = tmp_path / "policy.json"
    described = json.loads(place.read_text())
    described["settings"]["config"].update(change)
    place.write_text(json.dumps(described))
    with pytest.raises(DataError, match=words):
        load_policy(tmp_path)


def test_missing_arrays_are_refused(tmp_path):
    policy = CausalLMPolicy(model())
    arrays = policy.arrays()
    arrays.pop("model.norm.weight")
    with pytest.raises(ValueError, match=r"model\.norm\.weight"):
        CausalLMPolicy.from_saved(arrays, policy.settings())


def test_other_episodes_and_other_folders_are_refused(tmp_path):
    policy = CausalLMPolicy(model())
    flat = np.zeros(1, dtype=bool)
    with pytest.raises(DataError, match="episodes of tokens"):
        policy.score([Episode(np.zeros((2, 1)), np.zeros(1), flat, flat)])
    assert policy.score([]) == []
    with pytest.raises(DataError, match="no causal language model"):
        CausalLMPolicy.from_folder(str(tmp_path))


def test_a_pickled_model_is_refused(tmp_path):
    small = model()
    small.config.to_json_file(tmp_path / "config.json")
    torch.save(small.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="no causal language model"):
        CausalLMPolicy.from_folder(str(tmp_path))
