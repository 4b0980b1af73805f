"""What is averaged over (seeds, nothing else) and the words that tell rows apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from irlbench.reporting.cells import SETTING, VARIANT, cells
from irlbench.reporting.trials import Trial
from irlbench.running.trial import TrialSpec

OTHER = {
    "task": "control/hopper-v0",
    "task_hash": "f" * 64,
    "track": "demonstrations+interaction",
    "budget": {"steps": 1000, "gradient_steps": None, "seconds": 60.0},
    "demonstrations": 7,
    "preferences": 100,
    "demos": "cs285",
    "given": {"demos": "a" * 64},
    "model": "b" * 64,
    "algorithm": "gail",
    "algorithm_version": 2,
    "plugin_hash": "c" * 64,
    "config": {"batch_size": 64},
    "solvers": {"ppo": {"version": 2}},
    "device": "cuda",
    "threads": 4,
}


@pytest.fixture
def trial(record):
    return lambda **spec: Trial(record(**spec).sealed([]), "run", Path("run"))


def test_the_key_is_everything_that_determines_a_trial_but_its_seed():
    fields = set(TrialSpec.__dataclass_fields__)
    # `changed` follows from `config`
    assert {*SETTING, *VARIANT} == fields - {"seed", "changed"} == set(OTHER)


@pytest.mark.parametrize("field", OTHER)
@pytest.mark.parametrize("installed", [True, False])
def test_no_two_values_of_anything_but_the_seed_are_merged(trial, facts, field, installed):
    trials = [trial(seed=seed) for seed in range(3)]
    trials += [trial(seed=seed, **{field: OTHER[field]}) for seed in range(2)]
    found = cells(trials, facts if installed else lambda task: None)
    assert sorted(len(cell.trials) for cell in found) == [2, 3]
    names = {(c.spec["task"], c.spec["track"], c.spec["algorithm"], c.variant) for c in found}
    assert len(names) == 2, "nothing that is shown tells the two rows apart"
    competes = field in VARIANT
    assert (len({cell.setting for cell in found}) == 1) is competes


def test_a_default_row_needs_no_words(trial, facts):
    assert [cell.variant for cell in cells([trial()], facts)] == [""]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {
                "changed": {"learning_rate": 0.01, "hidden": [64, 64]},
                "config": {"learning_rate": 0.01, "hidden": [64, 64]},
            },
            "hidden=[64,64], learning_rate=0.01",
        ),
        ({"demonstrations": 5}, "5 demonstrations"),
        ({"demos": "cs285", "demonstrations": None}, "demos cs285"),
        ({"demos": "cs285", "demonstrations": 1}, "demos cs285, 1 demonstration"),
        ({"preferences": 100, "demonstrations": 1}, "100 preferences"),
        ({"task": "text/arithmetic-v0", "model": "b" * 64}, "model bbbbbbbb"),
        (
            {"budget": {"steps": 100_000, "gradient_steps": 500, "seconds": None}},
            "budget 500 gradient steps and 100k steps",
        ),
        ({"task_hash": "f" * 64}, "task ffffffff"),
    ],
)
def test_says_what_differs_from_the_defaults(trial, facts, spec, words):
    assert [cell.variant for cell in cells([trial(**spec)], facts)] == [words]


def test_the_usual_number_of_preferences_needs_no_words(trial, facts):
    given = {"task": "gridworld/four-rooms-v0", "demonstrations": None}
    usual, fewer = (cells([trial(**given, preferences=n)], facts)[0] for n in (500, 10))
    assert (usual.variant, fewer.variant) == ("", "10 preferences")
    (alone,) = cells([trial(**given, preferences=10)], lambda task: None)
    assert alone.variant == ""


def test_of_a_task_that_is_not_installed_only_differences_are_told(trial):
    (alone,) = cells([trial(demonstrations=5)], lambda task: None)
    assert alone.variant == ""
    both = cells([trial(demonstrations=5), trial(demonstrations=1)], lambda task: None)
    assert {cell.variant for cell in both} == {"5 demonstrations", "1 demonstration"}


def test_a_default_that_changed_without_a_new_version_is_told_apart_all_the_same(trial, facts):
    found = cells([trial(config={"a": 1}), trial(config={"a": 2})], facts)
    assert len({cell.variant for cell in found}) == 2
    assert all(cell.variant.startswith("#") for cell in found)


def test_seeds_are_in_order_whatever_order_they_are_read_in(trial, facts):
    (cell,) = cells([trial(seed=seed) for seed in (10, 2, 0)], facts)
    assert [t.spec["seed"] for t in cell.trials] == [0, 2, 10]
