"""Preferences on disk: what is written is read back, whole or not at all; damage is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from irlbench.data import preference_store
from irlbench.data.demonstrations import Episode, TokenEpisode
from irlbench.data.preference_arrays import pack, unpack
from irlbench.data.preference_store import (
    ensure_preferences,
    preference_folder,
    preferences_in,
    read_preference_summary,
    read_preferences,
    write_preferences,
)
from irlbench.data.preferences import Preference, Preferences
from irlbench.errors import DataError

ID = "world/task-v0/preferences"
FILE = "preferences.safetensors"
CASES = [50, pytest.param(2000, marks=pytest.mark.slow)]


def episodes(lengths, seed=0, vectors=False, actions=True):
    generator = np.random.default_rng(seed)
    made = []
    for i, steps in enumerate(lengths):
        last = np.arange(steps) == steps - 1
        seen = generator.normal(size=(steps + 1, 3)).astype(np.float32)
        made.append(
            Episode(
                seen if vectors else generator.integers(9, size=steps + 1),
                generator.integers(4, size=steps) if actions else None,
                last & (i % 3 == 0),
                last & (i % 3 == 1),
            )
        )
    return made


def token_episodes(lengths, seed=0):
    generator = np.random.default_rng(seed)
    return [
        TokenEpisode(
            generator.integers(90, size=n).astype(np.int32),
            1 + i % (n - 1),
            np.arange(n) >= 1 + i % (n - 1),
            ("stop", "length")[i % 2],
        )
        for i, n in enumerate(lengths)
    ]


def compared(items):
    """Two pairs and a ranking of three, of seven items."""
    return Preferences(
        (
            Preference(tuple(items[:2]), (0, 1), "simulated"),
            Preference(tuple(items[2:4]), (0, 0), "ann", weight=0.5),
            Preference(tuple(items[4:7]), (2, 0, 1), "simulated"),
        )
    )


LENGTHS = (3, 1, 5, 2, 4, 1, 2)
ALL = {
    "states": compared(episodes(LENGTHS)),
    "vectors": compared(episodes(LENGTHS, vectors=True)),
    "observations-only": compared(episodes(LENGTHS, actions=False)),
    "tokens": compared(token_episodes([n + 1 for n in LENGTHS])),
}


def same(one, other):
    for mine, others in zip(one, other, strict=True):
        assert (mine.ranks, mine.annotator, mine.weight) == (
            others.ranks,
            others.annotator,
            others.weight,
        )
        for item, wanted in zip(mine.items, others.items, strict=True):
            assert type(item) is type(wanted)
            for name, value in vars(wanted).items():
                found = getattr(item, name)
                assert getattr(found, "dtype", None) == getattr(value, "dtype", None)
                np.testing.assert_array_equal(found, value)


def store(folder, preferences=ALL["states"], recipe=None):
    return write_preferences(folder, ID, preferences, recipe or {})


def changed(folder, change, names=("ann", "simulated")):
    """Changes the arrays as somebody would who makes the hash fit."""
    arrays = load_file(folder / FILE)
    change(arrays)
    save_file(arrays, folder / FILE)
    place = folder / "preferences.json"
    described = json.loads(place.read_text())
    described["content_hash"] = preference_store._content_hash(arrays, list(names))
    place.write_text(json.dumps(described))


# --- written and read


@pytest.mark.parametrize("kind", ALL)
def test_what_is_written_is_read_back(tmp_path, kind):
    summary = store(tmp_path / "a", ALL[kind], {"made": "here"})
    found = read_preferences(tmp_path / "a")
    same(found, ALL[kind])
    assert found.provenance == {
        "id": ID,
        "content_hash": summary.content_hash,
        "recipe": {"made": "here"},
    }
    assert summary == read_preference_summary(tmp_path / "a")
    assert (summary.comparisons, summary.ties, summary.steps) == (3, 1, ALL[kind].steps)
    assert summary.kind == ("tokens" if kind == "tokens" else "episodes")
    assert summary.annotators == ["ann", "simulated"]


def test_the_content_hash_sees_everything(tmp_path):
    seen = {store(tmp_path / kind, preferences).content_hash for kind, preferences in ALL.items()}
    base = ALL["states"].comparisons
    for i, first in enumerate(
        [
            Preference(base[0].items, (1, 0), "simulated"),
            Preference(base[0].items, (0, 1), "ann"),
            Preference(base[0].items, (0, 1), "eve"),
            Preference(base[0].items, (0, 1), "simulated", weight=2.0),
            Preference(base[0].items[::-1], (0, 1), "simulated"),
        ]
    ):
        seen.add(store(tmp_path / str(i), Preferences((first, *base[1:]))).content_hash)
    assert len(seen) == 9
    assert store(tmp_path / "again").content_hash in seen


def test_the_first_publication_wins(tmp_path):
    first = store(tmp_path / "a")
    assert store(tmp_path / "a") == first
    with pytest.raises(DataError, match=r"other preferences are already stored under 'world/"):
        store(tmp_path / "a", ALL["tokens"])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(preference_store, "write_text_atomic", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        store(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_stored_is_refused(tmp_path):
    none = Preferences(())
    mixed = [*episodes(LENGTHS[:6]), *episodes((2,), vectors=True)]
    partly = [*episodes(LENGTHS[:6]), *episodes((2,), actions=False)]
    empty = [*episodes(LENGTHS[:6]), episodes((2,))[0].segment(0, 0)]
    (ended,) = token_episodes((3,))
    odd = [*token_episodes((3,) * 6), TokenEpisode(ended.tokens, 1, ended.action_mask, "bored")]
    for preferences, message in [
        (none, "no preferences to store"),
        (compared(mixed), "field 'observations', row 6: float32 .* beside int64"),
        (compared(partly), "field 'actions', row 6: some items have actions"),
        (compared(empty), "field 'items', row 6: .*at least one step"),
        (compared(odd), "field 'finish_reason', row 6: is 'bored'"),
    ]:
        with pytest.raises(DataError, match=message):
            store(tmp_path / "a", preferences)
    assert list(tmp_path.iterdir()) == []


# --- built once


def test_a_recipe_is_built_once_and_again_where_its_summary_is_damaged(tmp_path):
    built = []

    def build():
        built.append(1)
        return ALL["states"]

    recipe = {"pairs": 3}
    summary = ensure_preferences(tmp_path, ID, recipe, build)
    folder = preference_folder(tmp_path, ID, recipe)
    assert ensure_preferences(tmp_path, ID, recipe, build) == summary
    assert len(built) == 1
    assert preferences_in(tmp_path / "data") == [(folder, summary)]
    assert preference_folder(tmp_path, ID, {"pairs": 4}) != folder
    (folder / "preferences.json").write_text("{}")
    assert preferences_in(tmp_path / "data") == []
    assert ensure_preferences(tmp_path, ID, recipe, build) == summary
    assert len(built) == 2
    same(read_preferences(folder), ALL["states"])


# --- damage


def test_missing_preferences_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing.*preferences\.json.*cannot be read"):
        read_preferences(tmp_path / "nothing")
    store(tmp_path / "a")
    (tmp_path / "a" / FILE).unlink()
    with pytest.raises(DataError, match=r"a: preferences\.safetensors.*cannot be read"):
        read_preferences(tmp_path / "a")


def test_a_link_is_not_followed(tmp_path):
    store(tmp_path / "a")
    (tmp_path / "a" / FILE).rename(tmp_path / "elsewhere")
    (tmp_path / "a" / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a symbolic link"):
        read_preferences(tmp_path / "a")


def test_a_truncated_file_is_named(tmp_path):
    store(tmp_path / "a")
    place = tmp_path / "a" / FILE
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"preferences\.safetensors: is no safetensors file"):
        read_preferences(tmp_path / "a")


def test_a_changed_number_is_seen(tmp_path):
    store(tmp_path / "a")
    place = tmp_path / "a" / FILE
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.write_bytes(content)
    with pytest.raises(DataError, match=r"a/preferences\.safetensors: is damaged"):
        read_preferences(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", 2, "format 2; this version reads format 1"),
        ("content_hash", "x", "field 'content_hash': is 'x'"),
        ("kind", "people", "field 'kind': is 'people'"),
        ("comparisons", 0, "field 'comparisons': is 0"),
        ("comparisons", 4, "field 'comparisons': says 4, but there are 3"),
        ("ties", -1, "field 'ties': is -1"),
        ("ties", 2, "field 'ties': says 2, but there are 1"),
        ("steps", 99, "field 'steps': says 99, but there are 18"),
        ("annotators", [], "field 'annotators': is "),
        ("annotators", ["ann", 3], "field 'annotators': is "),
        ("annotators", ["ann", "eve"], "is damaged"),
        ("recipe", [], "field 'recipe': is "),
        ("more", 1, "not a whole summary"),
    ],
)
def test_a_changed_summary_is_refused(tmp_path, name, value, message):
    store(tmp_path / "a")
    place = tmp_path / "a" / "preferences.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), name: value}))
    with pytest.raises(DataError, match=message):
        read_preferences(tmp_path / "a")


def setting(name, value, row=None):
    def change(arrays):
        if row is None:
            arrays[name] = value
        else:
            arrays[name][row] = value

    return change


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("states", lambda a: a.pop("ranks"), "field 'ranks': is missing"),
        ("states", setting("rewards", np.zeros(18)), "field 'rewards': is no part"),
        ("tokens", setting("actions", np.zeros(18)), "field 'actions': is no part"),
        ("states", setting("sizes", np.array([2.0, 2, 3])), "field 'sizes': is float64"),
        ("states", setting("ranks", np.zeros((7, 1), int)), r"field 'ranks': is int64 of shape"),
        ("states", setting("sizes", np.zeros(0, int)), "field 'sizes': holds nothing"),
        ("states", setting("sizes", 1, 2), "field 'sizes', row 2: is 1, not in 2 to 7"),
        ("states", setting("sizes", 2**62, 1), "field 'sizes', row 1: is 4611686018427387904"),
        ("states", setting("sizes", 3, 0), "field 'ranks': holds 7 rows where 8 belong"),
        ("states", setting("lengths", 0, 5), "field 'lengths', row 5: is 0, not in 1 to 18"),
        ("states", setting("lengths", 2**63 - 1, 5), "field 'lengths', row 5: is 92233720"),
        ("states", setting("lengths", 2, 1), "field 'observations': holds 25 rows where 26"),
        ("states", setting("ranks", 1, 0), r"row 0: field 'ranks': .*\(1, 1\)"),
        ("states", setting("weights", np.nan, 1), "row 1: field 'weight': .*got nan"),
        ("states", setting("weights", -1.0, 1), r"row 1: field 'weight': .*got -1\.0"),
        ("states", setting("annotators", 2, 2), "field 'annotators', row 2: is 2, not in 0 to 1"),
        ("vectors", setting("observations", np.nan, 3), "field 'observations': holds NaN"),
        ("states", setting("actions", np.zeros(17)), "field 'actions': holds 17 rows where 18"),
        ("states", setting("actions", np.array(1.0)), "field 'actions': holds 0 rows"),
        ("states", setting("terminations", np.zeros(18)), "field 'terminations': is float64"),
        # Of the third item, the fifth to the ninth step are.
        ("states", setting("truncations", True, 6), "field 'truncations', row 2: .*goes on"),
        ("tokens", setting("tokens", -1, 4), "field 'tokens', row 4: is -1"),
        ("tokens", setting("tokens", np.zeros(25)), "field 'tokens': is float64"),
        ("tokens", setting("lengths", 1, 0), "field 'lengths', row 0: is 1, not in 2"),
        ("tokens", setting("finish_reasons", 2, 6), "field 'finish_reasons', row 6: is 2"),
        ("tokens", setting("prompt_lengths", 9, 0), "row 0: field 'prompt_length': .*needs a pr"),
        ("tokens", setting("prompt_lengths", np.ones(6, int)), "'prompt_lengths': holds 6 rows"),
    ],
)
def test_arrays_that_cannot_be_are_named(tmp_path, kind, change, message):
    store(tmp_path / "a", ALL[kind])
    changed(tmp_path / "a", change)
    with pytest.raises(DataError, match=rf"a/preferences\.safetensors.*{message}"):
        read_preferences(tmp_path / "a")


def outcome(read):
    """What a reader returns, or None where it refuses in one line."""
    found, said = None, ""
    try:
        found = read()
    except DataError as error:
        said = str(error)
    assert found is not None or said
    assert "\n" not in said and len(said) < 1000
    return found


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("name", [FILE, "preferences.json"])
def test_damaged_files_are_read_as_written_or_refused(fuzz, tmp_path, damaged, cases, name):
    store(tmp_path / "a")
    place = tmp_path / "a" / name
    raw = place.read_bytes()

    def check(data):
        place.write_bytes(damaged(data, raw))
        found = outcome(lambda: read_preferences(tmp_path / "a"))
        if found is not None:
            same(found, ALL["states"])

    fuzz(cases, check)


NUMBERS = [0, 1, 2, 5, -1, 100, 2**31, 2**62, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("cases", CASES)
def test_changed_arrays_are_whole_or_refused(fuzz, cases):
    packed = {kind: pack(preferences) for kind, preferences in ALL.items()}

    def check(data):
        arrays, names = packed[data.draw(st.sampled_from(sorted(packed)))]
        arrays = {name: array.copy() for name, array in arrays.items()}
        for _ in range(data.draw(st.integers(1, 3))):
            name = data.draw(st.sampled_from(sorted(arrays)))
            array = arrays[name]
            how = data.draw(st.sampled_from(["put", "cut", "type", "shape", "drop"]))
            if how == "put" and array.size:
                row = data.draw(st.integers(0, array.size - 1))
                value = np.array(data.draw(st.sampled_from(NUMBERS)))
                with np.errstate(all="ignore"):
                    array.reshape(-1)[row] = value.astype(array.dtype)
            elif how == "cut":
                arrays[name] = array[: data.draw(st.integers(0, 3))] if array.ndim else array
            elif how == "type":
                kind = data.draw(st.sampled_from(["f4", "i8", "u1", "?", "c8"]))
                array = array.real  # complex numbers lose nothing on the way back
                with np.errstate(all="ignore"):
                    arrays[name] = array.astype(kind)
            elif how == "shape":
                arrays[name] = data.draw(st.sampled_from([array[None], array.reshape(-1, 1)]))
            elif len(arrays) > 1:
                del arrays[name]
        found = outcome(lambda: unpack(arrays, names, file="x"))
        if found is not None:
            again, judges = pack(found)
            assert again.keys() == arrays.keys()
            # Those who have judged nothing are not kept, and the others numbered anew.
            who, arrays["annotators"] = arrays["annotators"], again["annotators"]
            assert [judges[i] for i in again["annotators"]] == [names[i] for i in who]
            for name, array in again.items():
                np.testing.assert_array_equal(array, arrays[name])

    fuzz(cases, check)
