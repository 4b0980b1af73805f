"""What is built installs elsewhere and runs there, with nothing but `irlbench` to its name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "irlbench", "envs", "baselines")
NOT_SHIPPED = {"ruff.toml"}


def _call(*command: str | Path, cwd: Path, timeout: int = 300) -> str:
    """Runs a command away from the checkout; its output, or a failure that shows it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}"
    return done.stdout


def _shipped_files() -> set[str]:
    """Every file of the package as it lies in the tree, links followed, by its import path."""
    found = set()
    for folder, folders, files in os.walk(ROOT / "irlbench", followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__" and name[0] != "."]
        here = Path(folder).relative_to(ROOT)
        found |= {(here / name).as_posix() for name in files if name not in NOT_SHIPPED}
    return {name for name in found if not name.endswith((".pyc", ".md"))}


def test_only_irlbench_is_importable_from_outside(tmp_path):
    """The editable install gives the import names, and no name for the top-level folders."""
    code = (
        "import importlib.util, irlbench, irlbench.envs, irlbench.baselines\n"
        "assert all(importlib.util.find_spec(n) is None for n in ('envs', 'baselines'))\n"
    )
    _call(sys.executable, "-c", code, cwd=tmp_path)


def test_every_entry_point_is_installed_and_loads():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {(g, n) for g, points in project["entry-points"].items() for n in points}
    points = [p for p in distribution("irlbench").entry_points if p.group.startswith("irlbench.")]
    assert {(p.group, p.name) for p in points} == declared, "install again: make setup"
    for point in points:
        assert point.load() is not None


def _closure(roots: list[str]) -> set[str]:
    """Names of everything that requirements pull in here, extras and markers respected."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in roots]
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for text in requires(requirement.name) or []:
            child = Requirement(text)
            extras = requirement.extras or {""}
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(child)
    return {name for name, _ in seen}


def test_constraints_pin_everything_by_name_and_version():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pins = [re.fullmatch(r"([a-z0-9.-]+)==([0-9][0-9a-z.]*)", line) for line in lines]
    assert all(pins), f"not NAME==VERSION: {[x for x, m in zip(lines, pins, strict=True) if not m]}"
    pinned = {canonicalize_name(match[1]) for match in pins if match}
    assert len(pinned) == len(lines), "a package is pinned twice"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = _closure([*project["dependencies"], *project["optional-dependencies"]["dev"]])
    assert not needed - pinned, "pin these in constraints.txt"


def test_the_typing_marker_ships():
    assert "irlbench/py.typed" in _shipped_files()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Paths of the sdist, the wheel made from it, and the wheel made from the tree."""
    folder = tmp_path_factory.mktemp("build")
    tree = folder / "tree"
    tree.mkdir()
    for name in BUILT_FROM:
        source = ROOT / name
        if source.is_dir():
            leave = shutil.ignore_patterns("__pycache__", ".*_cache")
            shutil.copytree(source, tree / name, symlinks=True, ignore=leave)
        else:
            shutil.copy(source, tree)
    build = (sys.executable, "-m", "build", "--no-isolation")
    _call(*build, "--outdir", folder / "both", tree, cwd=folder)
    shutil.rmtree(tree / "build", ignore_errors=True)
    _call(*build, "--wheel", "--outdir", folder / "direct", tree, cwd=folder)
    (sdist,) = (folder / "both").glob("*.tar.gz")
    (indirect,) = (folder / "both").glob("*.whl")
    (direct,) = (folder / "direct").glob("*.whl")
    return sdist, indirect, direct


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_nothing_else(built):
    sdist, indirect, direct = built
    shipped = _shipped_files()
    with zipfile.ZipFile(direct) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        contents = {name: wheel.read(name) for name in names}
    assert names == shipped
    with zipfile.ZipFile(indirect) as wheel:
        assert {n: wheel.read(n) for n in wheel.namelist() if ".dist-info/" not in n} == contents
    with tarfile.open(sdist) as archive:
        files = {m.name.partition("/")[2]: m for m in archive.getmembers() if not m.isdir()}
    assert shipped <= set(files)
    assert all(member.isfile() for member in files.values()), "the sdist holds no links"


@pytest.fixture(scope="module")
def elsewhere(built, tmp_path_factory):
    """A fresh environment with the wheel in it, and a view of this one's other packages."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index")
    _call(*install, "--no-deps", built[2], cwd=folder)
    purelib = _call(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    )
    site_packages = Path(purelib.strip())
    before = {path.name for path in site_packages.iterdir()}
    # A path file's folder is searched last, and path files inside it are not read: the editable
    # install of this environment stays out of sight.
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "others.pth").write_text("\n".join(sorted(here)), encoding="utf-8")
    return python, before


@pytest.mark.slow
def test_nothing_but_irlbench_lands_in_site_packages(elsewhere):
    _, installed = elsewhere
    assert installed == {"irlbench", f"irlbench-{distribution('irlbench').version}.dist-info"}


@pytest.mark.slow
def test_the_wheel_runs_the_smoke_suite_outside_the_checkout(elsewhere, tmp_path):
    python, _ = elsewhere
    where = _call(python, "-c", "import irlbench; print(irlbench.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    out = tmp_path / "smoke"
    _call(python.with_name("irlbench"), "run", "smoke", "--out", out, cwd=tmp_path, timeout=480)
    assert list((out / "trials").glob("*/record.json"))
    _call(python.with_name("irlbench"), "report", out, cwd=tmp_path)
    assert (out / "report" / "leaderboard.json").is_file()
