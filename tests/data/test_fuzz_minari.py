"""Data sets in the cache folder that were damaged, or made to harm: read as written, or refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import strategies as st

from irlbench.data.demonstrations import Episode
from irlbench.data.minari_file import FIELDS, as_episodes, read_episodes
from irlbench.data.minari_store import (
    Recording,
    read_dataset,
    read_summary,
    write_dataset,
)
from irlbench.data.named import list_sets, named
from irlbench.errors import DataError, UsageError
from irlbench.serialisation import sha256_file

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]
SPACES = (spaces.Box(-np.inf, np.inf, (3,), np.float64), spaces.Box(-1, 1, (2,), np.float32))


@pytest.fixture
def folder(tmp_path):
    """A stored data set of two episodes, at its place in a cache folder."""
    generator, episodes, rewards = np.random.default_rng(0), [], []
    for steps in (2, 4):
        last = np.arange(steps) == steps - 1
        actions = generator.uniform(-1, 1, (steps, 2)).astype(np.float32)
        episodes.append(Episode(generator.normal(size=(steps + 1, 3)), actions, last, ~last & last))
        rewards.append(generator.normal(size=steps))
    place = tmp_path / "home" / "data" / "control" / "toy-v0" / "mine"
    recording = Recording(episodes, rewards, *SPACES)
    write_dataset(place, "control/toy-v0/mine", recording, {"demonstrator": "imported"})
    return place


def hash_again(folder):
    """Takes the file as it is now for the one that was written, as somebody malicious would."""
    described = json.loads((folder / "summary.json").read_text())
    described["file_hash"] = sha256_file(folder / "data" / "main_data.hdf5")
    (folder / "summary.json").write_text(json.dumps(described))


def outcome(read):
    """What a reader returns, or what it says, in one line, where it refuses."""
    found, said = None, ""
    try:
        found = read()
    except DataError as error:
        said = str(error)
    assert found is not None or said
    assert "\n" not in said
    assert len(said) < 1000
    return found


@pytest.mark.parametrize("cases", CASES)
def test_damaged_files(fuzz, folder, damaged, cases):
    place = folder / "data" / "main_data.hdf5"
    raw = place.read_bytes()

    def check(data):
        content = damaged(data, raw)
        place.write_bytes(content)
        # Damage is seen before the library opens the file.
        assert (outcome(lambda: read_dataset(folder)) is None) == (content != raw)
        # The library itself, had somebody made the hash fit.
        found = outcome(lambda: read_episodes(place, 2, FIELDS, name="x"))
        if found is not None:
            outcome(lambda: as_episodes(found, name="x"))

    fuzz(cases, check)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 3),
        st.sampled_from([2**63, 10**400, 1e308, -0.5, "", "../..", "x" * 300, "0" * 64, "\x1b[2J"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["return", "clipped", "fraction", "x"]), inner, max_size=2),
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("cases", CASES)
def test_changed_summaries(fuzz, folder, damaged, cases):
    place, home = folder / "summary.json", folder.parents[3]
    raw = place.read_text()

    def check(data):
        if data.draw(st.booleans()):
            place.write_bytes(damaged(data, raw.encode()))
        else:
            described = json.loads(raw)
            for _ in range(data.draw(st.integers(1, 2))):
                inside = data.draw(st.sampled_from([described, described["demonstrator"]]))
                name = data.draw(st.sampled_from([*sorted(inside), "other"]))
                if data.draw(st.booleans()):
                    inside.pop(name, None)
                else:
                    inside[name] = data.draw(VALUES)
                if not isinstance(described.get("demonstrator"), dict):
                    break
            place.write_text(json.dumps(described))
        try:
            summary = named("control/toy-v0", "mine", home).summary
        except UsageError:  # a DataError is one
            return
        # What is shown of it can be shown.
        (entry,) = list_sets(home)
        told = f"{entry.summary.demonstrator['return']:.1f} {summary.steps:,}"
        assert len(told) < 400
        found = outcome(lambda: read_dataset(folder))
        assert found is None or len(found) == summary.episodes

    fuzz(cases, check)


def _elsewhere(tmp_path):
    """A good file of somebody else's."""
    place = tmp_path / "secret.hdf5"
    with h5py.File(place, "w") as file:
        file["x"] = np.arange(12.0).reshape(4, 3)
    return place


