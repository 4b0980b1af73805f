"""What `benchmarks/gail_peer.py` makes of curves: when a policy arrived, and who was faster."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import polars as pl
import pytest

from irlbench.registry import registry

PATH = Path(__file__).parents[1] / "benchmarks" / "gail_peer.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The benchmark, which is in no package."""
    spec = importlib.util.spec_from_file_location("gail_peer", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gail_peer"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_first_policy_at_nine_tenths_has_arrived(benchmark):
    found = benchmark.arrival([(3.0, 300, 0.95), (1.0, 100, 0.2), (2.0, 200, 0.9), (4.0, 400, 0.1)])
    assert (found.seconds, found.step, found.best) == (2.0, 200, 0.95)
    never = benchmark.arrival([(1.0, 100, 0.899)])
    assert (never.seconds, never.step, never.best) == (math.inf, None, 0.899)
    assert benchmark.arrival([]).step is None


def test_validation_returns_are_read_between_the_anchors(benchmark):
    record = SimpleNamespace(
        primary={"name": "return", "low": "random", "high": "expert"},
        references={"random": {"return": 20.0}, "expert": {"return": 500.0}},
    )
    rows = [
        (100, 1.0, "validation", "return", 451.0),
        (200, 2.0, "validation", "return", 452.0),
        (50, 0.5, "validation", "length", 500.0),
        (60, 0.6, "log", "return", 500.0),
    ]
    curve = pl.DataFrame(rows, schema=["step", "seconds", "kind", "name", "value"], orient="row")
    assert benchmark.measured(record, curve).seconds == 2.0


def test_the_peer_is_given_three_times_our_time(benchmark, monkeypatch, capsys):
    asked = []
    arrivals = {
        "ours": [benchmark.Arrival(10.0, 1000, 1.0, 0.9), benchmark.Arrival(4.0, 400, 1.0, 0.9)],
        "peer": [
            benchmark.Arrival(25.0, 9000, 1.0, 0.9),
            benchmark.Arrival(math.inf, None, 0.3, 0.2),
        ],
    }

    def trial(out, task, algorithm, seed, budget, settings):
        asked.append((algorithm, seed, budget.get("seconds"), dict(settings)))
        return arrivals[algorithm][seed]

    monkeypatch.setattr(benchmark, "trial", trial)
    ratios = benchmark.seeds_of(
        "control/halfcheetah", "ours", "peer", Path("out"), 2, {"hidden": "(8,)"}
    )
    assert ratios == [2.5, math.inf]
    assert [(name, seed, given) for name, seed, given, _ in asked] == [
        ("ours", 0, None),
        ("peer", 0, 30.0),
        ("ours", 1, None),
        ("peer", 1, 12.0),
    ]
    assert asked[0][3] == {"hidden": "(8,)", "saves": 60}
    assert "hidden" not in asked[1][3]
    assert asked[1][3]["discriminator_updates"] == 8
    assert "not in 12.0 s (best 0.30)" in capsys.readouterr().out


def test_a_seed_at_which_ours_does_not_arrive_is_lost(benchmark, monkeypatch):
    monkeypatch.setattr(
        benchmark, "trial", lambda *given: benchmark.Arrival(math.inf, None, 0.5, 0.4)
    )
    assert benchmark.seeds_of("control/cartpole", "ours", "peer", Path("out"), 1, {}) == [0.0]


def test_settings_are_those_that_the_algorithms_have(benchmark):
    for plan in benchmark.PLANS.values():
        peer = {**plan.peer, "steps": benchmark.PEER_STEPS, "saves": 10}
        registry().algorithm("imitation/gail").configure("control", peer)
    registry().algorithm("gail").configure("control", {"saves": 10})
