"""Archives from strangers, thousands of them: read, or refused in words. Nothing else happens."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import textwrap
import zipfile
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import strategies as st

from irlbench.data.importing import import_set
from irlbench.data.npz import NpzFile
from irlbench.data.sources import FIELDS
from irlbench.errors import DataError

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]


class ToyTask:
    """What importing asks of a task; bounded observations, discrete or continuous actions."""

    def __init__(self, discrete):
        self.id = "control/toy-v0"
        self.info = SimpleNamespace(horizon=10)
        self._discrete = discrete

    def spaces(self):
        action = spaces.Discrete(3) if self._discrete else spaces.Box(-1, 1, (2,), np.float32)
        return spaces.Box(-5, 5, (3,), np.float32), action


def header(text: bytes, version: int = 1, length: int | None = None) -> bytes:
    size = len(text) if length is None else length
    packed = (size % 2**16).to_bytes(2, "little") if version == 1 else size.to_bytes(4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + packed + text


def archive(members, compression=zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made:
        for name, content in members:
            member = zipfile.ZipInfo("member")
            member.filename = name  # as it is: the constructor would cut it at a NUL
            member.compress_type = compression
            made.writestr(member, content)
    return stream.getvalue()


def good(save=np.savez_compressed, discrete=False) -> bytes:
    fields: dict[str, Any] = {}
    for i, steps in enumerate((2, 3)):
        fields[f"observations_{i}"] = np.linspace(-1, 1, 3 * (steps + 1)).reshape(-1, 3)
        fields[f"actions_{i}"] = np.arange(steps) % 3 if discrete else np.full((steps, 2), 0.5)
        fields[f"rewards_{i}"] = np.arange(steps, dtype=np.float32)
        fields[f"terminations_{i}"] = np.arange(steps) == steps - 1
        fields[f"truncations_{i}"] = np.zeros(steps, dtype=bool)
    stream = io.BytesIO()
    save(stream, **fields)
    return stream.getvalue()


def read_all(path):
    with NpzFile(path) as opened:
        for field in opened.fields:
            array = opened.read(field)
            assert array.dtype.kind in "biuf"


def outcome(path, run):
    """Runs a reader: what it may do is to succeed, or to name the file."""
    said = path.name
    try:
        run()
    except DataError as error:
        said = str(error)
    assert path.name in said
    assert "\n" not in said
    assert len(said) < 1000


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_archives(fuzz, tmp_path, damaged, save, cases):
    path, raw = tmp_path / "x.npz", good(save)

    def check(data):
        path.write_bytes(damaged(data, raw))
        outcome(path, lambda: read_all(path))

    fuzz(cases, check)


TYPES = ["<f8", ">i4", "|b1", "|u1", "<f2", "|O", "<U9", "<M8[s]", "<f3", "<c16", "<f16", "V9", "?"]
NUMBERS = st.one_of(
    st.integers(-3, 9), st.sampled_from([2**31, 2**40, 2**62, 2**63, 2**64, 10**30, 10**200])
)
LITERALS = st.one_of(
    st.sampled_from(TYPES).map(repr),
    st.sampled_from(
        ["None", "[('x', '<f8')]", "('<f8', (9999999,))", "{'a': 1}", '"<f8"', "'f8,O'"]
    ),
)


@st.composite
def headers(draw) -> bytes:
    """A header of an array: true, false, or no header."""
    shape = ", ".join(map(str, draw(st.lists(NUMBERS, max_size=70 if draw(st.booleans()) else 3))))
    text = draw(
        st.one_of(
            st.just(
                f"{{'descr': {draw(LITERALS)}, 'fortran_order': {draw(st.booleans())}, "
                f"'shape': ({shape},), }}\n"
            ),
            st.sampled_from(
                ["{" * 5000, "-" * 9000 + "1", "(" * 100, "__import__('os')", "[[]" * 99]
            ),
            st.text(max_size=40),
        )
    ).encode("utf-8", errors="replace")
    lie = draw(st.sampled_from([None, None, None, 0, 5, 2**16 - 1, 2**32 - 1]))
    return header(text, draw(st.sampled_from([1, 1, 2, 3, 0, 9])), lie)


MEMBER_NAMES = st.one_of(
    st.builds("{}_{}.npy".format, st.sampled_from(FIELDS), st.integers(0, 2)),
    st.sampled_from(
        ["../x.npy", "/etc/x.npy", "a/../../b", "C:\\x", "actions_" + "9" * 5000, "\x1b[2J", "x/"]
    ),
    st.text(min_size=1, max_size=20),
)
CONTENTS = st.one_of(
    st.builds(lambda h, body: h + body, headers(), st.binary(max_size=80)),
    st.binary(max_size=40),
    st.just(b"\x80\x04K\x01."),
)
COMPRESSIONS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("cases", CASES)
def test_archives_made_to_harm(fuzz, tmp_path, damaged, cases):
    path = tmp_path / "x.npz"

    def check(data):
        members = data.draw(st.lists(st.tuples(MEMBER_NAMES, CONTENTS), max_size=4))
        raw = archive(members, data.draw(st.sampled_from(COMPRESSIONS)))
        path.write_bytes(damaged(data, raw) if data.draw(st.booleans()) else raw)
        outcome(path, lambda: read_all(path))

    fuzz(cases, check)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npz"]


def arrays():
    """Arrays of any type and shape, with the numbers that go wrong."""
    numbers = st.sampled_from(
        [0.0, 1.0, -1.0, 0.5, 7.0, 1e300, -1e38, np.nan, np.inf, -np.inf, 2.0**63]
    )
    shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
    kinds = st.sampled_from(["f2", "f4", "f8", ">f8", "g", "i1", "i8", "u8", "?"])

    def make(shape, kind, values):
        with np.errstate(all="ignore"):
            flat = np.resize(np.array(values), int(np.prod(shape))).astype(kind)
        return flat.reshape(shape, order="F")

    return st.builds(make, shapes, kinds, st.lists(numbers, min_size=1, max_size=5))


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_importing_fields_that_were_changed(fuzz, tmp_path, discrete, cases):
    path, home = tmp_path / "x.npz", tmp_path / "home"
    base = dict(np.load(io.BytesIO(good(discrete=discrete))))
    stored = []

    def check(data):
        fields = dict(base)
        for _ in range(data.draw(st.integers(1, 2))):
            name, how = data.draw(st.tuples(st.sampled_from(sorted(base)), st.integers(0, 4)))
            if how == 0:
                fields[name] = data.draw(arrays())
            elif how == 1:
                fields.pop(name, None)
            elif name in fields and fields[name].size:
                with np.errstate(all="ignore"):
                    values = fields[name].astype(
                        data.draw(st.sampled_from(["f4", "f8", "i8", "g"]))
                    )
                place = data.draw(st.integers(0, values.size - 1))
                with np.errstate(all="ignore"):
                    wrong = data.draw(st.sampled_from([0, 1, 2, -9, 1e30, 5e9]))
                    values.reshape(-1)[place] = np.float64(wrong).astype(values.dtype)
                fields[name] = values
        extra = data.draw(
            st.sampled_from([{}, {"infos": np.zeros(2)}, {"actions_09": np.zeros(2)}])
        )
        np.savez(path, **fields, **extra)
        shutil.rmtree(home, ignore_errors=True)

        def run():
            clip = data.draw(st.booleans()) and not discrete
            summary = import_set(path, ToyTask(discrete), name="a", clip_actions=clip, home=home)
            assert np.isfinite(list(summary.demonstrator.values())).all()
            assert summary.recipe.get("ignored", {}).get("fields", 0) == len(extra)
            stored.append(summary)

        with np.errstate(all="ignore"):
            outcome(path, run)
        if home.exists():
            assert {p.relative_to(home).parts[0] for p in home.iterdir()} <= {"data", "locks"}

    fuzz(cases, check)
    assert stored  # some of them are good


BOMBS = """
    import resource, sys, zipfile
    from pathlib import Path
    import numpy as np
    from irlbench.data.npz import NpzFile
    from irlbench.errors import DataError

    folder = Path(sys.argv[1])
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 64 * 2**20,) * 2)
    for path in sorted(folder.iterdir()):
        try:
            with NpzFile(path) as archive:
                for field in archive.fields:
                    archive.read(field)
        except DataError as error:
            print(error)
        else:
            print(path.name, "was read")
