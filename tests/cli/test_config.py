"""`--config F.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from irlbench.cli import config
from irlbench.cli.config import read_config
from irlbench.errors import DataError, UsageError


def _written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_documented_example_is_read(tmp_path):
    assert config.__doc__ is not None
    example = config.__doc__.partition("```toml\n")[2].partition("```")[0]
    assert read_config(_written(tmp_path, example)) == {
        "target": "quick",
        "algorithms": ["bc", "expert"],
        "seeds": [0, 1, 2, 3, 4],
        "jobs": 2,
        "out": Path("runs/slow-bc"),
        "budget": {"gradient_steps": 5000},
        "settings": {"bc.learning_rate": 3e-4, "bc.hidden": [64, 64]},
    }


def test_every_key(tmp_path):
    text = """
        tasks = ["control/cartpole", "control/hopper"]
        select = ["bc"]
        seeds = [5]
        jobs = 1
        threads = 2
        device = "cpu"
        timeout = 60
        demos = "cs285"
        demonstrations = [1, 3]
        preferences = 10
        track = "demonstrations"
        data = "here"
        model = "org/model@main"
        plugins = ["mine.py"]
        known = ["results"]
        out = "there"
        budget = { steps = 100, seconds = 2.5 }
    """
    assert read_config(_written(tmp_path, text)) == {
        "target": ["control/cartpole", "control/hopper"],
        "algorithms": ["bc"],
        "seeds": [5],
        "jobs": 1,
        "threads": 2,
        "device": "cpu",
        "timeout": 60.0,
        "demos": "cs285",
        "demonstrations": [1, 3],
        "preferences": [10],
        "track": "demonstrations",
        "data": Path("here"),
        "model": "org/model@main",
        "plugins": [Path("mine.py")],
        "known": [Path("results")],
        "out": Path("there"),
        "budget": {"steps": 100, "seconds": 2.5},
    }


def test_the_keys_are_those_of_run():
    import inspect

    from irlbench.running.api import run

    keywords = set(inspect.signature(run).parameters) - {"progress", "retry_failed", "rerun"}
    assert {target for target, _ in config._READERS.values()} | {"settings", "budget"} == keywords


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sedes = 3", "field 'sedes': unknown key; did you mean 'seeds'"),
        ("jobs = 'two'", "field 'jobs': must be a whole number of at least 1, got 'two'"),
        ("jobs = true", "got True"),
        ("threads = 0", "field 'threads'"),
        ("seeds = 'x'", "field 'seeds'"),
        ("seeds = [1, 1]", "twice"),
        ("seeds = []", "field 'seeds'"),
        ("device = 'gpu'", "did you mean 'cpu'"),
        ("timeout = -1", "field 'timeout': must be a positive number"),
        ("suite = 5", "field 'suite': must be text, got 5"),
        ("tasks = 'control/hopper'", "field 'tasks': must be a list of texts"),
        ("suite = 'quick'\ntasks = ['control/hopper']", "both a suite and tasks"),
        ("demonstrations = [0]", "at least 1"),
        ("algorithms = ['bc']", "select = "),
        ("[algorithms]\nbc = 3", "field 'algorithms.bc': is a table, got 3"),
        ("budget = 5", "field 'budget': is a table"),
        ("[budget]\nstep = 5", "did you mean 'steps'"),
        ("[budget]\nsteps = 'many'", "field 'budget': steps must be a number, got 'many'"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_field(tmp_path, text, told):
    with pytest.raises(DataError) as caught:
        read_config(_written(tmp_path, text))
    assert str(caught.value).startswith("run.toml")
    assert told in str(caught.value)


def test_files_that_are_no_toml(tmp_path):
    with pytest.raises(UsageError, match=r"missing\.toml: No such file"):
        read_config(tmp_path / "missing.toml")
    with pytest.raises(UsageError, match=r"run\.toml: is no TOML"):
        read_config(_written(tmp_path, "suite = "))
    with pytest.raises(UsageError, match="larger than 32 KiB"):
        read_config(_written(tmp_path, "# " + "x" * 2**15))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no TOML"):
        read_config(tmp_path / "binary.toml")
