"""Demonstrations from Minari and from the imitation package, preferences from annotators."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import minari
import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces
from hypothesis import strategies as st
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from irlbench.data.importing import import_set
from irlbench.data.minari_store import read_dataset, read_rewards
from irlbench.data.named import named
from irlbench.data.preference_store import read_preferences
from irlbench.errors import DataError, UsageError

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]
PEOPLE = Path(__file__).parents[3] / "shared" / "data" / "human-preferences"


class ToyTask:
    """What importing asks of a task."""

    def __init__(self, task_id="control/toy-v0", actions=None, horizon=10, width=3):
        self.id, self.info = task_id, SimpleNamespace(horizon=horizon)
        self._actions = actions or spaces.Box(-1, 1, (2,), np.float32)
        self._width = width

    def spaces(self):
        return spaces.Box(-np.inf, np.inf, (self._width,), np.float64), self._actions


def trajectory(steps, seed=0):
    rng = np.random.default_rng([seed, steps])
    return {
        "obs": rng.normal(size=(steps + 1, 3)),
        "acts": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        "rews": rng.normal(size=steps),
        "terminal": steps % 2 == 0,
    }


def save_trajectories(folder, trajectories, *, files=1, without=(), **columns):
    """Writes what imitation's `serialize.save` writes (of its columns, `infos` is jsonpickle)."""
    folder.mkdir(exist_ok=True)
    names, share = [], -(-len(trajectories) // files)
    for place in range(files):
        rows = trajectories[place * share : (place + 1) * share]
        table = {name: [np.asarray(row[name]).tolist() for row in rows] for name in rows[0]}
        table["infos"] = [['{"py/object": "os.system"}'] * len(row["acts"]) for row in rows]
        table |= columns
        kinds = {
            "obs": pa.list_(pa.list_(pa.float64())),
            "acts": pa.list_(pa.list_(pa.float32())),
            "rews": pa.list_(pa.float64()),
        }
        kinds = {name: kind for name, kind in kinds.items() if name not in columns}
        arrays = {
            name: values if isinstance(values, pa.Array) else pa.array(values, kinds.get(name))
            for name, values in table.items()
            if name not in without
        }
        names.append(f"data-{place:05}-of-{files:05}.arrow")
        batch = pa.record_batch(arrays)
        with (
            pa.OSFile(str(folder / names[-1]), "wb") as sink,
            pa.ipc.new_stream(sink, batch.schema) as writer,
        ):
            writer.write_batch(batch)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0"}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def bring(source, tmp_path, task=None, **options):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return import_set(source, task or ToyTask(), home=home, **{"name": "mine", **options})


def stored(tmp_path, name="mine"):
    return named("control/toy-v0", name, tmp_path / "home").folder


def nothing_is_left(tmp_path):
    data = tmp_path / "home" / "data"
    return not data.exists() or not [path for path in data.rglob("*") if path.is_file()]


# --- imitation


@pytest.mark.parametrize("files", [1, 2])
def test_trajectories_of_imitation(tmp_path, files):
    given = [trajectory(4), trajectory(7), trajectory(1)]
    summary = bring(save_trajectories(tmp_path / "theirs", given, files=files), tmp_path)
    assert summary.recipe["source"]["file"] == "theirs"
    found = read_dataset(stored(tmp_path))
    assert len(found) == 3
    for episode, one in zip(found, given, strict=True):
        np.testing.assert_array_equal(episode.observations, one["obs"])
        np.testing.assert_array_equal(episode.actions, one["acts"])
        # What did not end was cut.
        assert episode.terminations[-1] == one["terminal"] != episode.truncations[-1]
        assert not (episode.terminations | episode.truncations)[:-1].any()
    for rewards, one in zip(read_rewards(stored(tmp_path)), given, strict=True):
        np.testing.assert_array_equal(rewards, one["rews"])


def test_discrete_actions_of_imitation(tmp_path):
    rows = [{**trajectory(3), "acts": np.array([0, 1, 1])}]
    folder = save_trajectories(tmp_path / "theirs", rows, acts=[[0, 1, 1]])
    task = ToyTask(actions=spaces.Discrete(2))
    assert bring(folder, tmp_path, task).steps == 3


def test_what_is_pickled_is_not_even_loaded(tmp_path):
    """Their infos may be anything: of a type that holds no number, or not there at all."""
    bring(save_trajectories(tmp_path / "a", [trajectory(3)], infos=[{"a": b"\x80"}]), tmp_path)
    bring(save_trajectories(tmp_path / "b", [trajectory(3)], without=("infos",)), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"without": ("rews",)}, "field 'rews': is missing: results are measured against"),
        ({"without": ("obs",)}, "field 'obs': is missing"),
        ({"obs": [[[1.0, 2.0, 3.0], [1.0]]]}, "field 'obs', row 0: holds lists of unequal length"),
        ({"obs": [[[1.0, 2.0, None]] * 4]}, "field 'obs', row 0: holds gaps: numbers are needed"),
        ({"obs": [None]}, "field 'obs', row 0: holds nothing here"),
        ({"obs": [["x"] * 4]}, "field 'obs', row 0: holds string: numbers are needed"),
        ({"obs": [[[1.0, 2.0]] * 4]}, r"'obs\[0\]': has shape \(4, 2\), expected \(4, 3\)"),
        ({"obs": [[[1.0, 2.0, float("nan")]] * 4]}, r"'obs\[0\]', row 0: holds nan"),
        (
            {"acts": pa.array([[]], pa.list_(pa.list_(pa.float32())))},
            r"'acts\[0\]': holds no steps",
        ),
        ({"acts": [[[0.0, 3.0]] * 3]}, r"3 of 6 action components lie outside \[-1, 1\]; .* is 3 "),
        ({"terminal": [2.0]}, "'terminal', row 0: holds float64: true or false"),
        ({"rews": [[1.0]]}, r"'rews\[0\]', row 1: has shape \(1,\), expected \(3,\)"),
    ],
)
def test_trajectories_that_cannot_be_used(tmp_path, changes, said):
    folder = save_trajectories(tmp_path / "theirs", [trajectory(3)], **changes)
    with pytest.raises(DataError, match=said):
        bring(folder, tmp_path)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "lists no files"),
        ({"_data_files": []}, "lists no files"),
        (
            {"_data_files": [{"filename": "../theirs/x.arrow"}]},
            "names the file '../theirs/x.arrow'",
        ),
        ({"_data_files": [{"filename": "/etc/passwd"}]}, "names the file '/etc/passwd'"),
        ({"_data_files": ["x"]}, "names the file None"),
        ({"_data_files": [{"filename": "x" * 256}]}, "names the file 'x{79}$"),
        ({"_data_files": [{"filename": "none.arrow"}]}, "none.arrow: cannot be read: No such file"),
        ({"_data_files": [{"filename": "state.json"}]}, "state.json: cannot be read"),
        (
            {"_data_files": [{"filename": "x"}], "_indices_data_files": [{"filename": "i"}]},
            "a selection of rows",
        ),
    ],
)
def test_states_that_lead_elsewhere(tmp_path, state, said):
    folder = save_trajectories(tmp_path / "theirs", [trajectory(3)])
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match=said):
        bring(folder, tmp_path)


