"""Data sets that a user asks for, beside those of a task's recipe; and what others can read of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import minari
import numpy as np
import pytest

from irlbench.data.building import BuildRequest
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.data.exporting import export_minari
from irlbench.data.importing import import_set
from irlbench.data.minari_store import (
    DatasetSummary,
    content_hash,
    read_dataset,
    read_rewards,
    read_summary,
)
from irlbench.data.named import list_sets, named
from irlbench.data.preference_store import PreferenceSummary, read_preferences
from irlbench.envs.control.behaviours import SHARES
from irlbench.envs.control.rollouts import run_episodes
from irlbench.envs.control.task import SEEDS
from irlbench.envs.control.tasks import CARTPOLE
from irlbench.envs.gridworld.tasks import FOUR_ROOMS
from irlbench.errors import DataError, UnknownNameError, UsageError
from irlbench.task import ProblemRequest, TaskOptions

FEW = BuildRequest(name="few", demonstrations=3, seed=4)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A cache folder with what CartPole supplies, demonstrations and preferences by name."""
    home = tmp_path_factory.mktemp("full")
    CARTPOLE.prepare(TaskOptions(), home)
    CARTPOLE.build(replace(FEW, subsample=20), home)
    CARTPOLE.build(BuildRequest(name="judged", preferences=12, segment=40), home)
    return home


def ask(home, *needs, demos, demonstrations=None, preferences=None):
    request = ProblemRequest(
        0,
        frozenset(needs),
        "demonstrations",
        demonstrations,
        preferences,
        options=TaskOptions(demos=demos),
    )
    return CARTPOLE.problem(request, home)


# --- subsampled episodes


def walk(steps):
    last = np.arange(steps) == steps - 1
    return Episode(np.arange(steps + 1) * 10, np.arange(steps), last, ~last & last)


def test_kept_steps_keep_what_they_truly_led_to():
    kept = walk(7).subsampled(3)
    assert kept.actions.tolist() == [0, 3, 6]
    assert kept.observations.tolist() == [0, 30, 60, 70]
    assert kept.next_observations.tolist() == [10, 40, 70]
    assert kept.terminations.tolist() == [False, False, True], "its last step is the episode's"
    assert walk(8).subsampled(3).terminations.tolist() == [False, False, False]
    steps = Demonstrations((kept, walk(2))).transitions()
    assert steps.observations.tolist() == [0, 30, 60, 0, 10]
    assert steps.next_observations.tolist() == [10, 40, 70, 10, 20]
    assert Demonstrations((kept,)).transitions(2).next_observations.tolist() == [10, 70]
    twice = walk(13).subsampled(2).subsampled(3)
    assert twice.next_observations.tolist() == walk(13).subsampled(6).next_observations.tolist()
    assert kept.segment(1, 3).next_observations.tolist() == [40, 70]
    assert walk(7).subsampled(1).next_observations.tolist() == walk(7).observations[1:].tolist()
    with pytest.raises(DataError, match="3 steps, but 2 led anywhere"):
        replace(kept, following=np.zeros(2))


def test_a_subsampled_set_gives_its_steps_and_no_others(home):
    whole, every = CARTPOLE.build(FEW, home), replace(FEW, name="every", subsample=20)
    summary = CARTPOLE.build(every, home)
    assert isinstance(summary, DatasetSummary) and isinstance(whole, DatasetSummary)
    assert (whole.steps, summary.steps) == (1500, 75)
    # Who demonstrated is judged by whole episodes.
    assert summary.demonstrator == whole.demonstrator
    assert summary.content_hash != whole.content_hash, "it is part of a trial's id"
    given = read_dataset(named(CARTPOLE.id, "every", home).folder)
    entire = read_dataset(named(CARTPOLE.id, "few", home).folder)
    kept, all_steps = given.transitions(), entire.transitions(20)
    for name in ("observations", "actions", "next_observations", "terminations"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(all_steps, name))
    assert given.steps == sum(len(episode.observations) - 1 for episode in given)
    assert content_hash(CARTPOLE._recorded._demonstrate(), 2) != content_hash(
        CARTPOLE._recorded._demonstrate(), 3
    )


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True])
def test_a_summary_whose_subsample_cannot_be(home, value):
    CARTPOLE.build(replace(FEW, subsample=20), home)
    path = named(CARTPOLE.id, "few", home).folder / "summary.json"
    described = json.loads(path.read_text())
    described["recipe"]["subsample"] = value
    path.write_text(json.dumps(described))
    with pytest.raises(DataError, match="field 'recipe'"):
        read_summary(path.parent)


