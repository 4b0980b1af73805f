"""`benchmarks/cartpole_iq_learn.py`: what it makes of curves, and one short run of it all."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import polars as pl
import pytest

from irlbench.envs.control.tasks import CARTPOLE
from irlbench.registry import registry, tracks_on
from irlbench.running.store import Store

PATH = Path(__file__).parents[1] / "benchmarks" / "cartpole_iq_learn.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The benchmark, which is in no package."""
    spec = importlib.util.spec_from_file_location("cartpole_iq_learn", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cartpole_iq_learn"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def curve(*points: tuple[int, float]) -> pl.DataFrame:
    rows = [(step, step / 100, "validation", "return", value) for step, value in reversed(points)]
    others = [(400, 4.0, "validation", "length", 500.0), (450, 4.5, "log", "return", 500.0)]
    names = ["step", "seconds", "kind", "name", "value"]
    return pl.DataFrame(rows + others, schema=names, orient="row")


def test_the_first_hit_and_the_last_policy_are_both_told(benchmark, capsys):
    record = SimpleNamespace(trial="0" * 64, spec={"seed": 4}, scores={"return": 451.5})
    found = benchmark.outcome(record, curve((500, 499.9), (1000, 500.0), (1500, 480.25)))
    assert found == benchmark.Outcome(seed=4, first=1000, last=480.25, final=451.5)
    assert benchmark.outcome(record, curve((500, 9.0))).first is None
    with pytest.raises(SystemExit, match="more --steps"):
        benchmark.outcome(record, curve())
    online, offline, cloned = benchmark.rows(10_000)
    assert [row.saves for row in (online, offline, cloned)] == [20, 5, 5]
    benchmark.report(online, [found])
    said = capsys.readouterr().out
    assert "seed 4: 500 first hit at step 1,000; last 480.2 over validation" in said
    assert "451.5 over test episodes" in said


@pytest.mark.parametrize(
    ("last", "final", "held"),
    [(475.0, 475.0, True), (500.0, 474.0, False), (474.0, 500.0, False)],
)
def test_the_bar_is_on_both_means(benchmark, last, final, held):
    pair = [benchmark.Outcome(0, None, last - 10, final - 20)]
    pair.append(benchmark.Outcome(1, 500, last + 10, final + 20))
    assert benchmark.verdict(pair) is held
    online, *_ = benchmark.rows(10_000)
    assert f"mean final return {final:.1f} over test episodes" in benchmark.told(online, pair)


def test_each_trial_is_given_25_steps_of_one_demonstration(benchmark):
    for row in benchmark.rows(10_000):
        settings = row.settings({"temperature": "0.2"})
        config = registry().algorithm(row.algorithm).configure("control", settings).config
        assert config.subsample == 20 and config.saves == row.saves
        assert getattr(config, "temperature", 0.2) == 0.2
        assert row.track in tracks_on(registry().algorithm(row.algorithm), CARTPOLE)
    assert registry().task(benchmark.TASK) is CARTPOLE and CARTPOLE.frozen is not None
    demonstrations = CARTPOLE.frozen.recording("CartPole-v1").episodes
    assert {len(episode.subsampled(20)) for episode in demonstrations} == {25}


@pytest.mark.slow
def test_a_short_run_is_found_again_and_was_given_what_ships(benchmark, tmp_path, monkeypatch):
    cloned = dataclasses.replace(benchmark.rows(500)[2], saves=2)
    monkeypatch.setattr(
        type(cloned),
        "settings",
        lambda row, changes: {"subsample": 20, "saves": row.saves, "gradient_steps": 20},
    )
    out = tmp_path / "out"
    first = benchmark.outcomes(cloned, [0, 2], {}, out)
    assert [one.seed for one in first] == [0, 2] and all(one.final > 8 for one in first)
    assert benchmark.outcomes(cloned, [2], {}, out) == first[1:]
    (record, _) = Store(out).records()
    assert CARTPOLE.frozen is not None
    frozen = CARTPOLE.frozen.content_hash
    assert record.data["built"]["demonstrations"] == frozen
    other = dataclasses.replace(record, data={"built": {"demonstrations": "0" * 64}})
    with pytest.raises(SystemExit, match=f"{frozen[:12]} ship"):
        benchmark._require_shipped(other)
