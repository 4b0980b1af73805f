"""An algorithm whose packages are not installed is refused before a run, with what to do."""

from __future__ import annotations

import importlib.util

import pytest

from irlbench.cli import main
from irlbench.errors import UnsupportedPairError
from irlbench.registry import registry, require_pair, why_not

PEERS = [name for name in registry().names("algorithms") if name.startswith("imitation/")]


@pytest.fixture
def without(monkeypatch):
    """Takes packages away: they look as if they were not installed."""
    find = importlib.util.find_spec

    def take(*names):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, package=None: None if name in names else find(name, package),
        )

    return take


def test_there_are_five():
    tails = {name.removeprefix("imitation/") for name in PEERS}
    assert tails == {"airl", "bc", "density", "gail", "sqil"}


@pytest.mark.parametrize("name", PEERS)
def test_without_the_package_it_is_refused(name, without):
    without("imitation")
    # What else it imports may be missing here too.
    told = rf"{name} imports imitation(, \w+)*, not installed here"
    with pytest.raises(UnsupportedPairError, match=told):
        require_pair(registry().algorithm(name), registry().task("control/cartpole"))


def test_what_one_of_them_imports_besides_is_looked_for(without):
    without("sklearn", "imitation")
    task = registry().task("control/cartpole")
    reason = why_not(registry().algorithm("imitation/density"), task)
    assert "imports imitation, sklearn, not installed here: `irlbench doctor`" in reason
    assert "sklearn" not in why_not(registry().algorithm("imitation/gail"), task)
    assert why_not(registry().algorithm("bc"), task) is None


def test_the_command_refuses_before_anything_runs(without, tmp_path, monkeypatch, capsys):
    without("imitation")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "control/cartpole", "--algorithms", "imitation/bc"]) == 2
    told = capsys.readouterr().err
    assert "imports imitation" in told and "irlbench doctor" in told
    assert not list(tmp_path.rglob("trials/*"))


def test_another_world_is_the_nearer_reason(without):
    without("imitation")
    reason = why_not(registry().algorithm("imitation/bc"), registry().task("text/arithmetic"))
    assert reason == "imitation/bc runs in control, not in text"
