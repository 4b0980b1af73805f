"""Films of policies: what is in them, and what is said where none can be made."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image

from irlbench.envs.control import environments
from irlbench.errors import IrlbenchError, UsageError
from irlbench.registry import registry
from irlbench.running.film import check_suffix, film

MAZE: Any = registry().task("control/point-maze")


def pictures(path):
    shown: Any
    with Image.open(path) as shown:
        found = []
        for place in range(shown.n_frames):
            shown.seek(place)
            found.append((np.asarray(shown.convert("RGB")), shown.info["duration"]))
        return found


def blue(picture):
    """Where the point is in a picture of the maze: its blue pixels, from the bottom up."""
    rows, _ = np.nonzero((picture[:, :, 2] > 150) & (picture[:, :, 0] < 100))
    return picture.shape[0] - rows.mean()


def test_a_film_shows_the_test_episodes_and_tells_their_returns(tmp_path):
    expert, made = MAZE.expert(), []
    returns = film(MAZE, expert, tmp_path / "maze.gif", episodes=2, advance=made.append)
    assert made == list(range(1, 201))
    judged = MAZE.evaluator(None, None).evaluate(expert, "test").episodes["return"]
    assert returns == pytest.approx(judged[:2])
    found = pictures(tmp_path / "maze.gif")
    # 50 steps a second, every second one shown: 40 ms each, equal ones shown once for longer.
    assert sum(duration for _, duration in found) == pytest.approx(2 * 51 * 40, abs=80)
    heights = [blue(picture) for picture, _ in found]
    assert heights[0] < 100 < 300 < max(heights[:20]), "the point goes up around the barrier"


def test_worlds_that_draw_themselves_have_films_too(tmp_path):
    rooms: Any = registry().task("gridworld/four-rooms")
    assert len(film(rooms, rooms._expert(), tmp_path / "rooms.gif")) == 1
    assert len(pictures(tmp_path / "rooms.gif")) > 5


@pytest.mark.parametrize("task", ["text/arithmetic", "control/cartpole"])
def test_what_cannot_be_drawn_says_why(tmp_path, task, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    found = registry().task(task)
    kind, told = {
        "text/arithmetic": (UsageError, "has no pictures"),
        "control/cartpole": (IrlbenchError, "CartPole-v1 cannot be drawn: pygame is not installed"),
    }[task]
    with pytest.raises(kind, match=told):
        found.drawn_environment()


def test_where_opengl_is_missing_it_says_what_to_install(monkeypatch):
    def refuse(*_):
        raise ImportError("cannot load libEGL")

    monkeypatch.setitem(sys.modules, "mujoco", types.SimpleNamespace(GLContext=refuse))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(IrlbenchError, match=r"apt-get install libegl1.*MUJOCO_GL=egl"):
        environments.make_drawn("Hopper-v5")


def test_films_are_gifs_or_mp4s(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"ends in \.gif or \.mp4, got 'x\.avi'"):
        check_suffix(tmp_path / "x.avi")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(IrlbenchError, match="pip install imageio-ffmpeg"):
        check_suffix(tmp_path / "x.mp4")


DRAWS = """
import sys
from pathlib import Path
import numpy as np
from irlbench.envs.control.environments import make_drawn
env = make_drawn(sys.argv[1])
env.reset(seed=0)
for _ in range(20):
    env.step(env.action_space.sample())
np.save("picture.npy", env.render())
"""


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["Hopper-v5", "irlbench/AntTransfer-v0"])
def test_mujoco_draws_where_there_is_opengl(tmp_path, environment):
    done = subprocess.run(
        [sys.executable, "-c", DRAWS, environment],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "DISPLAY"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "MuJoCo draws with OpenGL, and finds none" in done.stderr:
        pytest.skip("no OpenGL: apt-get install libegl1")
    assert done.returncode == 0, done.stderr
    picture = np.load(tmp_path / "picture.npy")
    assert picture.shape == (320, 320, 3)
    middle = picture[100:300, 60:260].astype(int)
    robot = (middle[:, :, 0] > middle[:, :, 2] + 30).mean()
    assert robot > 0.005, "the robot is in the picture"


def test_gymnasiums_ids_are_known_by_what_draws_them():
    wanted = {"Hopper-v5": True, "irlbench/AntTransfer-v0": True, "irlbench/PointMaze-v0": False}
    assert {name: environments._is_mujoco(name) for name in wanted} == wanted
    assert gymnasium.spec("irlbench/HopperFixed-v0").kwargs == {"terminate_when_unhealthy": False}
