"""The import rules hold, and ruff and mypy see each way of breaking them.

Violations are planted in a copy that holds the real configuration, and the real commands are run
there. What ruff cannot say by folder (the floors among the root modules of the core) is read from
the syntax trees.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("irlbench", "envs", "baselines")

# (planted file, line, rule that must see it)
VIOLATIONS = [
    # The core imports no world and no algorithm, not even late.
    ("irlbench/planted.py", "import irlbench.envs.gridworld", "TID251"),
    ("irlbench/planted.py", "from irlbench import baselines", "TID251"),
    ("irlbench/running/planted.py", "from irlbench.envs.text import ENVIRONMENTS", "TID251"),
    ("irlbench/cli/planted.py", "def f() -> None:\n    import irlbench.baselines", "TID251"),
    ("irlbench/reporting/planted.py", "import irlbench.baselines.suites", "TID251"),
    # Worlds and algorithms never import each other, nor who runs them.
    ("envs/gridworld/planted.py", "from irlbench.baselines.solvers import ppo", "TID251"),
    ("envs/text/planted.py", "import irlbench.running", "TID251"),
    ("envs/control/planted.py", "from irlbench import cli", "TID251"),
    ("envs/planted.py", "from irlbench.reporting import page", "TID251"),
    ("baselines/algorithms/planted.py", "from irlbench.envs import gridworld", "TID251"),
    ("baselines/objectives/planted.py", "import irlbench.envs", "TID251"),
    ("baselines/learners/planted.py", "import irlbench.running.store", "TID251"),
    ("baselines/planted.py", "import irlbench.cli", "TID251"),
    # The floors of the core.
    ("irlbench/data/planted.py", "from irlbench.task import Task", "TID251"),
    ("irlbench/policies/planted.py", "from irlbench import problem", "TID251"),
    ("irlbench/rewards/planted.py", "import irlbench.metrics", "TID251"),
    ("irlbench/tabular/planted.py", "from irlbench.metrics import statistics", "TID251"),
    ("irlbench/metrics/planted.py", "from irlbench.running import store", "TID251"),
    ("irlbench/running/planted.py", "import irlbench.reporting", "TID251"),
    ("irlbench/reporting/planted.py", "from irlbench.cli import main", "TID251"),
    ("irlbench/checking/planted.py", "import irlbench.reporting", "TID251"),
    ("irlbench/checking/planted.py", "from irlbench.envs import gridworld", "TID251"),
    ("irlbench/running/planted.py", "import irlbench.checking", "TID251"),
    ("envs/control/planted.py", "from irlbench.checking import watch", "TID251"),
    ("irlbench/planted.py", "import irlbench.running", "TID251"),
    # The top-level folders are no packages; imports are absolute.
    ("irlbench/data/planted.py", "import envs.gridworld", "TID251"),
    ("envs/gridworld/planted.py", "from envs import text", "TID251"),
    ("baselines/algorithms/planted.py", "import baselines.solvers", "TID251"),
    ("tests/planted.py", "import envs", "TID251"),
    ("benchmarks/planted.py", "from baselines import solvers", "TID251"),
    ("envs/gridworld/planted.py", "from ...baselines import solvers", "TID252"),
    # Heavy packages are imported where they are used.
    ("irlbench/planted.py", "import torch", "TID253"),
    ("irlbench/metrics/planted.py", "from scipy import stats", "TID253"),
    ("irlbench/running/planted.py", "import polars as pl", "TID253"),
    ("irlbench/reporting/planted.py", "import matplotlib.pyplot as plt", "TID253"),
    ("irlbench/data/planted.py", "import minari", "TID253"),
    ("envs/control/planted.py", "import mujoco", "TID253"),
    ("envs/text/planted.py", "from transformers import LlamaConfig", "TID253"),
    ("baselines/algorithms/planted.py", "from torch import nn", "TID253"),
    ("baselines/solvers/planted.py", "from stable_baselines3 import PPO", "TID253"),
]
# (planted file, line): what must remain possible
ALLOWED = [
    ("irlbench/cli/allowed.py", "import irlbench.reporting"),
    ("irlbench/reporting/allowed.py", "import irlbench.running"),
    ("irlbench/running/allowed.py", "import irlbench.task"),
    ("irlbench/checking/allowed.py", "import irlbench.running"),
    ("irlbench/metrics/allowed.py", "import irlbench.policy"),
    ("irlbench/metrics/allowed_below.py", "import irlbench.tabular.planning"),
    ("irlbench/metrics/allowed_late.py", "def f() -> None:\n    import scipy"),
    ("envs/gridworld/allowed.py", "import irlbench.task"),
    ("envs/text/allowed.py", "def f() -> None:\n    import torch"),
    ("baselines/algorithms/allowed.py", "import irlbench.baselines.objectives"),
    ("baselines/objectives/allowed.py", "import torch"),
    ("baselines/learners/allowed.py", "import torch"),
    ("tests/allowed.py", "import torch"),
    ("benchmarks/allowed.py", "import irlbench.envs.gridworld"),
]


def _configuration_only(folder: Path) -> None:
    """Lays out this project's ruff configuration, and nothing else, in a folder."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        for source in (ROOT / package).rglob("ruff.toml"):
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def _plant(folder: Path, lines: dict[str, str]) -> None:
    for name, line in lines.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line + "\n", encoding="utf-8")


