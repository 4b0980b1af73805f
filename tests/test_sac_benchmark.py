"""`benchmarks/sac.py`: both in turn at one update a step, trainings that are kept, and verdicts."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from irlbench.metrics.statistics import Interval
from irlbench.policies.uniform import UniformPolicy
from irlbench.registry import registry

PATH = Path(__file__).parents[1] / "benchmarks" / "sac.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The benchmark, which is in no package."""
    spec = importlib.util.spec_from_file_location("sac_benchmark", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sac_benchmark"] = module
    spec.loader.exec_module(module)
    return module


def test_both_step_and_update_in_turn(benchmark, capsys):
    found = benchmark.rates(["float32"], warm_up=8, block=4, rounds=2)
    assert {name: len(values) for name, values in found.items()} == {
        "sac float32": 2,
        "stable-baselines3": 2,
    }
    assert all(value > 0 for values in found.values() for value in values)
    benchmark.report_speed(found)
    assert "sac float32: " in capsys.readouterr().out


def test_the_settings_are_those_of_the_peer(benchmark):
    ours = registry().solver("sac").configure("control", benchmark.settings("float32", 100, 50))
    peer = benchmark.peer_model(0, 50)
    config = ours.config
    assert config.batch_size == peer.batch_size and config.random_steps == peer.learning_starts
    assert config.critic_target_rate == peer.tau and config.buffer == peer.buffer_size
    assert config.actor_learning_rate == peer.learning_rate == config.critic_learning_rate
    assert (peer.train_freq.frequency, peer.gradient_steps) == (1, 1) and config.num_envs == 1
    assert config.critics == len(peer.critic.q_networks)
    widths = [layer.out_features for layer in peer.actor.latent_pi if hasattr(layer, "bias")]
    assert list(config.actor_critic_hidden) == widths
    assert registry().task(benchmark.TASK).info.discount == peer.gamma
    assert config.entropy_per_action * peer.action_space.shape[0] == peer.target_entropy


def test_an_error_of_ours_is_not_waited_for(benchmark, monkeypatch):
    def broken(task, seed, home):
        raise RuntimeError("no such environment")

    monkeypatch.setattr(type(registry().task(benchmark.TASK)), "expert_problem", broken)
    with pytest.raises(RuntimeError, match="no such environment"):
        benchmark.Ours("float32", 4)


def test_the_bar_is_on_the_ratio_of_a_round(benchmark, capsys):
    theirs = [10.0, 20.0, 30.0]
    assert benchmark.report_speed({"sac float32": [20.0, 41.0, 10.0], "stable-baselines3": theirs})
    assert not benchmark.report_speed(
        {
            "sac float32": [100.0, 100.0, 100.0],
            "sac bfloat16": [19.0, 39.0, 90.0],
            "stable-baselines3": theirs,
        }
    )
    said = capsys.readouterr().out
    assert "ok    sac float32: 20 (10 to 41) steps per second, 2.00 times as fast" in said
    assert "MISS  sac bfloat16: 39 (19 to 90) steps per second, 1.95 times as fast" in said


def test_a_training_that_is_finished_is_not_done_again(benchmark, tmp_path, monkeypatch):
    done = []

    def trained(who, seed, steps, random_steps, out):
        done.append((who, seed))
        return UniformPolicy.over(registry().task(benchmark.TASK).spaces()[1])

    monkeypatch.setattr(benchmark, "trained", trained)
    monkeypatch.setattr(benchmark, "EPISODES", 2)
    first = benchmark.learned("sac-float32", 1, 50, 20, tmp_path)
    assert benchmark.learned("sac-float32", 1, 50, 20, tmp_path) == first
    assert done == [("sac-float32", 1)]
    kept = json.loads((tmp_path / "sac-float32-seed1.json").read_text())
    assert np.mean(kept["returns"]) == first and len(kept["returns"]) == 2
    assert kept["versions"]["torch"] and "commit" in kept["irlbench"]
    with pytest.raises(SystemExit, match="of other settings: name another --out"):
        benchmark.learned("sac-float32", 1, 60, 20, tmp_path)


def test_both_learn_a_little_and_leave_no_checkpoints(benchmark, tmp_path):
    for who in ("sac-float32", "stable-baselines3"):
        policy = benchmark.trained(who, 0, 12, 6, tmp_path)
        observations = np.zeros((3, 17), dtype=np.float32)
        actions, _ = policy.act(observations, deterministic=True, generator=None)
        assert actions.shape == (3, 6) and np.abs(actions).max() <= 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("difference", "held"),
    [
        (Interval(5.0, 1.0, 9.0, 3), True),
        (Interval(-5.0, -11.0, 1.0, 3), True),
        (Interval(-5.0, -9.0, -1.0, 3), False),
    ],
    ids=["better", "not told apart", "worse"],
)
def test_worse_is_what_the_whole_interval_says(benchmark, difference, held):
    assert benchmark.verdict(difference) is held


def test_a_verdict_names_both_means_and_the_interval(benchmark, tmp_path, monkeypatch, capsys):
    returns = {
        "stable-baselines3": [3000.0, 4000.0, 5000.0],
        "sac-float32": [100.0, 1100.0, 2100.0],
    }
    monkeypatch.setattr(benchmark, "learned", lambda who, seed, *rest: returns[who][seed])
    assert not benchmark.report_learning(["float32"], 3, 100_000, 10_000, tmp_path)
    said = capsys.readouterr().out
    assert "MISS  sac-float32 after 100,000 steps: mean return 1100" in said
    assert "stable-baselines3 4000; difference -2900, 95% interval -2900 to -2900, 3 seeds" in said
