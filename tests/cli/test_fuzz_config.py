"""Configurations from strangers: read, or refused in words, in little time and memory."""

from __future__ import annotations

import inspect
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

import irlbench
from irlbench.cli.config import read_config
from irlbench.errors import UsageError
from irlbench.running import asked

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]
VALID: dict[str, Any] = {
    "tasks": ["gridworld/four-rooms", "control/cartpole"],
    "select": ["bc", "expert"],
    "seeds": "0..4",
    "jobs": 2,
    "threads": 1,
    "device": "cpu",
    "timeout": 60.5,
    "demonstrations": [1, 3],
    "preferences": 10,
    "track": "demonstrations",
    "demos": "mine",
    "data": "here",
    "model": "org/model@main",
    "out": "there",
    "budget": {"steps": 100, "seconds": 2.5},
    "algorithms": {"bc": {"learning_rate": 3e-4, "hidden": [64, 64], "batch_size": 8}},
}


def toml(value: Any) -> str:
    """A value as TOML writes it within a line."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "1979-05-27T07:32:00Z"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml(key)} = {toml(item)}' for key, item in value.items())}}}"
    if isinstance(value, float):
        return repr(value).replace("inf", "inf")
    return json.dumps(value) if isinstance(value, str) else str(value)


def document(content: dict[str, Any]) -> str:
    return "\n".join(f"{toml(key)} = {toml(value)}" for key, value in content.items())


def ask(found: dict[str, Any]) -> None:
    """What `irlbench run` does with it before anything is computed."""
    parameters = inspect.signature(irlbench.run).parameters
    usual = {name: p.default for name, p in parameters.items() if name != "progress"}
    asked.check(**{**usual, "target": "quick", **found})


def test_the_valid_one_is_valid(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(document({k: v for k, v in VALID.items() if k not in ("preferences", "demos")}))
    ask({**read_config(path), "plugins": []})


@pytest.mark.parametrize("cases", CASES)
def test_a_damaged_configuration_is_read_or_refused(fuzz, damaged, tmp_path, cases):
    path = tmp_path / "run.toml"
    raw = document(VALID).encode()

    def check(data):
        path.write_bytes(damaged(data, raw))
        try:
            ask(read_config(path))
        except UsageError as error:
            assert len(str(error)) < 5000  # noqa: PT017 - it may be raised, or not

    fuzz(cases, check)


@pytest.mark.parametrize("cases", CASES)
def test_any_value_may_stand_anywhere(fuzz, altered, tmp_path, monkeypatch, cases):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.toml"
    usable = []

    def check(data):
        kept = data.draw(st.sets(st.sampled_from(sorted(VALID)), min_size=1))
        content = altered(data, {name: VALID[name] for name in sorted(kept)})
        path.write_text(document(content).encode("utf-8", "replace").decode())
        try:
            found = read_config(path)
        except UsageError:
            return
        usable.append(found)
        try:
            ask(found)
        except UsageError:
            return

    fuzz(cases, check)
    assert len(usable) > cases / 20, "hardly any was read: the test looks at nothing"
    assert [p.name for p in tmp_path.iterdir()] == ["run.toml"], "checking writes nothing"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "a." * 16_000 + "a = 1",
        "[" + "a." * 16_000 + "a]",
        "x = " + "[" * 30_000,
        "x = " + "{a = " * 6_000,
        "x = " + "1" * 30_000,
        "jobs = " + "1" * 4000,
        "timeout = " + "1" * 4000,
        "seeds = " + "1" * 4000,
        "budget.steps = " + "1" * 4000,
        "algorithms.bc.learning_rate = " + "1" * 4000,
        "demonstrations = [" + ", ".join(map(str, range(1, 5_000))) + "]",
        "seeds = [" + ", ".join(map(str, range(5_000))) + "]",
        "seeds = '0..2000000000'",
        "out = '~nobody-of-that-name/x'",
        'out = "\\u0000"',
        'plugins = ["\\u0000"]',
        'device = "\\u001b[2J"',
        "algorithms.bc." + "a." * 100 + "a = 1",
        "# " + "x" * 70_000,
        "tasks = [" + "'x', " * 6_000 + "]",
    ],
    ids=range(20),
)
def test_what_is_made_to_harm_is_refused_soon(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    began = time.process_time()
    try:
        ask(read_config(path))
    except UsageError as error:
        told = str(error)
    else:
        told = ""
    assert time.process_time() - began < 20
    assert "\x1b" not in told and "\0" not in told


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "hole", "missing"])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "run.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "hole":
        with path.open("wb") as stream:
            stream.truncate(2**40)
    with pytest.raises(UsageError):
        read_config(path)