@pytest.mark.parametrize("cases", CASES)
def test_damaged_trajectories_are_read_or_refused(fuzz, damaged, altered, tmp_path, cases):
    folder = save_trajectories(tmp_path / "theirs", [trajectory(4), trajectory(3)], files=2)
    files = sorted(folder.iterdir())
    raw = {file: file.read_bytes() for file in files}

    def check(data):
        for file, content in raw.items():
            file.write_bytes(content)
        chosen = data.draw(st.sampled_from(files))
        if chosen.name == "state.json" and data.draw(st.booleans()):
            state = altered(data, json.loads(raw[chosen]))
            chosen.write_text(json.dumps(state), encoding="utf-8", errors="replace")
        else:
            chosen.write_bytes(damaged(data, raw[chosen]))
        refused_or_whole(folder, tmp_path)

    fuzz(cases, check)


def refused_or_whole(source, tmp_path):
    """Imports under a name of its own: nothing but a `DataError` of one line, or whole data."""
    name = f"n{len(list(tmp_path.glob('home/data/control/toy-v0/n*')))}"
    said, summary = "", None
    try:
        summary = bring(source, tmp_path, name=name)
    except DataError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1000
    assert (tmp_path / "home" / "data" / "control" / "toy-v0" / name).exists() == (not said)
    assert said or (summary is not None and summary.steps > 0)


# --- Minari


def save_minari(folder, episodes, **metadata):
    both = ToyTask().spaces()
    folder.mkdir(parents=True, exist_ok=True)
    storage = MinariStorage.new(folder / "data", *both)
    storage.update_metadata({"dataset_id": "toy/mine-v0", "minari_version": minari.__version__})
    storage.update_episodes(
        EpisodeBuffer(
            observations=one["obs"],
            actions=one["acts"],
            rewards=one["rews"],
            terminations=np.arange(len(one["acts"])) == len(one["acts"]) - 1,
            truncations=np.zeros(len(one["acts"]), bool),
            infos={"reward_forward": np.zeros(len(one["acts"]) + 1)},
        )
        for one in episodes
    )
    path = folder / "data" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **metadata}))
    return folder


