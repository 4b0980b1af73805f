"""What a report asks the registry, and that it never has to answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from irlbench import registry as module
from irlbench.problem import Budget
from irlbench.reporting.facts import installed_facts


def registered(monkeypatch, task):
    fake = SimpleNamespace(task=task)
    monkeypatch.setattr(module, "registry", lambda: fake)


def test_knows_an_installed_task(monkeypatch):
    digest = "ab" * 32
    info = SimpleNamespace(
        summary="a task",
        demonstrations=4,
        preferences=30,
        note="weak",
        budget=Budget(steps=10),
        recipe={"expert": {"sha256": digest, "list": [1, "cd" * 32]}, "seed": 7},
    )
    registered(monkeypatch, lambda name: SimpleNamespace(hash="h", info=info))
    facts = installed_facts("control/x-v0")
    assert facts is not None
    assert (facts.hash, facts.summary, facts.demonstrations) == ("h", "a task", 4)
    assert (facts.preferences, facts.note) == (30, "weak")
    assert facts.budget == {"steps": 10, "gradient_steps": None, "seconds": None}
    assert facts.frozen == {digest, "cd" * 32}


@pytest.mark.parametrize("error", [ImportError, KeyError, RuntimeError])
def test_a_broken_plug_in_is_no_obstacle(monkeypatch, error):
    def task(name):
        raise error(name)

    registered(monkeypatch, task)
    assert installed_facts("control/x-v0") is None


def test_an_unknown_task_is_no_obstacle():
    assert installed_facts("nowhere/nothing-v0") is None
