"""Data sets on disk: what is written is read back, whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces

from irlbench.data import minari_store
from irlbench.data.demonstrations import Episode
from irlbench.data.minari_store import (
    Recording,
    built_folder,
    content_hash,
    datasets_in,
    ensure_dataset,
    read_dataset,
    read_rewards,
    read_summary,
    write_dataset,
)
from irlbench.errors import DataError
from irlbench.serialisation import sha256_file

TABULAR = (spaces.Discrete(5), spaces.Discrete(3))
BOXES = (
    spaces.Box(-np.inf, np.inf, (4,), np.float64),
    spaces.Box(-1, 1, (2,), np.float32),
)
MIXED = (spaces.Box(-np.inf, np.inf, (4,), np.float32), spaces.Discrete(2))


def _values(space, count, rng):
    if isinstance(space, spaces.Discrete):
        return rng.integers(space.n, size=count)
    return rng.uniform(-1, 1, size=(count, *space.shape)).astype(space.dtype)


def recording(both=TABULAR, lengths=(3, 7, 1), seed=0):
    rng = np.random.default_rng(seed)
    episodes, rewards = [], []
    for i, steps in enumerate(lengths):
        last = np.arange(steps) == steps - 1
        episodes.append(
            Episode(
                _values(both[0], steps + 1, rng),
                _values(both[1], steps, rng),
                last & (i % 2 == 0),
                last & (i % 2 == 1),
            )
        )
        rewards.append(rng.normal(size=steps))
    return Recording(episodes, rewards, *both)


def hash_again(folder):
    """Takes the file as it is now for the one that was written."""
    described = json.loads((folder / "summary.json").read_text())
    described["file_hash"] = sha256_file(folder / "data" / "main_data.hdf5")
    (folder / "summary.json").write_text(json.dumps(described))


@pytest.mark.parametrize("both", [TABULAR, BOXES, MIXED], ids=["tabular", "boxes", "mixed"])
def test_what_is_written_is_read_back(tmp_path, both):
    written = recording(both)
    write_dataset(tmp_path / "a", "world/task-v0/a", written, {"made": "here"})
    demonstrations = read_dataset(tmp_path / "a")
    assert len(demonstrations) == 3
    for one, other in zip(demonstrations, written.episodes, strict=True):
        for name in ("observations", "actions", "terminations", "truncations"):
            got, wanted = getattr(one, name), getattr(other, name)
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)
    for got, wanted in zip(read_rewards(tmp_path / "a"), written.rewards, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("both", [TABULAR, BOXES, MIXED], ids=["tabular", "boxes", "mixed"])
def test_minari_opens_it(tmp_path, both):
    written = recording(both)
    write_dataset(tmp_path / "a", "world/task-v0/a", written, {})
    dataset = minari.MinariDataset(tmp_path / "a" / "data")
    assert dataset.total_episodes == 3
    assert dataset.total_steps == 11
    assert (dataset.observation_space, dataset.action_space) == both
    np.testing.assert_array_equal(dataset[1].rewards, written.rewards[1])
    np.testing.assert_array_equal(dataset[1].observations, written.episodes[1].observations)
    assert "total_steps=7" in repr(dataset[1])
    assert len(read_dataset(tmp_path / "a")) == 3  # to open it changes nothing


def test_reading_demonstrations_needs_no_rewards(tmp_path):
    written = recording()
    write_dataset(tmp_path / "a", "world/task-v0/a", written, {})
    with h5py.File(tmp_path / "a" / "data" / "main_data.hdf5", "a") as file:
        for group in file.values():
            del group["rewards"]
    hash_again(tmp_path / "a")
    read = read_dataset(tmp_path / "a")
    np.testing.assert_array_equal(read[1].observations, written.episodes[1].observations)


def test_summary_holds_the_demonstrators_return(tmp_path):
    episodes = recording(lengths=(2, 2)).episodes
    rewards = [np.array([1.0, 2.0]), np.array([3.0, 4.0])]
    summary = write_dataset(
        tmp_path / "a", "world/task-v0/a", Recording(episodes, rewards, *TABULAR), {"k": 1}
    )
    assert summary == read_summary(tmp_path / "a")
    # Returns 3 and 7: mean 5, standard deviation sqrt(8), error sqrt(8)/sqrt(2) = 2.
    assert summary.demonstrator["return"] == 5
    assert summary.demonstrator["return_error"] == pytest.approx(2)
    assert summary.demonstrator["length"] == 2
    assert (summary.episodes, summary.steps, summary.recipe) == (2, 4, {"k": 1})


def test_one_episode_has_no_standard_error(tmp_path):
    written = recording(lengths=(4,))
    summary = write_dataset(tmp_path / "a", "world/task-v0/a", written, {})
    assert "return_error" not in summary.demonstrator


def test_content_hash_is_of_the_arrays(tmp_path):
    first = write_dataset(tmp_path / "a", "world/task-v0/a", recording(), {})
    second = write_dataset(tmp_path / "b", "world/task-v0/b", recording(), {"other": "recipe"})
    assert first.content_hash == second.content_hash
    read = read_dataset(tmp_path / "a")
    again = Recording(read.episodes, read_rewards(tmp_path / "a"), *TABULAR)
    assert content_hash(again) == first.content_hash


def test_content_hash_sees_every_array():
    base = recording(BOXES, lengths=(3, 3))
    seen = {content_hash(base)}
    for name in ("observations", "actions", "terminations", "truncations"):
        episode = base.episodes[1]
        arrays = {
            k: np.array(getattr(episode, k))
            for k in ("observations", "actions", "terminations", "truncations")
        }
        arrays[name].reshape(-1)[-1] = 1 - arrays[name].reshape(-1)[-1]
        changed = Recording([base.episodes[0], Episode(**arrays)], base.rewards, *BOXES)
        seen.add(content_hash(changed))
    seen.add(content_hash(Recording(base.episodes, [base.rewards[0], -base.rewards[1]], *BOXES)))
    seen.add(content_hash(Recording(base.episodes[::-1], base.rewards[::-1], *BOXES)))
    assert len(seen) == 7


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(minari_store, "write_text_atomic", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        write_dataset(tmp_path / "a", "world/task-v0/a", recording(), {})
    assert list(tmp_path.iterdir()) == []


def test_the_first_publication_wins(tmp_path):
    first = write_dataset(tmp_path / "a", "world/task-v0/a", recording(), {"by": "first"})
    same = write_dataset(tmp_path / "a", "world/task-v0/a", recording(), {"by": "second"})
    assert same == first
    with pytest.raises(DataError, match=r"already stored.*choose another name"):
        write_dataset(tmp_path / "a", "world/task-v0/a", recording(seed=1), {})
    assert read_summary(tmp_path / "a") == first
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: Recording([], [], *TABULAR), "no episodes"),
        (lambda r: Recording(r.episodes, r.rewards[:2], *TABULAR), "3 episodes, but 2 rewards"),
        (
            lambda r: Recording(r.episodes, [r.rewards[0], r.rewards[0], r.rewards[2]], *TABULAR),
            r"row 1: 7 steps, but rewards of shape \(3,\)",
        ),
    ],
)
def test_a_recording_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        change(recording())


def test_a_missing_data_set_is_named(tmp_path):
    with pytest.raises(DataError, match=r"summary\.json"):
        read_dataset(tmp_path / "nothing")


def test_a_newer_format_is_refused(tmp_path):
    write_dataset(tmp_path / "a", "world/task-v0/a", recording(), {})
    place = tmp_path / "a" / "summary.json"
    place.write_text(place.read_text().replace('"format":2', '"format":3'))
    with pytest.raises(DataError, match="format 3; this version reads format 2"):
        read_dataset(tmp_path / "a")
    assert datasets_in(tmp_path) == []


def test_a_damaged_file_is_named(tmp_path):
    write_dataset(tmp_path / "a", "world/task-v0/a", recording(), {})
    place = tmp_path / "a" / "data" / "main_data.hdf5"
    place.write_bytes(place.read_bytes()[:100])
    with pytest.raises(DataError, match=r"a/data/main_data\.hdf5: is damaged"):
        read_dataset(tmp_path / "a")
    hash_again(tmp_path / "a")
    with pytest.raises(DataError, match=r"a/data/main_data\.hdf5: cannot be read"):
        read_dataset(tmp_path / "a")


def test_a_recipe_has_a_place_of_its_own(tmp_path):
    one = built_folder(tmp_path, "world/task-v0/expert", {"count": 1})
    other = built_folder(tmp_path, "world/task-v0/expert", {"count": 2})
    assert one != other
    assert one == built_folder(tmp_path, "world/task-v0/expert", {"count": 1})


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2, "unknown": 1}', "[" * 99])
def test_a_damaged_summary_of_built_data_is_built_again(tmp_path, text):
    recipe = {"count": 3}
    folder, whole = ensure_dataset(tmp_path, "world/task-v0/expert", recipe, recording)
    (folder / "summary.json").write_text(text)
    assert ensure_dataset(tmp_path, "world/task-v0/expert", recipe, recording) == (folder, whole)
    read_dataset(folder)


def _build(home, marks):
    def build():
        with marks.open("a") as stream:
            stream.write("built\n")
        time.sleep(1.0)  # long enough for the others to arrive
        return recording()

    ensure_dataset(home, "world/task-v0/expert", {"count": 3}, build)


def test_processes_that_want_the_same_data_build_it_once(tmp_path):
    marks = tmp_path / "marks"
    # This file is run by its path: what else may be imported from here is nobody's business.
    code = (
        "import pathlib, runpy, sys\n"
        "test, home, marks = map(pathlib.Path, sys.argv[1:])\n"
        "runpy.run_path(str(test))['_build'](home, marks)\n"
    )
    command = [sys.executable, "-c", code, __file__, str(tmp_path), str(marks)]
    others = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=120) for process in others] == [0, 0, 0]
    assert marks.read_text() == "built\n"
    folder = built_folder(tmp_path, "world/task-v0/expert", {"count": 3})
    assert [found[0] for found in datasets_in(tmp_path / "data")] == [folder]
