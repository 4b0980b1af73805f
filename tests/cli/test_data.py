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


def test_episodes_at_the_time_limit_are_warned_of_and_corrected_when_asked(capsys, tmp_path):
    path, steps = tmp_path / "long.npz", 200
    np.savez(
        path,
        observations_0=np.zeros((steps + 1, 3), np.float32),
        actions_0=np.zeros((steps, 1), np.float32),
        rewards_0=np.zeros(steps),
        terminations_0=np.arange(steps) == steps - 1,
        truncations_0=np.zeros(steps, bool),
    )
    command = ["data", "import", str(path), "--task", "control/pendulum", "--name"]
    assert main([*command, "mine"]) == 0
    told = capsys.readouterr()
    assert "irlbench: warning: 1 episode ended as terminated in the last possible" in told.err
    assert "--correct-time-limits" in told.err
    assert main([*command, "mended", "--correct-time-limits"]) == 0
    told = capsys.readouterr()
    assert "taken for cut by the time limit: 1 episode" in told.out.splitlines()
    assert told.err == ""


def test_building_listing_and_exporting(capsys, tmp_path):
    command = ["data", "build", "control/cartpole"]
    asked = ["--demonstrations", "2", "--subsample", "21", "--name", "few"]
    assert main([*command, *asked]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "built 2 episodes of control/cartpole-v0 as 'few': 48 steps, every 21st, return 500.0",
        "next: irlbench run control/cartpole-v0 --demos few --algorithms bc",
    ]
    assert main([*command, "--preferences", "8", "--segment", "30", "--name", "judged"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"built 8 preferences of .* as 'judged': . of them ties, \d+ steps", lines[0]
    )
    assert main(["data", "list"]) == 0
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert ["control/cartpole-v0", "few", "named", "2"] in rows
    assert ["control/cartpole-v0", "judged", "named", "8"] in rows
    export = ["data", "export", "few", "--task", "control/cartpole", "--to", str(tmp_path / "sets")]
    assert main(export) == 0
    place = tmp_path / "sets" / "irlbench" / "cartpole-v0" / "few-v0"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"exported 2 episodes of control/cartpole-v0 to {place}"
    assert "every 21st step" in lines[1]
    assert (place / "data" / "metadata.json").is_file()
    assert main(export) == 2
    assert "already" in capsys.readouterr().err


def test_a_task_alone_is_built_by_its_recipe(capsys):
    assert main(["data", "build", "gridworld/four-rooms", "-q"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"gridworld/four-rooms-v0  built-[0-9a-f]{12}  built", out)
    assert re.search(r"gridworld/four-rooms-v0  preferences/built-[0-9a-f]{12}  built", out)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--demonstrations", "3"], "--demonstrations needs --name NAME"),
        (["--mixed"], "--mixed needs --name NAME"),
        (["--subsample", "3"], "--subsample needs --name NAME"),
        (["--name", "x"], "ask for --demonstrations N or --preferences N"),
        (["--name", "x", "--demonstrations", "none"], "--demonstrations"),
        (["--name", "x", "--demonstrations", "3", "--segment", "5"], "--segment is of preferences"),
    ],
)
def test_what_cannot_be_built(capsys, more, said):
    assert main(["data", "build", "control/cartpole", *more]) == 2
    assert said in capsys.readouterr().err
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