"""


def swollen(start: bytes, zeros: int) -> bytes:
    """An archive of a few kilobytes whose member has so many zeros."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("a.npy", "w") as member,
    ):
        member.write(start)
        for _ in range(zeros // 2**20):
            member.write(bytes(2**20))
    return stream.getvalue()


def claiming(*shape: int) -> bytes:
    return header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode())


def test_bombs_take_no_memory(tmp_path):
    bombs = {
        "header": swollen(header(b"", 2, 200 * 2**20), 200 * 2**20),
        "deflate": swollen(claiming(200 * 2**20), 200 * 2**20),
        "cast": archive([("a.npy", claiming(2**29))]),  # bytes within the cap, until they are cast
        "claim": archive([("a.npy", claiming(2**62))]),
        "empty": archive([("a.npy", claiming(0, 10**20))]),
    }
    folder = tmp_path / "bombs"
    folder.mkdir()
    for name, content in bombs.items():
        (folder / f"{name}.npz").write_bytes(content)
    # A directory larger than what may be read at once; most of it is a hole.
    (folder / "directory.npz").write_bytes(archive([("a.npy", b"")]))
    with (folder / "directory.npz").open("r+b") as stream:
        found = bytearray(stream.read())
        end = found.rindex(b"PK\x05\x06")
        found[end + 12 : end + 16] = (2**30).to_bytes(4, "little")
        found[end + 16 : end + 20] = (0).to_bytes(4, "little")
        filler = np.random.default_rng(0).bytes(12 * 2**20)  # enough not to be hollow
        stream.write(filler)
        stream.seek(2**30 + 2**20)
        stream.write(found[end:])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BOMBS), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(".npz", 1) for line in done.stdout.splitlines())
    assert sorted(said) == sorted([*bombs, "directory"])
    assert "a header of 200 MiB" in said["header"]
    assert "decompression bomb" in said["deflate"]
    assert "counted as 8 bytes" in said["cast"]
    assert "claims" in said["claim"]
    assert "claims 0 bytes" in said["empty"]
    assert "a directory of 1 GiB" in said["directory"]
