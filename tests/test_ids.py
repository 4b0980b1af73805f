"""Ids hold slashes and come from packages and plug-in files: none becomes a path by itself."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from irlbench.cli import main
from irlbench.data.minari_store import built_folder
from irlbench.data.named import list_sets, named
from irlbench.errors import UsageError
from irlbench.registry import Registry, registry
from irlbench.task import TaskInfo, TaskOptions

ODD = ["a/../../b", "../x", "/etc/x", "a/b/c", "a/b\n", "a/.b", "a/", "A/b", "a\\b", "a/b c"]
PLUGIN = '''
from irlbench.algorithm import Algorithm


class Mine(Algorithm):
    """Does nothing."""

    id = {id!r}
    version = {version!r}
    Config = object

    def fit(self, problem, budget, run):
        raise AssertionError
'''


def _plugin(folder: Path, id: str, version: object = 1) -> Path:
    path = folder / "mine.py"
    path.write_text(PLUGIN.format(id=id, version=version))
    return path


@pytest.mark.parametrize("id", [*ODD, "noslash"])
def test_a_plugin_with_an_odd_id_is_refused(tmp_path, id):
    with pytest.raises(UsageError, match="not of the form <package>/<name>"):
        Registry().load_plugin(_plugin(tmp_path, id))


@pytest.mark.parametrize("version", ["1.0", None, True, -1, 2**63])
def test_a_version_that_no_record_can_hold_is_refused(tmp_path, version):
    found = Registry()
    found.load_plugin(_plugin(tmp_path, "mine/algorithm", version))
    with pytest.raises(UsageError, match="version of mine/algorithm must be a whole number"):
        found.algorithm("mine/algorithm")


@pytest.mark.parametrize("group", ["tasks", "algorithms", "solvers", "suites"])
@pytest.mark.parametrize("name", ODD)
def test_a_package_that_registers_an_odd_name_is_refused(monkeypatch, group, name):
    point = EntryPoint(name, "os:path", f"irlbench.{group}")
    monkeypatch.setattr("irlbench.registry.entry_points", lambda group: [point])
    with pytest.raises(UsageError, match=f"registers {group[:-1]} .*small letters"):
        Registry().get(group, name)


@pytest.mark.parametrize("id", [*ODD, "noslash"])
def test_a_task_with_an_odd_id_is_none(id):
    info = registry().task("control/cartpole").info
    with pytest.raises(ValueError, match="not of the form <world>/<name>"):
        dataclasses.replace(info, id=id)
    assert isinstance(dataclasses.replace(info, id="control/other-v1"), TaskInfo)


@pytest.mark.parametrize("name", ["../x", "/etc", "a/../b", "..", "a/b", ""])
def test_demos_lead_nowhere_else(tmp_path, name):
    secret = tmp_path / "x"
    secret.mkdir()
    (secret / "summary.json").write_text("{}")
    home = tmp_path / "home"
    (home / "data" / "control" / "cartpole-v0").mkdir(parents=True)
    with pytest.raises(UsageError):
        named("control/cartpole-v0", name, home)
    with pytest.raises(UsageError):
        registry().task("control/cartpole").prepare(TaskOptions(demos=name), home)


@pytest.mark.parametrize("id", ["../x/expert", "control/../../x", "/x", "a//b"])
def test_data_sets_stay_in_the_cache_folder(tmp_path, id):
    with pytest.raises(UsageError, match="can have no folder"):
        built_folder(tmp_path, id, {})
    with pytest.raises(UsageError, match="can have no folder"):
        list_sets(tmp_path, id)


def test_names_on_the_command_line_are_no_paths(tmp_path, monkeypatch, capsys):
    here = tmp_path / "one" / "two"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    for arguments in (
        ["run", "../../etc"],
        ["run", "control/../cartpole"],
        ["run", "control/cartpole", "--algorithms", "../bc"],
        ["run", "control/cartpole", "--algorithms", "bc", "--demos", "../x", "--seeds", "1"],
        ["experts", "train", "control/../../x"],
        ["models", "train", "../x"],
        ["data", "import", "x.npz", "--task", "control/cartpole", "--name", "../x"],
        ["report", "nowhere"],
    ):
        assert main(arguments) == 2, arguments
        assert "Traceback" not in capsys.readouterr().err
    left = [p for p in tmp_path.rglob("*") if p.is_file() and "trials" in p.parts]
    assert left == []
    found = {p.name for folder in (tmp_path, here.parent) for p in folder.iterdir()}
    assert not found & {"x", "etc", "b"}
