"""JSON and arrays from strangers: read as any reader would, or refused; files that are none."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from irlbench.errors import DataError, UsageError
from irlbench.home import below, locked
from irlbench.serialisation import (
    load_arrays,
    nested,
    open_plain,
    read_json,
    save_arrays,
    sha256_file,
    write_text_atomic,
)

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]
VALUE = {
    "schema": 1,
    "name": 'a \u00e4 \U0001f600 " \\ / \n',
    "numbers": [0, -1, 1.5, 1e300, -2e-300, 12345678901234567890],
    "objects": {"a": {"b": [{"c": None}, True, False]}, "": {}},
}


@pytest.mark.parametrize("cases", CASES)
def test_damaged_json_is_read_as_json_or_refused(fuzz, damaged, tmp_path, cases):
    path = tmp_path / "a.json"
    raw = json.dumps(VALUE, indent=1, ensure_ascii=False).encode()

    def check(data):
        path.write_bytes(damaged(data, raw))
        try:
            found = read_json(path)
        except DataError:
            return
        assert repr(found) == repr(json.loads(path.read_text(encoding="utf-8")))

    fuzz(cases, check)


@pytest.mark.parametrize("cases", CASES)
def test_altered_json_is_read_as_json_or_refused(fuzz, altered, tmp_path, cases):
    path = tmp_path / "a.json"

    def check(data):
        value = altered(data, VALUE)
        path.write_text(json.dumps(value))
        try:
            found = read_json(path)
        except DataError:
            assert nested(value, 64)
            return
        assert repr(found) == repr(value), "NaN is not equal to itself"

    fuzz(cases, check)


@pytest.mark.parametrize("cases", CASES)
def test_damaged_arrays_are_read_or_refused(fuzz, damaged, tmp_path, cases):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(4), "c": np.array(1.5, np.float32)}
    save_arrays(tmp_path, "x", "kind", arrays, {"text": "yes"})
    path = tmp_path / "x.safetensors"
    raw = path.read_bytes()

    def check(data):
        path.write_bytes(damaged(data, raw))
        try:
            kind, found, settings = load_arrays(tmp_path, "x", ["kind"])
        except DataError:
            return
        assert (kind, settings) == ("kind", {"text": "yes"})
        assert sum(a.nbytes for a in found.values()) <= path.stat().st_size

    fuzz(cases, check)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "a name stands twice"),
        ("[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested deeper than 64 levels"),
        ("[" * 100_000, "is no JSON"),
        ("1" * 5000, "is no JSON"),
        ("\ufeff{}", "is no JSON"),
        ("", "is no JSON"),
        ("{} {}", "is no JSON"),
    ],
)
def test_json_made_to_harm_is_refused(tmp_path, text, told):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_json(path)
    path.write_bytes(b'"\xff"')
    with pytest.raises(DataError, match="is no JSON"):
        read_json(path)


def test_64_levels_are_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" * 64 + "]" * 64)
    read_json(path)
    path.write_text(json.dumps([[i] for i in range(1000)]))
    assert len(read_json(path)) == 1000


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "hole"])
def test_only_plain_files_are_opened(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as stream:
            stream.write(b"begin")
            stream.truncate(2**40)
            stream.seek(2**39)
            stream.write(b"middle")
    for read in (open_plain, sha256_file, read_json):
        with pytest.raises(DataError, match=r"no plain file|hardly any are there|larger than"):
            read(path)


def test_a_link_is_followed_where_it_may_be_one(tmp_path):
    (tmp_path / "a").write_text("5")
    (tmp_path / "link").symlink_to("a")
    assert read_json(tmp_path / "link") == 5
    assert sha256_file(tmp_path / "link") == hashlib.sha256(b"5").hexdigest()
    for read in (open_plain, sha256_file, read_json):
        with pytest.raises(DataError, match="symbolic link"):
            read(tmp_path / "link", links=False)
    with pytest.raises(FileNotFoundError):
        sha256_file(tmp_path / "missing")


def test_large_files_are_opened_even_with_holes_in_them(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.write(b"x" * 2**20)
        stream.truncate(80 * 2**20)
    with open_plain(path) as stream:
        assert stream.read(3) == b"xxx"


def test_nothing_is_written_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".a.{os.getpid()}").symlink_to(victim)
    with pytest.raises(OSError, match="a"):
        write_text_atomic(tmp_path / "a", "theirs")
    (tmp_path / f".a.{os.getpid()}").unlink()
    (tmp_path / "a").symlink_to(victim)
    write_text_atomic(tmp_path / "a", "theirs")
    assert victim.read_text() == "mine" and not (tmp_path / "a").is_symlink()


# --- ids that become folders


@pytest.mark.parametrize(
    "id", ["..", "a/../../b", "/a", "a//b", "a/", "", ".a", "a/.b", "a\0", "a\n", "~", "a b", "-a"]
)
def test_an_id_leads_nowhere_else(tmp_path, id):
    with pytest.raises(UsageError, match="can have no folder"):
        below(tmp_path, id)
    with pytest.raises(UsageError), locked(tmp_path, id):
        pass
    assert not list(tmp_path.rglob("*"))


def test_an_id_is_folders_within_each_other(tmp_path):
    assert below(tmp_path, "control/hopper-v0/mine_1.2") == (
        tmp_path / "control" / "hopper-v0" / "mine_1.2"
    )
    with locked(tmp_path, "data/control/hopper-v0"):
        (found,) = tmp_path.rglob("*.lock")
    assert found.parent == tmp_path / "locks"
