from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bc import BehaviouralCloning
from irlbench.baselines.algorithms.references import Base, Expert
from irlbench.envs.text.arithmetic import parse_prompt, split_of, verify
from irlbench.envs.text.evaluation import demonstration_nll, roll_out
from irlbench.envs.text.models import TransformersTokenizer, language_model
from irlbench.envs.text.sources import ArithmeticSource
from irlbench.envs.text.tasks import ARITHMETIC, GSM8K, TextTask
from irlbench.envs.text.tokenizer import EOS, SPECIAL_TOKENS, ByteTokenizer
from irlbench.errors import DataError, ResourceError, UsageError
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import Policy
from irlbench.problem import Budget
from irlbench.registry import registry, why_not
from irlbench.task import ProblemRequest, TaskOptions


def problem(task, algorithm, home, *, options=None, demonstrations=16, seed=0):
    request = ProblemRequest(
        seed=seed,
        needs=algorithm.needs_for("text", algorithm.tracks[0]),
        track=algorithm.tracks[0],
        demonstrations=demonstrations,
        options=options or TaskOptions(),
    )
    return task.problem(request, home)


def fit(task, algorithm, home, changes=None, **request):
    found = problem(task, algorithm, home, **request)
    return algorithm.configure("text", changes).fit(found, Budget(), Run(request.get("seed", 0)))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    (folder / "locks").mkdir()
    return folder


@pytest.fixture(scope="module")
def judge(home):
    return ARITHMETIC.evaluator(TaskOptions(), home)


@pytest.fixture(scope="module")
def base(judge, home):
    return judge.evaluate(fit(ARITHMETIC, Base, home).policy, "test")


def test_tasks_are_registered_and_say_who_can_run():
    assert registry().task("text/arithmetic") is ARITHMETIC
    for task in (ARITHMETIC, GSM8K):
        assert why_not(BehaviouralCloning, task) is None
        assert why_not(Base, task) is None
        assert task.info.primary.name == "accuracy"
    assert why_not(Expert, ARITHMETIC) is None
    assert "expert_policy" in why_not(Expert, GSM8K)


def test_the_frozen_references_hold(base, home):
    frozen = ARITHMETIC.info.references
    assert base.scores["accuracy"] == pytest.approx(
        frozen["base"]["accuracy"], abs=frozen["base"]["accuracy_error"]
    )
    assert 0.2 <= frozen["base"]["accuracy"] <= 0.5
    for name in ("accuracy_greedy", "accuracy_longer"):
        assert base.scores[name] == pytest.approx(frozen["base"][name], abs=0.02)
    # What the task's note says of it.
    assert frozen["base"]["accuracy_greedy"] == pytest.approx(0.99, abs=0.01)
    assert "0.99" in ARITHMETIC.info.note
    assert base.scores["nll"] == pytest.approx(frozen["base"]["nll"], rel=0.01)
    assert ARITHMETIC.demonstrator_accuracy(TaskOptions()) == 1
    assert frozen["demonstrator"]["accuracy"] == 1
    prepared = ARITHMETIC.prepare(TaskOptions(), home)
    assert prepared.anchors == {}, "the frozen references are not those of the model that ships"
    assert prepared.model == ARITHMETIC.info.recipe["model"]
    assert prepared.available == ARITHMETIC.info.recipe["demonstrations"]["pool"]


def test_the_demonstrator_solves_everything(judge, home):
    policy = fit(ARITHMETIC, Expert, home).policy
    found = judge.evaluate(pickle.loads(pickle.dumps(policy)), "test")  # noqa: S301 - as handed over
    for name in ("accuracy", "accuracy_longer", "accuracy_greedy"):
        assert found.scores[name] == 1
    assert found.scores["nll"] == 0 and found.scores["stopped"] == 1


def test_an_evaluation_shows_what_it_counted(base):
    assert len(base.episodes["return"]) == len(base.episodes["length"]) == 256
    assert np.mean(base.episodes["return"]) == base.scores["accuracy"]
    assert np.mean(base.episodes["length"]) == base.scores["length"]
    assert len(base.samples) == 20
    for sample in base.samples:
        right = verify(sample["prompt"], sample["completion"])
        assert sample["reward"] == float(right and sample["finish_reason"] == "stop")
        assert split_of(parse_prompt(sample["prompt"])) == "test"