@pytest.mark.parametrize("named_by", ["folder", "data", "id"])
def test_minari_sets(tmp_path, monkeypatch, named_by):
    root = tmp_path / "minari"
    given = [trajectory(4), trajectory(7)]
    folder = save_minari(root / "toy" / "mine-v0", given)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    source = {"folder": folder, "data": folder / "data", "id": "toy/mine-v0"}[named_by]
    summary = bring(source, tmp_path)
    assert summary.demonstrator["return"] == pytest.approx(
        np.mean([one["rews"].sum() for one in given])
    )
    for episode, one in zip(read_dataset(stored(tmp_path)), given, strict=True):
        np.testing.assert_array_equal(episode.observations, one["obs"])
        assert episode.terminations[-1] and not episode.truncations.any()


def test_a_minari_id_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "none"))
    with pytest.raises(DataError, match="`minari download mujoco/hopper/expert-v0`"):
        bring("mujoco/hopper/expert-v0", tmp_path)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"data_format": "arrow"}, "names the format 'arrow': Minari sets are read from hdf5"),
        ({"total_episodes": 0}, "field 'total_episodes': is 0"),
        ({"total_episodes": "2"}, "field 'total_episodes': is '2'"),
        ({"total_episodes": 3}, "main_data.hdf5: holds no //episode_2; copy or download"),
    ],
)
def test_minari_sets_that_cannot_be_used(tmp_path, metadata, said):
    folder = save_minari(tmp_path / "theirs", [trajectory(4), trajectory(3)], **metadata)
    with pytest.raises(DataError, match=said):
        bring(folder, tmp_path)
    assert nothing_is_left(tmp_path)


def test_minari_sets_that_lead_elsewhere(tmp_path):
    folder = save_minari(tmp_path / "theirs", [trajectory(4)])
    with h5py.File(tmp_path / "secret.hdf5", "w") as file:
        file["x"] = np.zeros((5, 3))
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/observations"]
        file["episode_0/observations"] = h5py.ExternalLink(str(tmp_path / "secret.hdf5"), "/x")
    with pytest.raises(DataError, match="is a link to elsewhere; copy or download"):
        bring(folder, tmp_path)


def test_a_folder_of_neither(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds neither a Minari data set"):
        bring(tmp_path / "empty", tmp_path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        bring(tmp_path / "nowhere.npz", tmp_path)


# --- preferences


def pairs(count=4, length=5):
    rng = np.random.default_rng(0)
    fields = {f"obs_{i}": rng.normal(size=(count, length, 3)) for i in (1, 2)}
    fields |= {f"action_{i}": rng.uniform(-1, 1, (count, length, 2)) for i in (1, 2)}
    return {**fields, "label": np.array([0.0, 1.0, 0.5, 1.0])[:count]}


def save_pairs(tmp_path, **changes):
    fields = {**pairs(), **changes}
    path = tmp_path / "people.npz"
    np.savez(path, **{name: value for name, value in fields.items() if value is not None})
    return path


def test_preferences_of_annotators(tmp_path):
    summary = bring(save_pairs(tmp_path), tmp_path)
    assert (summary.comparisons, summary.ties, summary.annotators) == (4, 1, ["mine"])
    given, found = pairs(), read_preferences(stored(tmp_path))
    assert [one.ranks for one in found] == [(0, 1), (1, 0), (0, 0), (1, 0)]
    np.testing.assert_array_equal(found.pairs().first_preferred, [1, 0, 0.5, 0])
    for row, one in enumerate(found):
        for which, item in enumerate(one.items, 1):
            # What the last action led to was not recorded.
            assert len(item) == 4
            np.testing.assert_array_equal(item.observations, given[f"obs_{which}"][row])
            assert item.actions is not None
            np.testing.assert_allclose(item.actions, given[f"action_{which}"][row][:4], rtol=1e-6)
            assert not (item.terminations | item.truncations).any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": None}, "field 'label': is missing"),
        ({"obs_2": None}, "field 'obs_2': is missing"),
        ({"label": np.array([0.0, 1.0, 0.25, 1.0])}, "'label', row 2: is 0.25, not 0 .the first"),
        ({"label": np.array([0.0, np.nan, 0.0, 1.0])}, "'label', row 1: is nan"),
        ({"label": np.zeros((4, 2))}, r"'label': has shape \(4, 2\), but obs_1 has \(4, 5, 3\)"),
        ({"obs_2": np.zeros((4, 6, 3))}, r"'obs_2': has shape \(4, 6, 3\), but obs_1 has"),
        ({"action_1": np.zeros((3, 5, 2))}, r"'action_1': has shape \(3, 5, 2\)"),
        ({"obs_1": np.zeros(4)}, r"'obs_1': has shape \(4,\), expected \[pairs, length"),
        ({"obs_1": np.zeros((0, 5, 3))}, r"'obs_1': has shape \(0, 5, 3\)"),
        ({"obs_2": np.full((4, 5, 3), np.inf)}, r"'obs_2\[0\]', row 0: holds inf"),
        (
            {"action_2": np.full((4, 5, 2), -1.5)},
            r"32 of 64 action components .* is -1.5 in row 0 of",
        ),
    ],
)
def test_preferences_that_cannot_be_used(tmp_path, changes, said):
    with pytest.raises(DataError, match=said):
        bring(save_pairs(tmp_path, **changes), tmp_path)
    assert nothing_is_left(tmp_path)


