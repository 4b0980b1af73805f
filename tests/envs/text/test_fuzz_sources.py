"""Files of problems from strangers: read, or refused with file, field and row."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import strategies as st

from irlbench.envs.text import gsm8k
from irlbench.envs.text.gsm8k import data_folder, final_number, read_problems, verify
from irlbench.envs.text.models import SHIPPED, TransformersTokenizer
from irlbench.envs.text.sources import GSM8KSource
from irlbench.envs.text.tasks import GSM8K
from irlbench.envs.text.token_mdp import TokenMDP
from irlbench.envs.text.tokenizer import ByteTokenizer
from irlbench.errors import DataError, UsageError

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]
GOOD = b"".join(
    json.dumps({"question": f"{i} and é?", "answer": f"so\n#### {i:,}"}).encode() + end
    for i, end in enumerate([b"\n", b"\r\n", b"\n\n", b"\n", b""], 1000)
)


def read_as_a_task(folder):
    """All that a task does with the two files, save for learning."""
    source = GSM8KSource(str(folder), GSM8K.info)
    tokenizer = ByteTokenizer()
    for split in ("train", "validation", "test"):
        items = source.items(split)
        mdp = source.mdp(items, tokenizer)
        for i, item in enumerate(items[:3]):
            assert tokenizer.decode_prompt(tokenizer.encode_prompt(item.prompt)) == item.prompt
            assert mdp.reward(i, item.solution) == 1.0
    assert set(source.hashes()) == set(gsm8k.FILES)


def outcome(folder):
    said = "train.jsonl"
    try:
        read_as_a_task(folder)
    except DataError as error:
        said = str(error)
    assert "train.jsonl" in said or "prompts" in said
    assert "\n" not in said
    assert len(said) < 1000
    said.encode()  # it can be printed


@pytest.fixture
def folder(tmp_path):
    for name in gsm8k.FILES:
        (tmp_path / name).write_bytes(GOOD)
    return tmp_path


@pytest.mark.parametrize("cases", CASES)
def test_damaged_files(fuzz, folder, damaged, cases):
    def check(data):
        (folder / "train.jsonl").write_bytes(damaged(data, GOOD))
        outcome(folder)

    fuzz(cases, check)


TEXTS = st.one_of(
    st.text(max_size=20),
    st.builds(
        "#### {}".format, st.one_of(st.integers(), st.floats(), st.text("0-,.$ ", max_size=9))
    ),
    st.sampled_from(["\0", "\ud800 ?", "x\udfff", "\u2028", "\ufeff", " ", "\x1b[2J", "9" * 5000]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "question": st.one_of(TEXTS, VALUES),
        "answer": st.one_of(TEXTS, VALUES),
        "x": VALUES,
    },
)
RAW = st.sampled_from(
    [
        b"[" * 5000,
        b'{"a":' * 3000,
        b'{"question": ' + b"9" * 5000 + b"}",
        b'{"question": "\xff", "answer": "#### 1"}',
        b'{"question": "\xed\xa0\x80", "answer": "#### 1"}',
        b'{"question": "a", "answer": "#### 1", "x": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"question": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"question": "a", "question": 1, "answer": "#### 1"}',
        b"NaN",
        b"\0" * 100,
        b"\xef\xbb\xbf{}",
        b"{}" * 2,
    ]
)
LINES = st.one_of(
    st.builds(lambda o, ascii: json.dumps(o, ensure_ascii=ascii), OBJECTS, st.booleans()).map(
        lambda line: line.encode("utf-8", errors="surrogatepass")
    ),
    RAW,
    st.just(GOOD),
)


@pytest.mark.parametrize("cases", CASES)
def test_files_made_to_harm(fuzz, folder, damaged, cases):
    def check(data):
        ends = st.sampled_from([b"\n", b"\r\n", b"\r", b"\x85", b""])
        lines = data.draw(st.lists(st.tuples(LINES, ends), max_size=5))
        raw = b"".join(line + end for line, end in lines)
        (folder / "train.jsonl").write_bytes(
            damaged(data, raw) if data.draw(st.booleans()) else raw
        )
        outcome(folder)

    fuzz(cases, check)


@pytest.mark.parametrize("cases", CASES)
def test_no_answer_breaks_the_verifier(fuzz, cases):
    def check(data):
        answer, completion = data.draw(st.tuples(TEXTS, TEXTS))
        number = final_number(answer)
        assert number is None or number == final_number(f"#### {number}")
        assert verify(answer, completion) == (
            final_number(completion) is not None and final_number(completion) == number
        )

    fuzz(cases, check)


def refused(folder, message, **place):
    with pytest.raises(DataError, match=message) as caught:
        read_problems(folder / "train.jsonl")
    for name, value in place.items():
        assert getattr(caught.value, name) == value


def test_half_a_character_is_bytes_to_us_and_nothing_to_other_tokenizers(folder):
    line = b'{"question": "a\\ud800b", "answer": "#### 1"}\n'
    (folder / "train.jsonl").write_bytes(line)
    (problem,) = read_problems(folder / "train.jsonl")
    ours = ByteTokenizer()
    assert ours.decode_prompt(ours.encode_prompt(problem.prompt)) == problem.prompt
    with pytest.raises(DataError, match="the tokenizer cannot read a text"):
        TransformersTokenizer(SHIPPED).encode_prompt(problem.prompt)


def test_a_file_that_is_too_large_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(gsm8k, "_MAX_FILE", 10)
    refused(folder, "more than 10 bytes")


def test_a_hole_is_no_file(folder):
    with (folder / "train.jsonl").open("wb") as stream:
        stream.truncate(2**40)
    refused(folder, "hardly any are there|more than")


def test_a_pipe_is_not_waited_for(folder):
    (folder / "train.jsonl").unlink()
    os.mkfifo(folder / "train.jsonl")
    refused(folder, "is no plain file")
    with pytest.raises(DataError, match=r"train\.jsonl: is not in the folder"):
        data_folder(folder)


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 4000, "a\0b"], ids=["long", "deep", "null"])
def test_what_cannot_be_a_folder(name):
    with pytest.raises(UsageError, match="--data"):
        data_folder(name)


def test_one_problem_is_too_few(folder):
    (folder / "train.jsonl").write_bytes(GOOD.splitlines()[0])
    with pytest.raises(DataError, match=r"train\.jsonl: holds a single problem"):
        read_as_a_task(folder)


def test_a_long_prompt_does_not_make_all_others_long(folder):
    line = json.dumps({"question": "x" * 10**6, "answer": "#### 1"}).encode()
    others = [GOOD.splitlines()[0]] * 400
    (folder / "train.jsonl").write_bytes(b"\n".join([line, *others]))
    with pytest.raises(DataError, match=r"row 0: the longest of \d+ prompts has 1,000,002 tokens"):
        read_as_a_task(folder)


def test_a_tokenizer_that_writes_nothing():
    class Silent(ByteTokenizer):
        def encode_prompt(self, text):
            return self.encode("")

    with pytest.raises(DataError, match="a prompt of no tokens"):
        TokenMDP.over(["a"], horizon=1, reward=lambda i, text: 0.0, tokenizer=Silent())