def external_link(file, tmp_path):
    del file["episode_1/observations"]
    file["episode_1/observations"] = h5py.ExternalLink(str(_elsewhere(tmp_path)), "/x")


def soft_link(file, tmp_path):
    del file["episode_1"]
    file["episode_1"] = h5py.SoftLink("/episode_0")


def external_storage(file, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(200))
    del file["episode_0/observations"]
    file.create_dataset(
        "episode_0/observations", (3, 3), "f8", external=[(str(tmp_path / "raw"), 0, 72)]
    )


def virtual(file, tmp_path):
    layout = h5py.VirtualLayout((3, 3), "f8")
    layout[:] = h5py.VirtualSource(str(_elsewhere(tmp_path)), "x", (4, 3))[:3]
    del file["episode_0/observations"]
    file.create_virtual_dataset("episode_0/observations", layout)


def nothing_but_a_claim(file, tmp_path):
    del file["episode_0/observations"]
    file.create_dataset("episode_0/observations", (2**50, 3), "f8", chunks=(1024, 3), fillvalue=1)


def compressed(file, tmp_path):
    del file["episode_0/observations"]
    file.create_dataset(
        "episode_0/observations", (2**22, 3), "f8", data=np.zeros((2**22, 3)), compression="gzip"
    )


def text(file, tmp_path):
    del file["episode_0/actions"]
    file["episode_0/actions"] = np.array([b"a", b"b"], dtype=h5py.string_dtype())


def region(file, tmp_path):
    reference = file["episode_0/observations"].regionref[:2]
    del file["episode_0/actions"]
    file.create_dataset("episode_0/actions", (1,), h5py.regionref_dtype)[0] = reference


def no_space(file, tmp_path):
    del file["episode_0/actions"]
    file["episode_0/actions"] = h5py.Empty("f4")


def a_type(file, tmp_path):
    del file["episode_0/actions"]
    file["episode_0/actions"] = np.dtype("f4")


def a_group(file, tmp_path):
    del file["episode_0/actions"]
    file.create_group("episode_0/actions")


def an_array(file, tmp_path):
    del file["episode_0"]
    file["episode_0"] = np.zeros(3)


def not_finite(file, tmp_path):
    file["episode_0/observations"][1, 1] = np.nan


def other_flags(file, tmp_path):
    del file["episode_0/terminations"]
    file["episode_0/terminations"] = np.array([0.0, 0.5])


def one_step_short(file, tmp_path):
    del file["episode_0/actions"]
    file["episode_0/actions"] = np.zeros((1, 2), dtype="f4")


def scalars(file, tmp_path):
    del file["episode_0/terminations"]
    file["episode_0/terminations"] = True


ATTACKS = [
    (external_link, "is a link to elsewhere"),
    (soft_link, "is a link to elsewhere"),
    (external_storage, "lies in other files"),
    (virtual, "lies in other files"),
    (nothing_but_a_claim, "claims 27,021,597,764,222,976 bytes"),
    (compressed, "compressed"),
    (text, "numbers or booleans are needed"),
    (region, "numbers or booleans are needed"),
    (no_space, "numbers or booleans are needed"),
    (a_type, "is a Datatype, not a Dataset"),
    (a_group, "is a Group, not a Dataset"),
    (an_array, "is a Dataset, not a Group"),
    (not_finite, "episode_0/observations': holds NaN"),
    (other_flags, "no flags"),
    (one_step_short, "row 0: field 'actions': an episode of 2 steps needs 2 actions, got 1"),
    (scalars, "bool of shape ()"),
]