def _ruff(folder: Path) -> set[tuple[str, str]]:
    """(file, rule) of every import rule that ruff finds broken in a folder."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache"]
    done = subprocess.run(
        [*command, "--output-format", "json", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    found = json.loads(done.stdout)
    root = folder.resolve()
    return {
        (Path(entry["filename"]).resolve().relative_to(root).as_posix(), entry["code"])
        for entry in found
        if entry["code"].startswith("TID")
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What ruff says of all planted files, in one run."""
    folder = tmp_path_factory.mktemp("planted")
    _configuration_only(folder)
    names = [f"{Path(name).with_suffix('')}_{i}.py" for i, (name, _, _) in enumerate(VIOLATIONS)]
    _plant(folder, dict(zip(names, [line for _, line, _ in VIOLATIONS], strict=True)))
    _plant(folder, dict(ALLOWED))
    return _ruff(folder)


@pytest.mark.parametrize(
    "index", range(len(VIOLATIONS)), ids=[f"{v[0]}: {v[1]}" for v in VIOLATIONS]
)
def test_ruff_sees_the_violation(seen, index):
    name, line, rule = VIOLATIONS[index]
    planted = f"{Path(name).with_suffix('')}_{index}.py"
    assert (planted, rule) in seen, f"ruff let pass in {name}: {line}"


def test_ruff_allows_what_the_floors_allow(seen):
    wrongly = {entry for entry in seen if Path(entry[0]).stem.startswith("allowed")}
    assert not wrongly


def test_files_are_linted_once_through_their_real_path(tmp_path):
    _configuration_only(tmp_path)
    for link in ("envs", "baselines"):
        assert (ROOT / "irlbench" / link).is_symlink()
        (tmp_path / "irlbench" / link).symlink_to(Path("..") / link)
    _plant(tmp_path, {"envs/gridworld/planted.py": "import torch"})
    assert _ruff(tmp_path) == {("envs/gridworld/planted.py", "TID253")}


# The core, from the ground up. A module may import modules of lower floors and of its own. The
# registry hands out tasks and algorithms, so it stands above them.
FLOORS: list[set[str]] = [
    {"configurable", "errors", "home", "randomness", "serialisation", "suite"},
    {"data"},
    {"network", "policies", "policy", "reward", "rewards"},
    {"tabular"},
    {"adapters", "metrics", "problem"},
    {"algorithm", "task"},
    {"registry"},
    {"running"},
    {"checking"},
    {"reporting"},
    {"cli"},
    {"__main__"},
]


def _imports(path: Path) -> set[str]:
    """Every `irlbench.x` that a file imports, at any depth, type checking included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("irlbench.")}


def _core_modules() -> dict[str, list[Path]]:
    """The files of each module or folder at the root of the core, links left out."""
    core = ROOT / "irlbench"
    modules = {path.stem: [path] for path in core.glob("*.py") if path.stem != "__init__"}
    for folder in core.iterdir():
        if folder.is_dir() and not folder.is_symlink() and folder.name.isidentifier():
            modules[folder.name] = sorted(folder.rglob("*.py"))
    modules.pop("__pycache__", None)
    return modules


def test_every_module_of_the_core_stands_on_a_floor():
    floors = {name for floor in FLOORS for name in floor}
    assert set(_core_modules()) <= floors, "give the new module a floor in this test"


def test_no_module_of_the_core_imports_from_a_floor_above():
    height = {name: level for level, floor in enumerate(FLOORS) for name in floor}
    wrong = []
    for module, files in _core_modules().items():
        for path in files:
            for imported in _imports(path):
                target = imported.split(".")[1]
                if height.get(target, -1) > height[module]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {imported}")
    assert not wrong


def test_each_entry_point_names_the_two_packages_only():
    """The core itself is no plug-in: worlds come from envs, everything else from baselines."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    worlds = {f"irlbench.{kind}" for kind in ("environments", "tasks", "models")}
    for group, points in project["entry-points"].items():
        package = "envs" if group in worlds else "baselines"
        for name, target in points.items():
            assert target.startswith(f"irlbench.{package}."), f"{group}: {name} = {target}"


TYPE_ERRORS = {
    "envs/planted_world.py": (
        "from irlbench.errors import UsageError\n"
        "def width() -> int:\n"
        "    return 7\n"
        "message: int = UsageError('no')  # core to world\n"
    ),
    "baselines/planted_algorithm.py": (
        "from irlbench.envs.planted_world import width\n"
        "label: str = width()  # world to algorithm\n"
    ),
    "irlbench/planted_core.py": (
        "from irlbench.baselines.planted_algorithm import label\n"
        "count: int = label  # algorithm to core\n"
    ),
}


@pytest.mark.slow
def test_mypy_sees_type_errors_across_packages(tmp_path):
    tree = tmp_path / "tree"
    leave = shutil.ignore_patterns(".git", ".venv", "runs", "build", "dist", "results")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=leave)
    _plant(tree, TYPE_ERRORS)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-color-output", "--no-error-summary"],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stdout + done.stderr
    for path, line in [
        ("irlbench/envs/planted_world.py", 4),
        ("irlbench/baselines/planted_algorithm.py", 2),
        ("irlbench/planted_core.py", 2),
    ]:
        here = [text for text in lines if text.startswith(f"{path}:{line}: error:")]
        assert len(here) == 1, f"{path} line {line} should be reported once:\n{done.stdout}"
        assert "[assignment]" in here[0]
    assert not any(text.startswith(("envs/", "baselines/")) for text in lines), done.stdout
