from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest

import irlbench  # noqa: F401 - registers the environments
from irlbench.envs.text.gsm8k import data_folder, final_number, read_problems, verify
from irlbench.errors import DataError, UsageError


def line(**changes):
    fields = {"question": "1 and 2?", "answer": "1+2=3\n#### 3", **changes}
    return json.dumps({k: v for k, v in fields.items() if v is not None})


@pytest.fixture
def folder(tmp_path):
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text("".join(line() + "\n" for _ in range(6)))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so\n#### 72", "72"),
        ("#### 1,080", "1080"),
        ("#### $2,520,000.", "2520000"),
        ("#### -10", "-10"),
        ("#### 3.50", "3.5"),
        ("#### 007", "7"),
        ("#### -0", "0"),
        ("#### 1\n#### 2", "2"),
        ("#### 3 apples", None),
        ("#### ", None),
        ("72", None),
    ],
)
def test_the_number_behind_the_marker(text, number):
    assert final_number(text) == number


def test_verified_answers():
    assert verify("a\n#### 1,080", "whatever\n#### 1080")
    assert not verify("a\n#### 1,080", "whatever\n#### 1081")
    assert not verify("a\n#### 1,080", "1080")


def test_reading(folder):
    (folder / "train.jsonl").write_text(line(question="é?") + "\n\n" + line())
    found = read_problems(folder / "train.jsonl")
    assert [p.prompt for p in found] == ["é?\n", "1 and 2?\n"]
    assert found[0].solution.endswith("#### 3")


@pytest.mark.parametrize(
    ("bad", "field", "words"),
    [
        ("{", None, "is no JSON"),
        ("[" * 100_000, None, "is no JSON"),
        ("[1]", None, "is no object but a list"),
        (line(question=None), "question", "is missing"),
        (line(answer=None), "answer", "is missing"),
        (line(question=7), "question", "is '7'"),
        (line(question="  "), "question", "expected text"),
        (line(answer="three"), "answer", "expected a line '#### N'"),
        (line(answer="#### NaN"), "answer", "expected a line '#### N'"),
        ("x" * (2**20 + 5), None, "more than 1 MiB"),
    ],
)
def test_a_bad_line_is_named_by_file_field_and_row(folder, bad, field, words):
    (folder / "test.jsonl").write_text(line() + "\n" + bad + "\n" + line())
    with pytest.raises(DataError, match="row 2") as caught:
        read_problems(folder / "test.jsonl")
    error = caught.value
    assert (error.file, error.field, error.row) == ("test.jsonl", field, 2)
    assert words in str(error)


def test_bytes_that_are_no_utf8_are_named(folder):
    (folder / "test.jsonl").write_bytes(line().encode() + b'\n{"question": "\xff"}\n')
    with pytest.raises(DataError, match="row 2"):
        read_problems(folder / "test.jsonl")


def test_missing_and_empty_files(folder):
    with pytest.raises(UsageError, match="--data must name a folder"):
        data_folder(None)
    with pytest.raises(UsageError, match="no such folder"):
        data_folder(folder / "nowhere")
    (folder / "test.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no problems"):
        read_problems(folder / "test.jsonl")
    (folder / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"test\.jsonl"):
        data_folder(folder)


def test_the_registered_environment(folder):
    env = gymnasium.make("irlbench/GSM8K-v0", data=str(folder), split="test").unwrapped
    env.reset(seed=0)
    for byte in b"#### 3":
        env.step(np.int64(byte))
    assert env.step(np.int64(257))[1:4] == (1.0, True, False)
    with pytest.raises(UsageError, match="--data"):
        gymnasium.make("irlbench/GSM8K-v0")
