"""Listing reads declared metadata: no heavy package is loaded, nor any learner or solver."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BANNED = CONFIGURATION["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]
HEAVY = set(BANNED) | {"irlbench.baselines.learners", "irlbench.baselines.objectives"}

# Runs the command as the installed script does, then tells on stderr what it loaded.
PROBE = """
import json, sys
sys.argv = ["irlbench", *sys.argv[1:]]
try:
    from irlbench.cli import main
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def _loaded(*arguments: str, cwd: Path) -> tuple[str, set[str]]:
    """The output of an irlbench command and the names of the modules it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--json"),
        ("list", "tasks"),
        ("list", "algorithms"),
        ("list", "solvers"),
        ("list", "suites"),
        ("list", "matrix"),
        ("--version",),
        ("--help",),
    ],
    ids=" ".join,
)
def test_loads_no_heavy_package(arguments, tmp_path):
    output, modules = _loaded(*arguments, cwd=tmp_path)
    assert output.strip()
    assert "irlbench" in modules
    assert not modules & HEAVY


def test_the_listing_is_whole(tmp_path):
    """It cannot be light by leaving things out: every entry point is named in it."""
    output, _ = _loaded("list", "--json", cwd=tmp_path)
    json.loads(output)
    for group in ("tasks", "algorithms", "solvers", "suites"):
        for name in CONFIGURATION["project"]["entry-points"][f"irlbench.{group}"]:
            assert f'"{name}"' in output


def test_the_probe_sees_a_heavy_package(tmp_path):
    """The check can fail: the same probe, with one heavy import planted, reports it."""
    planted = PROBE.replace("import json, sys", "import json, sys, pyarrow", 1)
    done = subprocess.run(
        [sys.executable, "-c", planted, "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "pyarrow" in set(json.loads(done.stderr.splitlines()[-1])) & HEAVY