def test_evaluations_repeat_and_batches_do_not_matter(judge, home, monkeypatch):
    policy = fit(ARITHMETIC, Base, home).policy
    mdp = judge._mdps["validation"]
    first = roll_out(policy, mdp, ARITHMETIC.info.protocol["validation_seed"])
    monkeypatch.setattr("irlbench.envs.text.evaluation._BATCH_TOKENS", 1000)
    second = roll_out(policy, mdp, ARITHMETIC.info.protocol["validation_seed"])
    # Other batches round otherwise: a draw can fall on the other side once in a long while.
    assert sum(a != b for a, b in zip(first.completions, second.completions, strict=True)) <= 1
    other = roll_out(policy, mdp, ARITHMETIC.info.protocol["test_seed"])
    assert other.completions != first.completions


def test_a_policy_without_likelihood_or_end_is_judged_too(judge):
    found = judge.evaluate(UniformPolicy(actions=264), "validation")
    assert found.scores["accuracy"] == 0
    assert "nll" not in found.scores
    assert 0 < found.scores["stopped"] < 0.5


def test_demonstrations_are_correct_seeded_nested_and_of_the_train_split(home):
    found = problem(ARITHMETIC, BehaviouralCloning, home).demonstrations
    assert len(found) == 16
    tokenizer = ByteTokenizer()
    for episode in found:
        prompt = tokenizer.decode_prompt(episode.tokens[: episode.prompt_length])
        text = tokenizer.decode(episode.tokens[episode.action_mask])
        assert text.endswith("<|eos|>")
        assert verify(prompt, text.removesuffix("<|eos|>"))
        assert split_of(parse_prompt(prompt)) == "train"
        assert all(10 <= n < 1000 for n in parse_prompt(prompt))
    fewer = problem(ARITHMETIC, BehaviouralCloning, home, demonstrations=8).demonstrations
    assert [e.tokens.tolist() for e in fewer] == [e.tokens.tolist() for e in found][:8]
    other = problem(ARITHMETIC, BehaviouralCloning, home, seed=1).demonstrations
    assert [e.tokens.tolist() for e in other] != [e.tokens.tolist() for e in found]


def changed(task, part, name, value):
    """The task with one declared value changed."""
    described = copy.deepcopy(dict(getattr(task.info, part)))
    place = described["demonstrations"] if part == "recipe" else described
    assert name in place and place[name] != value
    place[name] = value
    return TextTask(replace(task.info, **{part: described}), task._open, task._frozen_for)


@pytest.mark.parametrize(
    ("part", "name", "value", "split"),
    [
        ("protocol", "test_prompts", 3, "test"),
        ("protocol", "validation_prompts", 3, "validation"),
        ("protocol", "longer_prompts", 3, "longer"),
        ("protocol", "prompts_seed", 7, "test"),
        ("protocol", "prompts_seed", 7, "validation"),
        ("protocol", "longer_prompts_seed", 7, "longer"),
        ("protocol", "digits", [5, 5], "test"),
        ("protocol", "longer_digits", [5, 5], "longer"),
        ("recipe", "pool", 3, "train"),
        ("recipe", "seed", 7, "train"),
        ("recipe", "digits", [5, 5], "train"),
    ],
)
def test_what_is_declared_of_prompts_is_read_and_hashed(part, name, value, split):
    other = changed(ARITHMETIC, part, name, value)
    assert other.hash != ARITHMETIC.hash
    drawn, before = (t._source(TaskOptions()).items(split) for t in (other, ARITHMETIC))
    assert drawn != before
    if isinstance(value, list):
        assert all(value[0] <= len(str(n)) <= value[1] for item in drawn for n in item)


def test_what_is_declared_of_episodes_is_read_and_hashed(home):
    policy = UniformPolicy(actions=264)
    small = changed(ARITHMETIC, "protocol", "test_prompts", 40)
    small = changed(small, "protocol", "longer_prompts", 2)
    before = small.evaluator(TaskOptions(), home).evaluate(policy, "test")
    for name, value in (("test_seed", 2**30 + 50), ("cut_reward", -1.0)):
        other = changed(small, "protocol", name, value)
        assert other.hash != small.hash
        found = other.evaluator(TaskOptions(), home).evaluate(policy, "test")
        assert found.episodes != before.episodes, name
    for name in ("validation_seed", "longer_seed"):
        other = changed(small, "protocol", name, 2**30 + 50)
        assert other.hash != small.hash
        assert other.evaluator(TaskOptions(), home)._seeds[name.removesuffix("_seed")] == 2**30 + 50
    held = changed(small, "protocol", "held_out_demonstrations", 2)
    assert held.hash != small.hash
    assert len(held.evaluator(TaskOptions(), home)._held_out["test"]) == 2
    shorter = TextTask(replace(small.info, horizon=5), small._open, small._frozen_for)
    assert shorter.hash != small.hash
    found = shorter.evaluator(TaskOptions(), home).evaluate(policy, "test")
    assert max(found.episodes["length"]) == 5