# --- building


def test_demonstrations_are_the_experts_at_seeds_of_their_own(home):
    summary = CARTPOLE.build(FEW, home)
    assert isinstance(summary, DatasetSummary)
    assert summary.demonstrator["return"] == 500 and summary.recipe["demonstrator"] == "expert"
    first = summary.recipe["demonstrations"]["seed"]
    other = CARTPOLE.build(replace(FEW, seed=5, name="five"), home)
    assert abs(other.recipe["demonstrations"]["seed"] - first) >= 10**6
    assert min(abs(first - seed) for seed in SEEDS.values()) >= 10**6
    alone = run_episodes(
        "CartPole-v1", CARTPOLE.expert(), range(first, first + 3), deterministic=True, horizon=500,
        record=True,
    )  # fmt: skip
    assert alone.recording is not None
    stored = read_dataset(named(CARTPOLE.id, "few", home).folder)
    for mine, theirs in zip(stored, alone.recording.episodes, strict=True):
        np.testing.assert_array_equal(mine.observations, theirs.observations)
    assert {summary.content_hash} < {other.content_hash, summary.content_hash}


def test_mixed_episodes_take_turns(home):
    summary = CARTPOLE.build(replace(FEW, demonstrations=8, mixed=True), home)
    lengths = [len(episode) for episode in read_dataset(named(CARTPOLE.id, "few", home).folder)]
    assert lengths[0] == lengths[4] == 500, "the expert's"
    assert max(lengths[3], lengths[7]) < 200, "those of chance"
    assert summary.recipe["demonstrator"] == "mixture"
    assert summary.recipe["demonstrations"]["random_actions"] == list(SHARES)


def test_preferences_of_any_number_and_length(home):
    asked = BuildRequest(name="judged", preferences=24, segment=40, seed=1)
    summary = CARTPOLE.build(asked, home)
    assert isinstance(summary, PreferenceSummary)
    found = read_preferences(named(CARTPOLE.id, "judged", home).folder)
    lengths = found.pairs().mask.sum(axis=2)
    assert len(found) == 24 and lengths.max() == 40
    np.testing.assert_array_equal(
        found.pairs().first_preferred, (1 + np.sign(lengths[:, 0] - lengths[:, 1])) / 2
    )
    # No segment of a behaviour that has enough of them is there twice.
    items = [item.observations.tobytes() for one in found for item in one.items]
    assert len(set(items)) == len(items)


def test_the_same_again_is_not_recorded_again_and_another_is_refused(home, monkeypatch):
    first = CARTPOLE.build(FEW, home)
    monkeypatch.setattr(CARTPOLE, "_assets", home)  # no expert there
    assert CARTPOLE.build(FEW, home) == first
    monkeypatch.undo()
    with pytest.raises(DataError, match="other demonstrations are already stored under"):
        CARTPOLE.build(replace(FEW, demonstrations=2), home)
    with pytest.raises(UsageError, match="has demonstrations of that name"):
        CARTPOLE.build(BuildRequest(name="few", preferences=2), home)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "--demonstrations N or --preferences N"),
        ({"demonstrations": 1, "preferences": 1}, "a set holds one kind"),
        ({"demonstrations": 0}, "--demonstrations must be 1 to 100000, got 0"),
        ({"preferences": 10**6}, "--preferences must be 1 to 100000, got 1000000"),
        ({"demonstrations": 1, "subsample": 0}, "--subsample must be 1 to"),
        ({"demonstrations": 1, "seed": -1}, "--seed must be 0 to 99999, got -1"),
        ({"preferences": 1, "segment": 0}, "--segment must be 1 to"),
        ({"preferences": 1, "mixed": True}, "--mixed and --subsample are of demonstrations"),
        ({"preferences": 1, "subsample": 2}, "--mixed and --subsample are of demonstrations"),
        ({"demonstrations": 1, "segment": 5}, "--segment is of preferences"),
        ({"demonstrations": 1, "name": "expert"}, "--name 'expert' cannot be used"),
        ({"demonstrations": 1, "name": "built-1"}, "--name 'built-1' cannot be used"),
        ({"demonstrations": 1, "name": "../x"}, "--name '../x' cannot be used"),
    ],
)
def test_what_cannot_be_asked_for(wrong, said):
    with pytest.raises(UsageError, match=said):
        BuildRequest(**{"name": "x", **wrong})