def test_preferences_of_other_spaces(tmp_path):
    with pytest.raises(DataError, match=r"'obs_1\[0\]': has shape \(5, 3\), expected \(5, 8\)"):
        bring(save_pairs(tmp_path), tmp_path, ToyTask(width=8))


def test_their_actions_are_clipped_when_asked(tmp_path):
    path = save_pairs(tmp_path, action_2=np.full((4, 5, 2), -1.5))
    summary = bring(path, tmp_path, clip_actions=True)
    assert summary.recipe["clipped"] == {"components": 32, "fraction": 0.5, "worst": -1.5}


def test_one_name_is_of_one_kind(tmp_path):
    bring(save_pairs(tmp_path), tmp_path)
    with pytest.raises(UsageError, match="control/toy-v0 has preferences of that name"):
        bring(save_trajectories(tmp_path / "theirs", [trajectory(3)]), tmp_path)
    bring(tmp_path / "theirs", tmp_path, name="other")
    with pytest.raises(UsageError, match="has demonstrations of that name"):
        bring(tmp_path / "people.npz", tmp_path, name="other")


@pytest.mark.parametrize("cases", CASES)
def test_damaged_preferences_are_read_or_refused(fuzz, damaged, tmp_path, cases):
    path = save_pairs(tmp_path)
    raw = path.read_bytes()

    def check(data):
        path.write_bytes(damaged(data, raw))
        refused_or_whole(path, tmp_path)

    fuzz(cases, check)


@pytest.mark.skipif(not PEOPLE.exists(), reason="the shared data sets are not here")
def test_what_people_preferred(tmp_path):
    from irlbench.registry import registry

    task = registry().task("control/hopper")
    found = {}
    for part, counts in (("train", (100, 28)), ("eval", (10, 1))):
        path = PEOPLE / f"hopper-medium-expert-v2_num100_human_{part}.npz"
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        found[part] = import_set(path, task, name=part, home=home)
        assert (found[part].comparisons, found[part].ties) == counts
        assert found[part].steps == counts[0] * 2 * 99


# --- the time limit, and versions of environments


def test_episodes_that_end_at_the_time_limit(tmp_path):
    ended = [{**trajectory(10), "terminal": True}, trajectory(4)]
    folder = save_trajectories(tmp_path / "theirs", ended)
    told = bring(folder, tmp_path)
    assert told.recipe["time_limit"] == {"episodes": 1, "corrected": False}
    assert read_dataset(stored(tmp_path))[0].terminations[-1]
    told = bring(folder, tmp_path, name="mended", correct_time_limits=True)
    assert told.recipe["time_limit"] == {"episodes": 1, "corrected": True}
    first, second = read_dataset(stored(tmp_path, "mended"))
    assert first.truncations[-1] and not first.terminations.any()
    assert second.terminations[-1], "it ended before"
    cut = save_trajectories(tmp_path / "cut", [{**trajectory(10), "terminal": False}])
    assert "time_limit" not in bring(cut, tmp_path, name="cut").recipe


@pytest.mark.parametrize(
    ("name", "theirs", "ours", "actions"),
    [("ant", 27, 105, 8), ("ant", 111, 105, 8), ("humanoid", 376, 348, 17)],
)
def test_older_versions_of_environments_are_refused_with_both_shapes(
    tmp_path, name, theirs, ours, actions
):
    from irlbench.registry import registry

    steps = 4
    path = tmp_path / "old.npz"
    np.savez(
        path,
        observations_0=np.zeros((steps + 1, theirs)),
        actions_0=np.zeros((steps, actions), np.float32),
        rewards_0=np.zeros(steps),
        terminations_0=np.zeros(steps, bool),
        truncations_0=np.zeros(steps, bool),
    )
    task = registry().task(f"control/{name}")
    with pytest.raises(DataError, match=rf"has shape \(5, {theirs}\), expected \(5, {ours}\)"):
        import_set(path, task, name="old", home=tmp_path)