@pytest.mark.parametrize("task", [ARITHMETIC, GSM8K])
def test_a_task_and_its_registered_environment_have_one_horizon(task, tmp_path):
    kwargs: dict[str, Any] = {"data": str(small_gsm8k(tmp_path))} if task.info.needs_data else {}
    env: Any = gymnasium.make(task.info.environment, **kwargs).unwrapped
    assert env.mdp.horizon == task.info.horizon
    options = TaskOptions(**kwargs)
    source = task._source(options)
    assert source.mdp(source.items("test"), ByteTokenizer()).horizon == task.info.horizon


def test_prompts_of_all_parts_are_apart():
    source = ArithmeticSource(ARITHMETIC.info)
    parts = {s: {t.prompt for t in source.items(s)} for s in ("train", "validation", "test")}
    parts["longer"] = {t.prompt for t in source.items("longer")}
    assert [len(parts[s]) for s in parts] == [1024, 128, 256, 128]
    assert len(set.union(*parts.values())) == sum(map(len, parts.values()))


def test_learners_meet_no_reward_and_only_what_they_declared(home):
    class Curious(BehaviouralCloning):
        needs = frozenset({"demonstrations", "interaction"})

    found = problem(ARITHMETIC, Curious, home)
    env = found.make_environment(4)
    env.reset()
    assert env.unwrapped is env and not hasattr(env, "mdp")
    reasons = set()
    for _ in range(70):
        _, rewards, _, _, info = env.step(env.action_space.sample())
        assert (rewards == 0).all()
        assert set(info) <= {"finish_reason", "_finish_reason"}
        reasons |= set(info.get("finish_reason", ()))
    assert {"stop", "length"} & reasons
    assert 0 < found.costs()["steps"] <= 4 * 70
    with pytest.raises(ResourceError, match="expert_policy"):
        found.resource("expert_policy")
    with pytest.raises(ResourceError, match="belong to evaluation"):
        env.reset(seed=ARITHMETIC.info.protocol["test_seed"])


def test_behavioural_cloning_beats_the_base_model(base, judge, home):
    solution = fit(ARITHMETIC, BehaviouralCloning, home, {"gradient_steps": 25})
    found = judge.evaluate(solution.policy, "test")
    assert found.scores["accuracy"] > base.scores["accuracy"] + 0.1
    assert found.scores["nll"] < base.scores["nll"]


@pytest.mark.slow
def test_the_gain_over_the_base_model_is_clear_over_three_seeds(base, judge, home):
    gains = []
    for seed in range(3):
        solution = fit(ARITHMETIC, BehaviouralCloning, home, seed=seed)
        accuracy = judge.evaluate(solution.policy, "test").scores["accuracy"]
        gains.append(accuracy - base.scores["accuracy"])
    t_975_two_degrees = 4.303
    lower = np.mean(gains) - t_975_two_degrees * np.std(gains, ddof=1) / np.sqrt(3)
    assert lower > 0.05


