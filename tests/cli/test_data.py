"""`irlbench data`."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from irlbench.cli import main
from irlbench.data.demonstrations import Episode
from irlbench.data.preference_store import ensure_preferences, preference_folder
from irlbench.data.preferences import Preference, Preferences
from irlbench.home import home


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("IRLBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def archive(tmp_path):
    """Two short episodes of Hopper's shapes, a few actions out of bounds."""
    fields: dict[str, Any] = {}
    generator = np.random.default_rng(0)
    for i, steps in enumerate((4, 6)):
        actions = generator.uniform(-1, 1, (steps, 3)).astype(np.float32)
        actions[0, 0] = 2.5
        fields[f"actions_{i}"] = actions
        fields[f"observations_{i}"] = generator.normal(size=(steps + 1, 11))
        fields[f"rewards_{i}"] = np.full(steps, 1.5)
        fields[f"terminations_{i}"] = np.arange(steps) == steps - 1
        fields[f"truncations_{i}"] = np.zeros(steps, dtype=bool)
    path = tmp_path / "hops.npz"
    np.savez(path, **fields)
    return path


def _import(archive, *more):
    command = ["data", "import", str(archive), "--task", "control/hopper", "--name", "mine"]
    return main([*command, *more])


def test_an_empty_cache_folder(capsys):
    assert main(["data", "list"]) == 0
    assert "no data sets in" in capsys.readouterr().out


def test_importing_and_listing(capsys, archive):
    assert _import(archive, "--clip-actions") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "imported 2 episodes of control/hopper-v0 as 'mine': 10 steps, return 7.5"
    assert lines[1] == "clipped 2 action components (6.7%), the worst was 2.5"
    assert lines[2] == "next: irlbench run control/hopper-v0 --demos mine --algorithms bc"
    assert main(["data", "list"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "control/hopper-v0" in line)
    assert re.fullmatch(r"  control/hopper-v0  mine  imported +2 +10 +7\.5  [0-9a-f]{12}", row), row


def test_preferences_are_listed(capsys):
    item = Episode(np.arange(4), np.zeros(3, int), np.zeros(3, bool), np.zeros(3, bool))
    given = Preferences(
        tuple(Preference((item, item.segment(0, 2)), (0, rank), "me") for rank in (0, 1, 1))
    )
    id = "gridworld/four-rooms-v0/preferences"
    summary = ensure_preferences(home(), id, {"pairs": 3}, lambda: given)
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    (row,) = (line for line in out.splitlines() if "gridworld/four-rooms-v0" in line)
    name = preference_folder(home(), id, {"pairs": 3}).name
    wanted = ["gridworld/four-rooms-v0", f"preferences/{name}", "built", "3", "33%", "15"]
    assert row.split() == [*wanted, summary.content_hash[:12]]
    assert "episodes" not in out


def test_fields_that_are_not_read_are_told(capsys, archive):
    fields = dict(np.load(archive))
    np.savez(archive, **fields, infos_0=np.zeros(2))
    assert _import(archive, "--clip-actions") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "not read, as no part of an episode: 1 field ('infos_0')"


def test_actions_out_of_bounds_are_refused_unless_asked(capsys, archive):
    assert _import(archive) == 2
    told = capsys.readouterr().err
    assert told.startswith("irlbench: hops.npz, field 'actions_0', row 0:")
    assert "--clip-actions" in told
    assert main(["data", "list"]) == 0
    assert "no data sets in" in capsys.readouterr().out


def test_a_pickle_is_refused(capsys, tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, observations_0=np.array([{}], dtype=object))
    assert _import(path) == 2
    assert capsys.readouterr().err.startswith("irlbench: bad.npz")


def test_a_missing_file(capsys, tmp_path):
    assert _import(tmp_path / "none.npz") == 2
    assert "none.npz: cannot be read: No such file" in capsys.readouterr().err