def test_worlds_that_make_none_say_so(home):
    with pytest.raises(UsageError, match="four-rooms-v0 makes no data sets beside its own"):
        FOUR_ROOMS.build(FEW, home)


# --- learning from them


def test_named_sets_replace_the_tasks_own(full):
    prepared = CARTPOLE.prepare(TaskOptions(demos="few"), full)
    assert prepared.available == 3 and prepared.available_preferences == 800
    assert set(prepared.given) == {"demonstrations"}
    assert prepared.anchors["demonstrator"]["return"] == 500
    problem = ask(full, "demonstrations", "preferences", demos="few")
    assert problem.demonstrations.steps == 75 and len(problem.preferences) == 800
    prepared = CARTPOLE.prepare(TaskOptions(demos="judged"), full)
    assert prepared.available == 50 and prepared.available_preferences == 12
    assert set(prepared.given) == {"preferences"} and not prepared.anchors
    problem = ask(full, "demonstrations", "preferences", demos="judged")
    assert len(problem.preferences) == 12 and len(problem.demonstrations) == 50


# --- exporting


def test_what_is_exported_loads_with_minari(full, tmp_path, monkeypatch):
    import gymnasium

    id, summary = export_minari(
        CARTPOLE.id, "few", tmp_path / "sets", full, gymnasium.spec("CartPole-v1")
    )
    assert id == "irlbench/cartpole-v0/few-v0" and summary.subsample == 20
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    loaded = minari.load_dataset(id)
    folder = named(CARTPOLE.id, "few", full).folder
    rewards = read_rewards(folder)
    assert len(loaded) == 3 and loaded.total_steps == 1500, "whole episodes"
    kept = read_dataset(folder)
    for theirs, ours, earned in zip(loaded, kept, rewards, strict=True):
        np.testing.assert_array_equal(theirs.observations[:-1][::20], ours.observations[:-1])
        np.testing.assert_array_equal(theirs.rewards, earned)
    env = loaded.recover_environment()
    assert env.observation_space == loaded.observation_space
    assert env.spec is not None and env.spec.id == "CartPole-v1"
    env.close()
    # And it comes back as it was, in a process that has heard of nothing.
    done = subprocess.run(
        [sys.executable, "-c", f"import minari; print(len(minari.load_dataset({id!r})))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["3"]
    back = import_set(id, CARTPOLE, name="back", home=full)
    assert back.steps == 1500


def test_exports_that_cannot_be(full, tmp_path):
    spec = None
    with pytest.raises(UsageError, match=r"'judged' of .* holds preferences"):
        export_minari(CARTPOLE.id, "judged", tmp_path, full, spec)
    with pytest.raises(UnknownNameError, match="'fewer'; did you mean 'few'"):
        export_minari(CARTPOLE.id, "fewer", tmp_path, full, spec)
    export_minari(CARTPOLE.id, "expert", tmp_path, full, spec)
    with pytest.raises(DataError, match=r"there is a data set in .*expert-v0 already"):
        export_minari(CARTPOLE.id, "expert", tmp_path, full, spec)


def test_a_damaged_set_is_not_exported_and_nothing_is_left(home, tmp_path):
    CARTPOLE.build(FEW, home)
    (entry,) = list_sets(home, CARTPOLE.id)
    path = entry.folder / "data" / "main_data.hdf5"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="few: is damaged"):
        export_minari(CARTPOLE.id, "few", tmp_path / "sets", home, None)
    assert not [found for found in (tmp_path / "sets").rglob("*") if Path(found).is_file()]