@pytest.mark.parametrize(("attack", "said"), ATTACKS, ids=[a.__name__ for a, _ in ATTACKS])
def test_files_made_to_harm(folder, tmp_path, attack, said):
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        attack(file, tmp_path)
    with pytest.raises(DataError, match="is damaged"):
        read_dataset(folder)
    hash_again(folder)
    with pytest.raises(DataError) as caught:
        read_dataset(folder)
    assert str(caught.value).startswith("mine/data/main_data.hdf5")
    assert said in str(caught.value)
    assert "delete its folder" in str(caught.value)


def test_one_array_under_many_names_is_not_read_without_end(folder):
    place = folder / "data" / "main_data.hdf5"
    with h5py.File(place, "a") as file:
        del file["episode_1"], file["episode_0/observations"]
        file["episode_0/observations"] = np.zeros((2**17, 3))
        for i in range(1, 100):
            file[f"episode_{i}"] = file["episode_0"]
    described = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**described, "episodes": 100}))
    hash_again(folder)
    with pytest.raises(DataError, match=r"bytes .* that are not there"):
        read_dataset(folder)


def pipe(place):
    os.mkfifo(place)


def link(place):
    other = place.with_name("other")
    shutil.copy(place.with_name("kept"), other)
    place.symlink_to(other)


@pytest.mark.parametrize("file", ["summary.json", "data/main_data.hdf5"])
@pytest.mark.parametrize(
    ("instead", "said"),
    [(pipe, "is no plain file"), (link, "is a symbolic link"), (os.mkdir, "is no plain file")],
    ids=["pipe", "link", "folder"],
)
def test_other_things_in_place_of_a_file(folder, file, instead, said):
    place = folder / file
    place.rename(place.with_name("kept"))
    instead(place)
    with pytest.raises(DataError, match=said):
        read_dataset(folder)


@pytest.mark.parametrize("name", ["../toy-v0/mine", "/etc", "a/b", ".", ".."])
def test_names_that_lead_elsewhere_find_nothing(folder, name):
    with pytest.raises(UsageError, match="data set of control/toy-v0"):
        named("control/toy-v0", name, folder.parents[3])


def test_damage_is_named_and_not_taken_for_absence(folder):
    home = folder.parents[3]
    (folder / "summary.json").write_text("{")
    assert list_sets(home) == []
    with pytest.raises(DataError, match=r"mine: summary\.json: is no JSON"):
        named("control/toy-v0", "mine", home)


def test_returns_that_cannot_be_averaged_are_refused(folder, tmp_path):
    episodes = read_dataset(folder).episodes
    rewards = [np.full(2, 1.7e308), np.zeros(4)]
    with pytest.raises(DataError, match="too large to be averaged"):
        write_dataset(tmp_path / "a", "w/t-v0/a", Recording(episodes, rewards, *SPACES), {})
    assert not (tmp_path / "a").exists()


CLAIM = """
    import resource, sys
    from pathlib import Path
    from irlbench.data.minari_store import read_dataset
    from irlbench.errors import DataError
    import h5py

    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 64 * 2**20,) * 2)  # less than it sets
    try:
        read_dataset(Path(sys.argv[1]))
    except DataError as error:
        print(error)
"""


@pytest.mark.parametrize("attack", [nothing_but_a_claim, compressed])
def test_bombs_take_no_memory(folder, tmp_path, attack):
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        attack(file, tmp_path)
    hash_again(folder)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLAIM), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert dict(ATTACKS)[attack] in done.stdout


def test_a_summary_of_an_earlier_format_says_what_to_do(folder):
    described = json.loads((folder / "summary.json").read_text())
    del described["file_hash"]
    (folder / "summary.json").write_text(json.dumps({**described, "format": 1}))
    with pytest.raises(DataError, match=r"format 1; .* delete its folder"):
        read_summary(folder)
