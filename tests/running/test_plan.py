"""Plans: the trials of a run, their ids, and how quickly they are made."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from irlbench.algorithm import Algorithm, Run, Solution
from irlbench.errors import UsageError
from irlbench.problem import Budget, Problem
from irlbench.registry import registry
from irlbench.running import plan
from irlbench.running.trial import TrialSpec
from irlbench.serialisation import sha256_json
from irlbench.task import Prepared

RESULTS = Path(__file__).parents[2] / "results"
ROOMS = "gridworld/four-rooms"


def planned(*targets: str, prepared: Prepared | None = None, **more: Any) -> list[TrialSpec]:
    choices = plan.Choices(targets=targets, **more)
    cells = plan.cells(choices)
    return plan.trials(cells, {c.task.id: prepared or Prepared() for c in cells}, choices)


def committed(name: str = "*") -> list[dict[str, Any]]:
    files = sorted(RESULTS.glob(f"{name}/records/trials/*/record.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def test_committed_records_keep_their_ids() -> None:
    records = committed()
    assert len(records) >= 42
    for record in records:
        assert TrialSpec(**record["spec"]).id == record["trial"]


def test_the_quick_suite_is_planned_under_the_ids_of_its_committed_records() -> None:
    """All of them, unless a task, algorithm or solver has been changed since they were made."""
    specs = {
        (spec.task, spec.algorithm, spec.seed): spec
        for task, model in {
            r["spec"]["task"]: r["spec"]["model"] for r in committed("quick")
        }.items()
        for spec in planned("quick", prepared=Prepared(model=model))
        if spec.task == task
    }
    records = committed("quick")
    assert len(specs) == len(records) == 42
    for record in records:
        was = record["spec"]
        now = specs[was["task"], was["algorithm"], was["seed"]]
        if (now.task_hash, now.algorithm_version, now.solvers) == (
            was["task_hash"],
            was["algorithm_version"],
            was["solvers"],
        ):
            assert now.id == record["trial"]
            assert now.to_json() == was
        else:
            assert now.id != record["trial"]


def test_an_id_is_that_of_the_trial_alone() -> None:
    """What trials of a cell share is worked out once; the ids are as if it were not."""
    shared = planned(ROOMS, algorithms=("bc", "random"), seeds=(4, 7), demonstrations=(1, 3))
    alone = [
        spec
        for seed in (4, 7)
        for name, counts in (("bc", (1,)), ("bc", (3,)), ("random", None))
        for spec in planned(ROOMS, algorithms=(name,), seeds=(seed,), demonstrations=counts)
    ]
    assert shared == alone
    for spec in shared:
        whole = dataclasses.asdict(spec)
        del whole["changed"], whole["demos"]
        assert spec.id == sha256_json(whole)
        assert json.loads(json.dumps(spec.to_json())) == dataclasses.asdict(spec)
    assert len({spec.id for spec in shared}) == 6


def test_every_cell_grows_at_one_pace_and_no_trial_is_planned_twice() -> None:
    specs = planned(ROOMS, ROOMS, algorithms=("bc", "random"), seeds=(2, 0, 2))
    assert [(spec.seed, spec.algorithm) for spec in specs] == [
        (0, "bc"),
        (0, "random"),
        (2, "bc"),
        (2, "random"),
    ]


def test_cells_of_different_seeds_keep_their_own() -> None:
    suite = registry().get("suites", "smoke")
    both = planned("smoke", "control/cartpole", algorithms=("bc",))
    short = [spec.seed for spec in both if spec.changed and spec.task == "control/cartpole-v0"]
    long = [spec.seed for spec in both if not spec.changed and spec.task == "control/cartpole-v0"]
    assert short == list(suite.seeds)
    assert long == list(plan.DEFAULT_SEEDS)


def test_the_core_of_the_control_suite_is_run_first_and_once() -> None:
    core, whole = planned("control-core"), planned("control")
    assert len(core) == 2 * 5 * 3
    assert [spec.seed for spec in core] == [0] * 10 + [1] * 10 + [2] * 10
    assert {spec.id for spec in core} < {spec.id for spec in whole}
    assert all(spec.budget["steps"] == 150_000 and not spec.changed for spec in core)
    tracks = {spec.track for spec in whole if spec.algorithm == "iq-learn"}
    assert tracks == {"demonstrations+interaction", "demonstrations"}
    # Tasks that are not ready are listed, for when they are, and not planned.
    ready = {task for task in registry().names("tasks") if registry().task(task).info.lacks is None}
    listed = {entry.task for entry in registry().get("suites", "control").entries}
    assert {spec.task for spec in whole} == listed & ready


def test_more_demonstrations_than_there_are_are_refused() -> None:
    few = Prepared(available=5)
    assert len(planned(ROOMS, algorithms=("bc",), demonstrations=(5,), prepared=few)) == 3
    with pytest.raises(UsageError, match=r"6 demonstrations .*four-rooms-v0 has 5"):
        planned(ROOMS, algorithms=("bc",), demonstrations=(5, 6), prepared=few)
    # Who takes none does not mind.
    assert len(planned(ROOMS, algorithms=("random",), prepared=few)) == 3


@dataclasses.dataclass(frozen=True)
class Nothing:
    """No hyperparameters."""


class Comparing(Algorithm):
    """Takes preferences."""

    id = "comparing/nothing"
    worlds = ("gridworld",)
    needs = frozenset({"preferences"})
    tracks = ("preferences",)
    Config = Nothing

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        raise AssertionError


def compared(prepared: Prepared, **more: Any) -> list[int | None]:
    """The numbers of preferences of the trials of an algorithm that takes some."""
    task = registry().task(ROOMS)
    cell = plan.Cell(task, Comparing, "preferences", (0,), None, {}, {})
    choices = plan.Choices(targets=(ROOMS,), **more)
    specs = plan.trials([cell], {task.id: prepared}, choices)
    assert {spec.demonstrations for spec in specs} == {None}
    return [spec.preferences for spec in specs]


def test_the_usual_number_of_preferences_is_the_tasks() -> None:
    pool = Prepared(available=5, available_preferences=300)
    assert compared(pool) == [registry().task(ROOMS).info.preferences] == [200]
    assert compared(pool, preferences=(10, 300)) == [10, 300]
    assert compared(Prepared(), preferences=(10_000,)) == [10_000]
    # Who takes none is given none.
    assert {spec.preferences for spec in planned(ROOMS, algorithms=("bc",))} == {None}


def test_preferences_that_the_user_brought_are_all_given() -> None:
    brought = Prepared(given={"preferences": "a" * 64}, available_preferences=110)
    assert compared(brought, demos="people") == [None]
    assert compared(brought, demos="people", preferences=(10,)) == [10]


def test_a_data_set_belongs_to_the_trials_that_learn_from_it() -> None:
    both = {"demonstrations": "a" * 64}
    specs = planned(
        ROOMS,
        algorithms=("bc", "random"),
        seeds=(0,),
        demos="mine",
        prepared=Prepared(given=both, available=7),
    )
    found = {s.algorithm: (s.demos, dict(s.given), s.demonstrations) for s in specs}
    assert found == {"bc": ("mine", both, None), "random": (None, {}, None)}


def test_a_data_set_that_nobody_learns_from_is_refused() -> None:
    people = Prepared(given={"preferences": "a" * 64}, available_preferences=110)
    with pytest.raises(UsageError, match="--demos people: no algorithm of this run takes prefer"):
        planned(ROOMS, algorithms=("bc",), demos="people", prepared=people)


def test_more_preferences_than_there_are_are_refused() -> None:
    with pytest.raises(UsageError, match=r"301 preferences .*four-rooms-v0 has 300"):
        compared(Prepared(available_preferences=300), preferences=(10, 301))
    with pytest.raises(UsageError, match=r"200 preferences .*four-rooms-v0 has 50"):
        compared(Prepared(available_preferences=50))


@pytest.mark.parametrize(
    "choice",
    [
        {"seeds": tuple(range(10_000))},
        {"seeds": tuple(range(100)), "demonstrations": tuple(range(1, 101))},
    ],
    ids=["seeds", "configurations"],
)
def test_ten_thousand_trials_are_planned_in_two_seconds(choice: dict[str, Any]) -> None:
    planned(ROOMS, algorithms=("bc",), seeds=(0,))  # what is imported on the way is not counted
    began = time.process_time()
    specs = planned(ROOMS, algorithms=("bc",), **choice)
    assert time.process_time() - began < 2
    assert len({spec.id for spec in specs}) == len(specs) == 10_000
