"""`irlbench doctor`, and the commands that install imitation."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, PackageNotFoundError, requires, version
from pathlib import Path
from types import SimpleNamespace

import pytest

from irlbench.cli import doctor, main
from irlbench.registry import Registry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def _light(monkeypatch):
    """Leaves out the import of every package, which takes seconds."""
    monkeypatch.setattr(doctor, "_import_error", lambda package: None)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)


def test_a_sound_installation(capsys):
    assert main(["doctor"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    told = captured.out
    assert told.splitlines()[0] == f"irlbench {version('irlbench')}"
    assert told.splitlines()[-1] == "nothing is wrong"
    for line in requires("irlbench") or ():
        if "extra ==" not in line:
            (name,) = re.findall(r"^[A-Za-z0-9-]+", line)
            assert re.search(rf"^  {name} +{re.escape(version(name))}$", told, re.MULTILINE)
    for word in ("processor", "cores", "GPU", "cache folder", "gridworld/four-rooms-v0"):
        assert word in told


@pytest.mark.usefixtures("_light")
def test_where_imitation_is_missing_the_commands_are_printed(capsys):
    assert main(["doctor"]) == 0, "imitation is optional"
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "not installed; these commands install it:" in lines
    for command in doctor.imitation_commands():
        assert command in lines


def test_where_what_it_imports_is_missing_the_command_is_printed(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_import_error", lambda package: None)
    monkeypatch.setattr(doctor, "version", lambda name: "9.9")
    monkeypatch.setattr(
        doctor, "find_spec", lambda name: None if name in ("sklearn", "tensorboard") else name
    )
    main(["doctor"])
    told = capsys.readouterr().out
    assert "without scikit-learn, tensorboard, which some of its algorithms import" in told
    assert doctor.imitation_commands()[0] in told


def test_the_commands_for_imitation_agree_with_constraints_and_makefile():
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, equals, number = line.partition("==")
        if equals:
            pinned[name] = number
    named = {**doctor.IMITATION, **doctor.IMITATION_NEEDS}
    assert named == {name: pinned[name] for name in named}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install --quiet -c constraints\.txt (.+)", makefile)
    assert "--no-deps " + " ".join(doctor.IMITATION) in installs
    assert " ".join(doctor.IMITATION_NEEDS) in installs
    needs, peers = doctor.imitation_commands()
    assert peers == "python -m pip install --no-deps imitation==1.0.1 seals==0.2.1"
    assert needs.startswith("python -m pip install datasets==")


@pytest.mark.usefixtures("_light")
def test_an_outdated_package(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "0.1" if name == "torch" else version(name))
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "irlbench needs >=" in captured.out
    assert "irlbench: torch 0.1: python -m pip install 'torch>=" in captured.err
    assert "nothing is wrong" not in captured.out


@pytest.mark.usefixtures("_light")
def test_a_missing_package(capsys, monkeypatch):
    def found(name: str) -> str:
        if name == "polars":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", found)
    assert main(["doctor"]) == 1
    assert "polars is not installed: python -m pip install 'polars>=" in capsys.readouterr().err


@pytest.mark.usefixtures("_light")
def test_a_package_that_cannot_be_imported(capsys, monkeypatch):
    broken = {"mujoco": "ImportError: libGL.so.1"}
    monkeypatch.setattr(doctor, "_import_error", broken.get)
    assert main(["doctor"]) == 1
    told = capsys.readouterr().err
    assert "mujoco" in told and "cannot be imported (ImportError: libGL.so.1)" in told
    assert "--force-reinstall" in told


@pytest.mark.usefixtures("_light")
def test_a_cache_folder_that_cannot_be_made(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IRLBENCH_HOME", str(tmp_path / "file" / "below"))
    assert main(["doctor"]) == 1
    assert "set IRLBENCH_HOME to a folder that can be written" in capsys.readouterr().err


@pytest.mark.usefixtures("_light")
def test_a_full_disk(capsys, monkeypatch):
    usage = SimpleNamespace(free=10 * 2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    assert main(["doctor"]) == 1
    assert "the cache folder has 10 MiB left" in capsys.readouterr().err


@pytest.mark.usefixtures("_light")
def test_a_plug_in_that_cannot_be_loaded(capsys, monkeypatch):
    fresh = Registry()
    broken = EntryPoint("acme/broken", "acme.nowhere:Broken", "irlbench.algorithms")
    fresh._group("algorithms")["acme/broken"] = broken
    monkeypatch.setattr("irlbench.registry.registry", lambda: fresh)
    assert main(["doctor"]) == 1
    told = capsys.readouterr().err
    assert "algorithm 'acme/broken' cannot be loaded (ModuleNotFoundError" in told
    assert "install again the package that brings it" in told


def test_what_cannot_be_imported_is_told():
    assert doctor._import_error("numpy") is None
    assert "ModuleNotFoundError" in str(doctor._import_error("no-such-package"))