def small_gsm8k(folder, train=12, test=3):
    folder.mkdir(exist_ok=True)
    for name, count in (("train", train), ("test", test)):
        lines = [
            json.dumps({"question": f"What is {i} and {i}? ({name})", "answer": f"#### {2 * i}"})
            for i in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_gsm8k_end_to_end_on_a_small_folder(tmp_path, home, monkeypatch):
    options = TaskOptions(data=str(small_gsm8k(tmp_path / "data")))
    prepared = GSM8K.prepare(options, home)
    assert set(prepared.given) == {"train.jsonl", "test.jsonl"}
    assert prepared.anchors["base"]["accuracy"] == 0
    assert "accuracy_greedy" not in prepared.anchors["base"]
    assert prepared.available == 6
    monkeypatch.setattr(type(GSM8K), "measure_base", None)
    assert GSM8K.prepare(options, home) == prepared, "the measured reference is kept"
    found = problem(GSM8K, BehaviouralCloning, home, options=options, demonstrations=None)
    assert len(found.demonstrations) == 6
    texts = [ByteTokenizer().decode(e.tokens) for e in found.demonstrations]
    assert all("(train)" in text and "####" in text for text in texts)
    solution = BehaviouralCloning.configure("text", {"gradient_steps": 2, "saves": 1}).fit(
        found, Budget(), Run()
    )
    judged = GSM8K.evaluator(options, home).evaluate(solution.policy, "test")
    assert judged.scores["accuracy"] == 0 and len(judged.samples) == 3
    assert GSM8K.demonstrator_accuracy(options) == 1


def test_held_out_demonstrations_fit_the_horizon(tmp_path, home):
    folder = small_gsm8k(tmp_path / "data", test=4)
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    rows[1]["answer"] = "so " * 1000 + rows[1]["answer"]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = TaskOptions(data=str(folder))
    judge: Any = GSM8K.evaluator(options, home)
    held_out = judge._held_out["test"]
    assert len(held_out) == 3
    assert all(len(episode) <= GSM8K.info.horizon for episode in held_out)
    assert demonstration_nll(UniformPolicy(actions=264), []) is None


def test_prompts_longer_than_the_context_are_refused(tmp_path, home):
    folder = small_gsm8k(tmp_path / "data")
    with (folder / "test.jsonl").open("a") as stream:
        stream.write(json.dumps({"question": "long " * 400, "answer": "#### 1"}) + "\n")
    with pytest.raises(UsageError, match=r"reads 2048 tokens, but prompt and horizon need \d+"):
        GSM8K.prepare(TaskOptions(data=str(folder)), home)


class Writer(Policy):
    """Writes the same bytes whatever it is asked."""

    kind = "writer"

    def __init__(self, ids):
        self._ids = np.array(ids)

    def act(self, observations, state=None, *, reset_mask=None, deterministic=False, generator):
        written = np.asarray(observations["length"]) - observations["prompt_length"]
        return self._ids[np.minimum(written, len(self._ids) - 1)], None


@pytest.mark.parametrize("written", [b"\xed\xa0\x80", b"\xed\xb0\x80a", b"\xff\xed\xa0\x80"])
def test_samples_are_text_that_can_be_written(judge, written):
    found = judge.evaluate(Writer([*written, EOS]), "validation")
    for sample in found.samples:
        assert "\ufffd" in sample["completion"]
        assert sample["completion"].encode("utf-8")
    json.dumps(found.samples, ensure_ascii=False).encode("utf-8")


def test_prompts_of_samples_can_be_written_too(tmp_path, home):
    folder = small_gsm8k(tmp_path / "data", test=1)
    line = '{"question": "\\ud800 \\ud83d\\ude42?", "answer": "#### 1"}\n'
    (folder / "test.jsonl").write_text(line)
    judge = GSM8K.evaluator(TaskOptions(data=str(folder)), home)
    [sample] = judge.evaluate(Writer([EOS]), "test").samples
    assert sample["prompt"] == "\ufffd \U0001f642?\n"


def test_gsm8k_asks_for_its_data_and_reads_it_before_anything_else(tmp_path, home):
    with pytest.raises(UsageError, match="needs --data"):
        GSM8K.prepare(TaskOptions(), home)
    folder = small_gsm8k(tmp_path / "data")
    with (folder / "train.jsonl").open("a") as stream:
        stream.write('{"question": "?"}\n')
    with pytest.raises(DataError, match=r"train\.jsonl, field 'answer', row 13"):
        GSM8K.prepare(TaskOptions(data=str(folder)), home)
    with pytest.raises(UsageError, match="does not use --data"):
        ARITHMETIC.prepare(TaskOptions(data=str(folder)), home)


def test_another_model_brings_its_own_base(tmp_path, home):
    from irlbench.envs.text.pretraining import train_tiny_model

    train_tiny_model(tmp_path / "model", seed=1, threads=1, quick=True)
    options = TaskOptions(model=str(tmp_path / "model"))
    prepared = ARITHMETIC.prepare(options, home)
    assert prepared.model != ARITHMETIC.info.recipe["model"]
    assert prepared.anchors["base"]["accuracy"] < 0.05
    tokenizer = language_model(options.model).tokenizer
    assert isinstance(tokenizer, TransformersTokenizer)
    ours = ByteTokenizer()
    for text in ("348+67=", "<|eos|> é🙂"):
        assert (tokenizer.encode_prompt(text) == ours.encode_prompt(text)).all()
        assert (tokenizer.encode(text) == ours.encode(text)).all()
        assert tokenizer.decode_prompt(ours.encode_prompt("1+2=")) == "1+2="
        assert tokenizer.decode(ours.encode(text)) == text


def test_the_reserved_names_are_not_read_as_special():
    for name in SPECIAL_TOKENS:
        assert ByteTokenizer().encode(name).max() < 256
