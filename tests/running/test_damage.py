"""Records that lose bits, and clocks that go back: what is damaged is named, and never used."""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import irlbench
from irlbench.cli import main
from irlbench.errors import DataError, UsageError
from irlbench.reporting.build import report
from irlbench.running.store import Store

from .together import (  # noqa: TID252 - the tests are no package with a name
    TASK,
    go,
    hashes,
)

FILES = (
    "record.json",
    "curve.parquet",
    "policy.json",
    "policy.safetensors",
    "reward.json",
    "reward.safetensors",
    "log.txt",
)
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two whole records."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert go(out, seeds=2).done == 2
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def _flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    place = draw.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def _to_folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _to_link(path: Path, draw: random.Random) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _to_pipe(path: Path, draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: dict[str, Callable[[Path, random.Random], Any]] = {
    "flipped": _flip,
    "truncated": lambda path, draw: os.truncate(path, draw.randrange(1, path.stat().st_size)),
    "emptied": lambda path, draw: os.truncate(path, 0),
    "deleted": lambda path, draw: path.unlink(),
    "longer": lambda path, draw: path.write_bytes(path.read_bytes() + b"\n"),
    "a folder": _to_folder,
    "a link": _to_link,
    "a pipe": _to_pipe,
}


def _detected_and_mended(out: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged record is named by every command, used by none, and run again on request."""
    spoilt, sound = Store(out).ids()
    before = hashes_of(out, sound)
    arguments = ["run", TASK, "--algorithms=toy/good", "--seeds=2", f"--out={out}"]

    summary = go(out, seeds=2)
    assert (summary.planned, summary.done, summary.reused) == (2, 0, 1)
    ((trial, damage),) = summary.damaged
    assert trial == spoilt
    assert name in damage

    capsys.readouterr()
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert f"trial {spoilt[:12]} cannot be used: " in told.err and name in told.err
    assert "1 damaged" in told.out
    assert "--retry-failed runs damaged trials again" in told.err

    assert main(["status", str(out)]) == 1
    told = capsys.readouterr()
    assert f"trial {spoilt[:12]} cannot be used: " in told.err and name in told.err
    assert "1 trial done" in told.out

    with pytest.raises(DataError, match=name):
        irlbench.load_trial(out, spoilt)
    assert irlbench.load_trial(out, sound).policy is not None
    if name == "record.json":
        with pytest.raises(DataError, match=r"record\.json"):
            irlbench.load_results(out)

    made = report([out])
    about = [note for note in made.notes if spoilt[:12] in note]
    if name == "record.json":
        assert made.trials == 1
        assert len(about) == 1 and "Left out, unreadable" in about[0]
    elif name == "curve.parquet":
        assert len(about) == 1 and "the curve of trial" in about[0] and "left out" in about[0]

    summary = go(out, seeds=2, retry_failed=True)
    assert (summary.done, summary.reused, summary.damaged) == (1, 1, [])
    assert hashes_of(out, sound) == before
    assert main(["status", str(out)]) == 0
    assert report([out]).notes == ()
    assert (out / f"trials/{spoilt}.superseded-1").is_dir()


def hashes_of(out: Path, trial: str) -> str:
    """The content hash of one whole record."""
    store = Store(out)
    record = store.read(trial)
    store.check(record)
    return record.content_hash


def _spoil(out: Path, name: str, change: str, seed: Any) -> None:
    CHANGES[change](out / "trials" / Store(out).ids()[0] / name, random.Random(str(seed)))


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_found_and_mended(
    name: str, out: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _spoil(out, name, "flipped", name)
    _detected_and_mended(out, name, capsys)
    for trial in Store(whole).ids():
        assert hashes_of(out, trial) == hashes_of(whole, trial)


@slow
@pytest.mark.parametrize(
    ("name", "change"),
    [
        (name, change)
        for name in FILES
        for change in CHANGES
        if change != "flipped" and (name, change) != ("record.json", "longer")  # a newline more
    ],
)
def test_any_damage_is_found_and_mended(
    name: str, change: str, out: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _spoil(out, name, change, name)
    _detected_and_mended(out, name, capsys)
    for trial in Store(whole).ids():
        assert hashes_of(out, trial) == hashes_of(whole, trial)


@pytest.mark.parametrize("name", FILES)
def test_damage_anywhere_is_found(name: str, out: Path) -> None:
    store = Store(out)
    spoilt, sound = store.ids()
    path = out / "trials" / spoilt / name
    content, wanted = path.read_bytes(), store.read(spoilt)
    for change in ("flipped", "truncated"):
        for attempt in range(60):
            path.write_bytes(content)
            CHANGES[change](path, random.Random(f"{name} {change} {attempt}"))
            found = store.published(spoilt)
            assert found is not None
            if found.damage is None:  # 1e5 and 1E5, a newline less at the end: no other record
                assert name == "record.json"
                assert found.record == wanted
            else:
                assert found.record is None
                assert name in found.damage
    assert store.published(sound) is not None


@slow
def test_every_third_bit_of_a_record_counts(out: Path) -> None:
    """Bits of `record.json` flipped in turn, of every byte some: refused, or it reads the same."""
    store = Store(out)
    spoilt = store.ids()[0]
    path = out / "trials" / spoilt / "record.json"
    content, wanted, named, same = path.read_bytes(), store.read(spoilt), 0, 0
    for bit in range(0, 8 * len(content), 3):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = store.read(spoilt)
        except DataError as error:
            named += "record.json" in str(error)
        else:
            same += found == wanted
    assert named + same == -(-8 * len(content) // 3)
    assert same < 30, "`1e5` reads as `1E5` does"


def test_records_that_have_changed_places_are_found(out: Path) -> None:
    first, second = (out / "trials" / trial for trial in Store(out).ids())
    first.rename(out / "aside")
    second.rename(first)
    (out / "aside").rename(second)
    summary = go(out, seeds=2)
    assert (summary.done, summary.reused) == (0, 0)
    assert all("holds trial" in damage for _, damage in summary.damaged)
    with pytest.raises(UsageError, match="no finished trial"):
        report([out])
    assert go(out, seeds=2, retry_failed=True).done == 2


def test_a_file_in_place_of_a_record_is_found(out: Path) -> None:
    trial = Store(out).ids()[0]
    shutil.rmtree(out / "trials" / trial)
    (out / "trials" / trial).write_text("?")
    assert [spoilt for spoilt, _ in go(out, seeds=2).damaged] == [trial]
    assert go(out, seeds=2, retry_failed=True).done == 1
    assert (out / f"trials/{trial}.superseded-1").read_text() == "?"


def test_damage_is_kept_beside_what_replaces_it_every_time(out: Path) -> None:
    trial = Store(out).ids()[0]
    for attempt in (1, 2, 3):
        _spoil(out, "record.json", "truncated", attempt)
        assert go(out, seeds=2, rerun=trial[:12]).done == 1
        assert (out / f"trials/{trial}.superseded-{attempt}").is_dir()
    assert len(hashes(out)) == 1
    assert Store(out).ids() == sorted(r.trial for r in Store(out).records())


@pytest.mark.parametrize("change", ["flipped", "truncated", "emptied", "a folder"])
def test_a_damaged_marker_is_named(change: str, out: Path) -> None:
    before = {p: p.read_bytes() for p in out.glob("trials/*/*")}
    CHANGES[change](out / "irlbench.json", random.Random(2))
    for attempt in (lambda: go(out, seeds=3), lambda: irlbench.load_results(out)):
        with pytest.raises(UsageError, match=r"irlbench\.json"):
            attempt()
    assert {p: p.read_bytes() for p in out.glob("trials/*/*")} == before


@pytest.mark.parametrize("change", ["flipped", "truncated", "emptied", "deleted"])
@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint.json"])
def test_a_damaged_checkpoint_is_not_gone_on_from(
    name: str, change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where, out = tmp_path / "where", tmp_path / "out"
    where.mkdir()
    settings = {"bad/takes-its-time.where": str(where)}
    toy = ("bad/takes-its-time",)
    go(tmp_path / "reference", *toy, settings=settings)
    (where / "stop").touch()
    driver = subprocess.Popen(  # killed: what it goes on from stays
        [
            sys.executable,
            "-c",
            "import pathlib, sys\n"
            "from tests.running.together import go\n"
            "out, where = map(pathlib.Path, sys.argv[1:])\n"
            "go(out, 'bad/takes-its-time', settings={'bad/takes-its-time.where': str(where)})",
            str(out),
            str(where),
        ],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (where / "hanging").exists():
            assert driver.poll() is None
            assert time.monotonic() < deadline, "the trial never began"
            time.sleep(0.01)
    finally:
        driver.kill()
        driver.wait()
    (folder,) = (out / "working").iterdir()
    CHANGES[change](folder / name, random.Random(f"{name} {change}"))
    (where / "stop").unlink()
    assert go(out, *toy, settings=settings).done == 1
    assert hashes(out) == hashes(tmp_path / "reference")
    (trial,) = Store(out).ids()
    curve = Store(out).curve(trial)
    losses = curve.filter(curve["name"] == "loss")["value"].to_list()
    assert losses == list(map(float, range(1, 11)))
    log = (out / "trials" / trial / "log.txt").read_text()
    if change != "deleted":
        assert "begins anew" in log
    assert "goes on" not in log


# --- the clock


@pytest.fixture
def clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the wall clock shows a day less."""
    looks = iter(range(10**9))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86_400 * next(looks))


@pytest.mark.usefixtures("clock_goes_back")
def test_a_clock_that_goes_back_changes_nothing(whole: Path, tmp_path: Path) -> None:
    began = time.time()
    summary = go(tmp_path / "out", seeds=2, jobs=2, timeout=60.0)
    assert time.time() < began
    assert summary.done == 2
    assert hashes(tmp_path / "out") == hashes(whole)
    for record in Store(tmp_path / "out").records():
        assert 0 <= record.costs["seconds"] < 60
        assert 0 <= record.costs["evaluation_seconds"] < 60
    assert go(tmp_path / "out", seeds=2).reused == 2
    trial = Store(tmp_path / "out").ids()[0]
    assert go(tmp_path / "out", seeds=2, rerun=trial).done == 1


@pytest.mark.parametrize("shift", [-50 * 365 * 86_400, 50 * 365 * 86_400])
def test_files_of_another_time_are_records_like_others(shift: int, out: Path) -> None:
    when = time.time() + shift
    for path in (*out.rglob("*"), out):
        os.utime(path, (when, when))
    assert go(out, seeds=2).reused == 2
    irlbench.running.api.dry_run(TASK, algorithms="toy/good", seeds=3, out=out)
    assert go(out, seeds=3, jobs=1).done == 1
    assert report([out]).trials == 3
    trial = Store(out).ids()[0]
    assert go(out, seeds=3, rerun=trial).done == 1


#: What tells the time of day, by module and name, and the times of files.
_CLOCKS = {
    "time": {"time", "time_ns", "localtime", "gmtime", "strftime", "ctime", "asctime", "mktime"},
    "datetime": {"now", "utcnow", "today", "datetime", "date"},
    "path": {"getmtime", "getctime", "getatime"},
}
_FILE_TIMES = {f"st_{letter}time{unit}" for letter in "mcab" for unit in ("", "_ns")}
#: Earlier records are looked at in the order of their age, for estimates alone.
_MAY = {("estimates.py", "st_mtime")}


def test_nothing_that_runs_trials_looks_at_the_time_of_day() -> None:
    package = Path(irlbench.__file__).parent
    files = [*(package / "running").glob("*.py")]
    files += [package / name for name in ("algorithm.py", "problem.py", "home.py")]
    files += [package / "serialisation.py"]
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
                found |= {(path.name, alias.name) for alias in node.names}
            if isinstance(node, ast.Attribute):
                of = node.value.id if isinstance(node.value, ast.Name) else ""
                of = node.value.attr if isinstance(node.value, ast.Attribute) else of
                if node.attr in _CLOCKS.get(of, set()) or node.attr in _FILE_TIMES:
                    found.add((path.name, node.attr))
    assert found == _MAY
