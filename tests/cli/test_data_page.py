"""The page on data shows what its commands say."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from irlbench.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
SHARED = Path(__file__).parents[3] / "shared" / "data"
FILES = {
    "Hopper-v4.npz": SHARED / "mujoco-demos" / "Hopper-v4.npz",
    "people.npz": SHARED / "human-preferences" / "hopper-medium-expert-v2_num100_human_train.npz",
}


def sessions(world):
    """The commands of the page about a task, in order, and what each is shown to print."""
    found = []
    for block in re.findall(r"^```\n(\$ .*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ irlbench ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            if world in command or (world == "control/cartpole" and command == "data list"):
                found.append((command, printed))
    return found


def shown(text):
    """What is the same on every machine: hashes, and numbers that follow from rounding, are not."""
    for place, instead in (
        (r"(?m)^in .*", "in FOLDER"),
        (r"\b[0-9a-f]{12}\b", "HASH"),
        (r"\b\d[\d,.]*%?", "N"),
        (r" +", " "),
    ):
        text = re.sub(place, instead, text)
    return text.strip().splitlines()


def replay(world, capsys, exactly):
    for command, printed in sessions(world):
        main(shlex.split(command))
        told = capsys.readouterr()
        said = told.out + told.err
        if exactly:
            assert said.strip() == printed.strip(), command
        else:
            assert shown(said) == shown(printed), command


def test_of_cartpole(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("IRLBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert len(sessions("control/cartpole")) == 6
    replay("control/cartpole", capsys, exactly=False)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_of_recorded_data(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("IRLBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name, file in FILES.items():
        shutil.copy(file, tmp_path / name)
    assert len(sessions("control/hopper") + sessions("control/ant")) == 4
    replay("control/hopper", capsys, exactly=True)
    replay("control/ant", capsys, exactly=True)
