"""Running trials as a user does, with a plug-in's task and algorithms."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irlbench
from irlbench.errors import IrlbenchError, UsageError
from irlbench.registry import registry
from irlbench.running.progress import PlainProgress
from irlbench.running.store import Store

PLUGIN = Path(__file__).with_name("toy_plugin.py")
TASK = "gridworld/toy"


def go(out: Path, *algorithms: str, **more: Any) -> Any:
    more.setdefault("seeds", 2)
    return irlbench.run(
        TASK, algorithms=algorithms or ("toy/good",), plugins=[PLUGIN], out=out, **more
    )


def only(out: Path) -> Any:
    (record,) = Store(out).records()
    return record


def test_a_run_leaves_records_that_can_be_read_back(tmp_path: Path) -> None:
    summary = go(tmp_path / "out", seeds=3)
    assert (summary.planned, summary.done, summary.failed, summary.reused) == (3, 3, 0, 0)
    results = irlbench.load_results(tmp_path / "out")
    assert results.height == 3
    assert sorted(results["seed"]) == [0, 1, 2]
    for row in results.iter_rows(named=True):
        noise = np.random.default_rng([row["seed"], *b"noise"]).normal()
        expected = 10 / (1 + np.exp(-(1.0 + 0.1 * noise)))
        assert row["score"] == pytest.approx(expected)
        assert row["normalised"] == pytest.approx((expected - 5) / 5)
        assert row["score.split_is_test"] == 1.0
        loaded = irlbench.load_trial(tmp_path / "out", row["trial"][:12])
        assert loaded.policy.kind == "table"
        assert loaded.policy.probabilities[0, 1] * 10 == pytest.approx(expected)
        assert loaded.reward is not None
        assert loaded.reward.kind == "state-action"


def test_a_learnt_reward_is_scored_where_there_is_one(tmp_path: Path) -> None:
    go(tmp_path / "out", "toy/good", "toy/own-policy", seeds=1)
    results = irlbench.load_results(tmp_path / "out").sort("algorithm")
    strength = 1.0 + 0.1 * np.random.default_rng([0, *b"noise"]).normal()
    assert results["metric.gap"].to_list() == [pytest.approx(strength, rel=1e-12), None]


@pytest.mark.parametrize(
    ("algorithm", "told"),
    [
        ("toy/small-reward", "IndexError: index 1 is out of bounds"),
        ("toy/endless-reward", "NotFiniteError: gap of the learnt reward is "),
    ],
)
def test_a_reward_that_cannot_be_scored_fails_the_trial(
    tmp_path: Path, algorithm: str, told: str
) -> None:
    go(tmp_path / "out", algorithm, seeds=1)
    record = only(tmp_path / "out")
    assert record.failed and record.scores == {} == record.metrics
    assert f"{record.error['type']}: {record.error['message']}".startswith(told)
    assert record.has_reward  # it is kept, to be looked at


def test_a_record_says_everything_and_no_absolute_path(tmp_path: Path) -> None:
    go(tmp_path / "out", "toy/good", "toy/raises", seeds=1)
    records = {r.spec["algorithm"]: r for r in Store(tmp_path / "out").records()}
    good, bad = records["toy/good"], records["toy/raises"]
    assert good.best == {"step": 3, "scores": good.best["scores"]}
    assert good.best["scores"]["split_is_test"] == 0.0
    assert good.costs["demonstrations"] == 2
    assert good.costs["gradient_steps"] == 3
    assert good.costs["seconds"] > 0
    assert good.costs["peak_memory_bytes"] > 2**20
    assert set(good.files) == {
        "curve.parquet",
        "log.txt",
        "policy.json",
        "policy.safetensors",
        "reward.json",
        "reward.safetensors",
    }
    assert good.versions["numpy"] == np.__version__
    assert good.data == {"built": {"demonstrations": "0" * 64}}
    curve = Store(tmp_path / "out").curve(good.trial)
    assert curve.filter(curve["kind"] == "log")["value"].to_list() == [1.0, 1 / 2, 1 / 3]
    assert "the toy is done" in (tmp_path / f"out/trials/{good.trial}/log.txt").read_text()
    assert bad.failed
    assert bad.error is not None
    assert bad.error["type"] == "RuntimeError"
    assert "toy_plugin.py" in bad.error["traceback"]
    log = (tmp_path / f"out/trials/{bad.trial}/log.txt").read_text()
    assert log.endswith(bad.error["traceback"] + "\n")
    for record in records.values():
        text = (tmp_path / f"out/trials/{record.trial}/record.json").read_text()
        assert str(Path.home()) + "/" not in text
        assert str(tmp_path) not in text
        assert str(PLUGIN.parent) not in text
        assert os.uname().nodename not in text or len(os.uname().nodename) < 4


def test_failures_are_records_and_the_others_go_on(tmp_path: Path) -> None:
    bad = ("toy/raises", "toy/nan", "toy/dies", "toy/overspends")
    summary = go(tmp_path / "out", *bad, "toy/good", seeds=1)
    assert (summary.done, summary.failed) == (1, 4)
    errors = {
        r.spec["algorithm"]: r.error["type"] for r in Store(tmp_path / "out").records() if r.error
    }
    assert errors == {
        "toy/raises": "RuntimeError",
        "toy/nan": "NotFiniteError",
        "toy/dies": "ProcessDied",
        "toy/overspends": "BudgetExceeded",
    }
    died = next(r for r in Store(tmp_path / "out").records() if r.spec["algorithm"] == "toy/dies")
    assert "signal 9" in died.error["message"]
    again = go(tmp_path / "out", *bad, "toy/good", seeds=1)
    assert (again.done, again.failed, again.reused) == (0, 4, 5)


def test_a_trial_that_takes_too_long_fails(tmp_path: Path) -> None:
    began = time.monotonic()
    summary = go(tmp_path / "out", "toy/hangs", "toy/good", seeds=1, timeout=3)
    assert time.monotonic() - began < 60
    assert (summary.done, summary.failed) == (1, 1)
    assert "Timeout" in summary.failures[0][1]


def test_a_policy_of_an_own_kind_runs_and_is_not_verifiable(tmp_path: Path) -> None:
    assert go(tmp_path / "out", "toy/own-policy", seeds=1).done == 1
    record = only(tmp_path / "out")
    assert not record.verifiable
    assert record.scores["return"] == pytest.approx(5.0)
    assert irlbench.load_trial(tmp_path / "out", record.trial).policy is None


def test_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    go(tmp_path / "out", seeds=2)
    summary = go(tmp_path / "out", seeds=3)
    assert (summary.planned, summary.done, summary.reused) == (3, 1, 2)


@pytest.mark.parametrize("jobs", [1, 2])
def test_records_do_not_depend_on_jobs(tmp_path: Path, jobs: int) -> None:
    go(tmp_path / "reference", seeds=[2, 0, 1], jobs=1)
    go(tmp_path / "other", seeds=3, jobs=jobs)
    hashes = [
        {r.trial: r.content_hash for r in Store(tmp_path / name).records()}
        for name in ("reference", "other")
    ]
    assert len(hashes[0]) == 3
    assert hashes[0] == hashes[1]


def test_the_id_holds_what_determines_a_trial(tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(out, seeds=1)
    for change in (
        {"settings": {"toy/good.strength": 2.0}},
        {"budget": {"gradient_steps": 50}},
        {"threads": 2},
        {"seeds": [1]},
    ):
        assert go(out, **{"seeds": 1, **change}).done == 1, change
    for same in ({"jobs": 1}, {"timeout": 60.0}, {"settings": {"toy/good.strength": "1.0"}}):
        assert go(out, **{"seeds": 1, **same}).reused == 1, same


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": []}, "seeds must be"),
        ({"seeds": [-1]}, "seeds must be"),
        ({"jobs": 0}, "jobs must be"),
        ({"threads": 0}, "threads must be"),
        ({"timeout": 0.0}, "timeout must be"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"track": "demonstration"}, "did you mean 'demonstrations'"),
        ({"settings": {"toy/good.strenght": 1.0}}, "did you mean 'strength'"),
        ({"settings": {"toy/god.strength": 1.0}}, "did you mean 'toy/good'"),
        ({"settings": {"toy/good.strength": "big"}}, "must be of type float"),
        ({"settings": {"toy/good.strength": float("nan")}}, "must be finite"),
        ({"settings": {"strength": 1.0}}, "write algorithm.field=value"),
        ({"budget": {"step": 3}}, "did you mean 'steps'"),
        ({"budget": {"steps": -3}}, "must be a number from 0 on"),
        ({"demonstrations": [0]}, "demonstrations must be"),
        ({"demonstrations": [11]}, "11 demonstrations asked for, but gridworld/toy-v0 has 10"),
        ({"budget": {"steps": float("nan")}}, "must be a number from 0 on"),
        ({"budget": {"steps": 1.5}}, "must be a whole number"),
        ({"preferences": [3]}, "no algorithm of this run takes preferences"),
        ({"seeds": [0.5]}, "seeds must be"),
        ({"seeds": "1"}, "seeds must be"),
        ({"demonstrations": 5.5}, "demonstrations must be"),
        ({"jobs": 1.5}, "jobs must be"),
        ({"threads": "1"}, "threads must be"),
        ({"timeout": "3"}, "timeout must be"),
        ({"budget": 100}, "budget must map"),
        ({"budget": {"steps": "many"}}, "budget steps must be a number"),
        ({"demos": "mine"}, "does not use --demos"),
        ({"data": "bad"}, "that file is bad"),
    ],
)
def test_unusable_arguments_are_refused_before_anything_runs(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        go(tmp_path / "out", **{"seeds": 1, **change})
    assert not list(tmp_path.glob("out/trials/*"))


def test_unknown_names_come_with_the_nearest(tmp_path: Path) -> None:
    registry().load_plugin(PLUGIN)
    with pytest.raises(UsageError, match="did you mean 'gridworld/toy-v0'"):
        irlbench.run("gridworld/tpy", out=tmp_path / "out")
    with pytest.raises(UsageError, match="did you mean 'toy/good'"):
        irlbench.run(TASK, algorithms=["toy/goood"], out=tmp_path / "out")


def test_an_output_directory_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        go(tmp_path / "file" / "out")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer/irlbench.json").write_text('{"schema": 99}')
    with pytest.raises(UsageError, match="schema 99"):
        go(tmp_path / "newer")
    with pytest.raises(UsageError, match="schema 99"):
        irlbench.load_results(tmp_path / "newer")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("")
    with pytest.raises(UsageError, match="not irlbench's"):
        go(tmp_path / "other")
    with pytest.raises(UsageError, match=r"no irlbench\.json"):
        irlbench.load_results(tmp_path / "other")


def test_a_changed_record_is_noticed(tmp_path: Path) -> None:
    go(tmp_path / "out", seeds=1)
    path = tmp_path / f"out/trials/{only(tmp_path / 'out').trial}/record.json"
    value = json.loads(path.read_text())
    value["scores"]["return"] = 10.0
    path.write_text(json.dumps(value))
    with pytest.raises(UsageError, match="changed or damaged"):
        irlbench.load_results(tmp_path / "out")
    path.write_text(path.read_text()[:100])
    with pytest.raises(UsageError, match="is no JSON"):
        irlbench.load_results(tmp_path / "out")


def test_progress_is_plain_lines_where_no_terminal_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path / "out", seeds=1, progress=PlainProgress(sys.stdout))
    printed = "".join(capsys.readouterr())
    assert "gridworld/toy-v0" in printed
    assert "\x1b" not in printed


def test_policies_may_come_faster_than_they_are_judged(tmp_path: Path) -> None:
    assert go(tmp_path / "out", "toy/floods", seeds=1, timeout=60.0).done == 1
    store = Store(tmp_path / "out")
    curve = store.curve(only(tmp_path / "out").trial)
    assert curve.filter(curve["name"] == "return").height == 30


def test_a_plug_in_takes_nobody_elses_place(tmp_path: Path) -> None:
    registry().load_plugin(PLUGIN)
    for old, new, message in (
        ('"toy/good"', '"bc"', "not of the form <package>/<name>"),
        ('"toy/good"', '"toy/No Slash!"', "not of the form"),
        ("# nothing", "# nothing", "'gridworld/toy-v0' is another plug-in's already"),
    ):
        path = tmp_path / "other.py"
        path.write_text(PLUGIN.read_text().replace(old, new) + f"# {new}\n")
        with pytest.raises(UsageError, match=message):
            registry().load_plugin(path)
    (tmp_path / "exits.py").write_text("import sys; sys.exit(4)")
    with pytest.raises(UsageError, match=r"exits\.py raised SystemExit: 4"):
        registry().load_plugin(tmp_path / "exits.py")


def test_a_policy_that_was_changed_is_not_handed_out(tmp_path: Path) -> None:
    go(tmp_path / "out", seeds=2)
    first, second = Store(tmp_path / "out").ids()
    trials = tmp_path / "out/trials"
    (trials / first / "policy.safetensors").write_bytes(
        (trials / second / "policy.safetensors").read_bytes()
    )
    assert irlbench.load_trial(tmp_path / "out", second).policy is not None
    with pytest.raises(UsageError, match="was changed or damaged after it was written"):
        irlbench.load_trial(tmp_path / "out", first)


def test_odd_values_end_one_trial_at_most(tmp_path: Path) -> None:
    odd = ("toy/odd-steps", "toy/half-steps", "toy/unspeakable", "toy/good")
    assert go(tmp_path / "out", *odd, seeds=1).failed == 2
    errors = {r.spec["algorithm"]: r.error for r in Store(tmp_path / "out").records() if r.error}
    assert set(errors) == {"toy/half-steps", "toy/unspeakable"}
    assert errors["toy/unspeakable"]["message"] == "half a character: ?"


def test_what_is_taken_must_fit_the_track(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes interaction, which track 'demonstrations'"):
        go(tmp_path / "out", "toy/peeks")


def test_a_plug_in_that_changes_under_a_run_is_noticed(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN.read_text().replace("toy/", "mine/").replace("/toy-v0", "/mine-v0"))
    registry().load_plugin(plugin)
    plugin.write_text(plugin.read_text() + "# changed\n")
    try:
        with pytest.raises(IrlbenchError, match=r"mine\.py was changed"):
            irlbench.run("gridworld/mine", algorithms=["mine/good"], seeds=1, out=tmp_path / "out")
    finally:  # every later run of this process would notice it too
        del registry()._plugins[plugin.resolve()]


def test_a_plug_in_task_and_a_solver_are_part_of_the_id(tmp_path: Path) -> None:
    from irlbench.running import plan
    from irlbench.task import Prepared

    digest = registry().load_plugin(PLUGIN)

    def planned(*targets: str, **more: Any) -> list[Any]:
        choices = plan.Choices(targets=targets, seeds=(0,), **more)
        cells = plan.cells(choices)
        return plan.trials(cells, {c.task.id: Prepared() for c in cells}, choices)

    (own_task,) = planned(TASK, algorithms=("bc",))
    assert own_task.plugin_hash == digest
    (survival,) = planned("control/cartpole", algorithms=("survival",))
    assert survival.plugin_hash is None
    assert survival.solvers["ppo"]["version"] == registry().solver("ppo").version
    assert survival.solvers["ppo"]["config"]["learning_rate"] > 0
    with pytest.raises(UsageError, match="did you mean 'ppo'"):
        planned("control/cartpole", algorithms=("survival",), settings={"survival.solver": "ppp"})


def test_targets_add_up(tmp_path: Path) -> None:
    """A suite's short trials of a task and the task's own are different cells; both run."""
    from irlbench.running import plan

    choices = plan.Choices(targets=("smoke", "control/cartpole"), algorithms=("bc",))
    poles = [c for c in plan.cells(choices) if c.task.id == "control/cartpole-v0"]
    assert [c.seeds for c in poles] == [(0,), (0, 1, 2)]
    assert [dict(c.settings) for c in poles] == [{"bc.gradient_steps": 300}, {}]
