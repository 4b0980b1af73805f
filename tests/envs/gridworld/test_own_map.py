"""What the page says of a map of one's own works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "gridworlds.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, flags=re.DOTALL)


def run(command, folder):
    assert command[0] == "irlbench"
    code = "import sys; from irlbench.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *command[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


@pytest.mark.slow
def test_a_map_becomes_a_task_in_a_file(tmp_path):
    (source,) = (block for kind, block in BLOCKS if kind == "python" and "GridworldTask(" in block)
    (commands,) = (block for kind, block in BLOCKS if not kind and "experts train" in block)
    (tmp_path / "maze.py").write_text(source, encoding="utf-8")
    train, fit = (shlex.split(line) for line in commands.strip().splitlines())
    before = run(fit, tmp_path)
    assert before.returncode == 2
    assert "irlbench experts train gridworld/mine-maze-v0 --out" in before.stderr
    done = run(train, tmp_path)
    assert done.returncode == 0, done.stderr
    frozen = json.loads((tmp_path / "mine-maze-v0" / "references.json").read_text())
    assert frozen["references"]["expert"]["return"] > 25 > frozen["references"]["random"]["return"]
    done = run([*fit, "--out", "out"], tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    records = [json.loads(p.read_text()) for p in (tmp_path / "out").glob("trials/*/record.json")]
    returns = {record["spec"]["algorithm"]: record["scores"]["return"] for record in records}
    assert returns["random"] < returns["bc"] <= returns["expert"] + 1


def test_the_other_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = [b for kind, b in BLOCKS if kind == "python" and "GridworldTask(" not in b]
    assert len(sources) == 3
    found: dict[str, object] = {}
    for source in sources:
        exec(source, found)  # noqa: S102 - the project's own page
    assert found["env"].reset(seed=0)[0] == 0  # type: ignore[attr-defined]
    assert "mine" in (tmp_path / "four-rooms.svg").read_text(encoding="utf-8")
