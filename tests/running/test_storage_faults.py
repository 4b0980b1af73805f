"""Disks that are full or read-only: a message, nothing lost, nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import irlbench
from irlbench.cli import main
from irlbench.errors import StorageError, UsageError
from irlbench.running import store as store_module
from irlbench.running.store import Store
from irlbench.serialisation import write_atomic

from .together import (  # noqa: TID252 - the tests are no package with a name
    PLUGINS,
    TASK,
    go,
    hashes,
)

TMPFS = "no small file system can be mounted here"


def _mount(*arguments: str) -> bool:
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes file systems of a few hundred kilobytes."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip(TMPFS)
    mounted: list[Path] = []

    def make(kilobytes: int) -> Path:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        if not _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)):
            pytest.skip(TMPFS)
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


# --- the disk is full


class Line:
    """The command line in this process.

    Args:
        out: The output directory.
        where: The folder that the toys may use.
        algorithms: What to run.
    """

    def __init__(self, out: Path, where: Path, *algorithms: str) -> None:
        self.out, self.where = out, where
        where.mkdir(exist_ok=True)
        self._arguments = ["run", TASK, "--seeds=1", "--jobs=1", f"--out={out}"]
        self._arguments += [f"--plugin={path}" for path in PLUGINS]
        self._arguments += [f"--algorithms={','.join(algorithms)}"]
        self._arguments += [f"--set={name}.where={where}" for name in algorithms]

    def __call__(self, *more: str) -> int:
        return main([*self._arguments, *more])


slow = pytest.mark.slow


def _full_and_then_not(
    line: Line, reference: Line, fill: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run whose disk is full ends with a message; the same command goes on once there is room."""
    assert reference() == 0
    wanted = hashes(reference.out)
    (line.where / "full").write_text(fill)
    capsys.readouterr()
    assert line() == 1
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    assert os.strerror(errno.ENOSPC) in told.err
    assert str(line.out) in told.err
    assert "every finished trial is kept: make room" in told.err
    there = hashes(line.out)
    assert there == {"bad/good-1": wanted["bad/good-1"]}, "finished trials are kept, no other is"
    (line.where / "full").unlink()
    for ballast in line.out.parent.glob("ballast-*"):
        ballast.unlink()
    assert line() == 0
    assert hashes(line.out) == wanted
    assert not list((line.out / "working").iterdir())


@pytest.mark.parametrize(
    "toy",
    [
        "fills-before-its-policy",
        "fills-before-a-checkpoint",
        "fills-where-judged-in-the-end",
        pytest.param("fills-before-a-save", marks=slow),
        pytest.param("fills-where-judged-along-the-way", marks=slow),
        pytest.param("fills-before-it-prints", marks=slow),
    ],
)
def test_a_full_disk(
    toy: str, tmp_path: Path, small_disk: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    disk, where = small_disk(2000), tmp_path / "where"
    names = ("bad/good-1", f"bad/{toy}")
    line = Line(disk / "out", where, *names)
    _full_and_then_not(line, Line(tmp_path / "reference", where, *names), str(disk), capsys)


@pytest.mark.parametrize(
    "toy",
    [
        "fills-before-a-save",
        "fills-where-judged-along-the-way",
        pytest.param("fills-before-its-policy", marks=slow),
        pytest.param("fills-before-a-checkpoint", marks=slow),
    ],
)
def test_a_disk_that_takes_nothing_more(
    toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same where nothing can be mounted: in one process of the trial, no file is written."""
    where, names = tmp_path / "where", ("bad/good-1", f"bad/{toy}")
    line = Line(tmp_path / "out", where, *names)
    _full_and_then_not(line, Line(tmp_path / "reference", where, *names), "simulated", capsys)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The content hashes of two undisturbed trials."""
    out = tmp_path_factory.mktemp("two") / "out"
    go(out, "bad/good-1", "bad/good-2")
    return hashes(out)


@pytest.mark.parametrize(
    ("at", "fault"),
    [
        ("curve.parquet", errno.ENOSPC),
        ("record.json", errno.ENOSPC),
        ("record.json", errno.EROFS),
        ("record.json", errno.EDQUOT),
        ("fsync", errno.EIO),
        ("rename", errno.ENOSPC),
    ],
)
def test_a_record_that_cannot_be_written_is_not_there(
    at: str, fault: int, two: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, sync = Path.rename, store_module._sync
    failing = True

    def refuse() -> None:
        if failing and len(Store(tmp_path / "out").ids()) == 1:  # the second trial's
            raise OSError(fault, os.strerror(fault))

    def write(path: Path, content: bytes) -> None:
        if path.name == at:
            path.write_bytes(content[: len(content) // 2])
            refuse()
        write_atomic(path, content)

    monkeypatch.setattr(store_module, "write_atomic", write)
    monkeypatch.setattr(
        store_module, "write_text_atomic", lambda path, text: write(path, text.encode())
    )

    def refused(what: Any) -> Any:
        def refuse_or_do(*arguments: Any) -> Any:
            refuse()
            return what(*arguments)

        return refuse_or_do

    if at == "fsync":
        monkeypatch.setattr(store_module, "_sync", refused(sync))
    if at == "rename":
        monkeypatch.setattr(Path, "rename", refused(rename))
    with pytest.raises(StorageError, match=os.strerror(fault)):
        go(tmp_path / "out", "bad/good-1", "bad/good-2")
    assert set(hashes(tmp_path / "out")) == {"bad/good-1"}
    failing = False
    summary = go(tmp_path / "out", "bad/good-1", "bad/good-2")
    assert (summary.done, summary.reused, summary.damaged) == (1, 1, [])
    assert hashes(tmp_path / "out") == two


def test_a_trial_that_cannot_be_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir

    def mkdir(path: Path, *arguments: Any, **more: Any) -> None:
        if path.parent.name == "working":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        make(path, *arguments, **more)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(StorageError, match=r"cannot be begun in .*No space left"):
        go(tmp_path / "out")


def test_a_full_disk_before_anything_begins(tmp_path: Path, small_disk: Any) -> None:
    disk = small_disk(64)
    go(disk / "out", "bad/good-1")
    free = shutil.disk_usage(disk).free
    (disk / "ballast").write_bytes(b"x" * free)
    assert go(disk / "out", "bad/good-1").reused == 1, "nothing needs to be written"
    with pytest.raises(StorageError, match="No space left"):
        go(disk / "out", "bad/good-1", "bad/good-2")
    (disk / "ballast").unlink()
    assert go(disk / "out", "bad/good-1", "bad/good-2").done == 1


@slow
@pytest.mark.parametrize("task", ["gridworld/four-rooms", "control/cartpole"])
def test_a_full_cache_folder(
    task: str,
    tmp_path: Path,
    small_disk: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = small_disk(120_000)
    monkeypatch.setenv("IRLBENCH_HOME", str(cache))
    ballast = cache / "ballast"
    run = ["run", task, "--algorithms=random", "--seeds=1", f"--out={tmp_path / 'out'}"]
    with ballast.open("wb", buffering=0) as file:
        file.write(b"x" * (120_000 * 1024 - 12 * 4096))
    assert main(run) == 1
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    assert "No space left" in told.err and str(cache) in told.err
    ballast.unlink()
    assert not list(cache.rglob("*.hdf5")), "nothing half-built stays"
    assert main(run) == 0
    assert main([*run[:-1], f"--out={tmp_path / 'again'}"]) == 0
    assert hashes(tmp_path / "out") == hashes(tmp_path / "again")


# --- read-only


class Remounts:
    """Makes the disk read-only once a trial is finished; a `Progress`.

    Args:
        disk: The disk.
    """

    def __init__(self, disk: Path) -> None:
        self._disk = disk

    def finished(self, trial: Any, record: Any) -> None:
        """See `Progress.finished`."""
        assert _mount("-o", "remount,ro", str(self._disk))

    def __getattr__(self, name: str) -> Any:
        return lambda *told: None


def test_a_disk_that_becomes_read_only_under_a_run(two: dict[str, str], small_disk: Any) -> None:
    disk = small_disk(2000)
    with pytest.raises(StorageError, match="Read-only file system"):
        go(disk / "out", "bad/good-1", "bad/good-2", progress=Remounts(disk))
    assert set(hashes(disk / "out")) == {"bad/good-1"}
    with pytest.raises(UsageError, match=r"cannot write to .*Read-only file system"):
        go(disk / "out", "bad/good-1", "bad/good-2")
    assert irlbench.load_results(disk / "out").height == 1
    assert _mount("-o", "remount,rw", str(disk))
    assert go(disk / "out", "bad/good-1", "bad/good-2").done == 1
    assert hashes(disk / "out") == two


def test_read_only_files_of_a_record_are_no_obstacle(tmp_path: Path) -> None:
    go(tmp_path / "out")
    (folder,) = (tmp_path / "out/trials").iterdir()
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert go(tmp_path / "out").reused == 1
        assert go(tmp_path / "out", rerun=folder.name[:12]).done == 1
    finally:
        for path in (tmp_path / "out/trials").iterdir():
            path.chmod(0o755)
    assert {p.name for p in (tmp_path / "out/trials").iterdir()} == {
        folder.name,
        f"{folder.name}.superseded-1",
    }


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_record_that_cannot_be_moved_stays_when_it_is_run_again(tmp_path: Path) -> None:
    go(tmp_path / "out")
    (folder,) = (tmp_path / "out/trials").iterdir()
    before = _snapshot(folder)
    locked = ["chattr", "+i", str(folder)]
    if not shutil.which("chattr") or subprocess.run(locked, check=False).returncode != 0:
        pytest.skip("a folder cannot be made immutable here")
    try:
        assert go(tmp_path / "out").reused == 1
        with pytest.raises(StorageError, match="Operation not permitted"):
            go(tmp_path / "out", rerun=folder.name[:12])
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)
    assert _snapshot(folder) == before
    assert Store(tmp_path / "out").ids() == [folder.name]
    assert go(tmp_path / "out", rerun=folder.name[:12]).done == 1
    assert _snapshot(folder.with_name(f"{folder.name}.superseded-1")) == before


def test_a_record_under_a_mount_stays_when_it_is_run_again(tmp_path: Path, small_disk: Any) -> None:
    out = small_disk(2000) / "out"
    go(out)
    (folder,) = (out / "trials").iterdir()
    before = _snapshot(folder)
    if not _mount("--bind", str(folder), str(folder)):
        pytest.skip(TMPFS)
    try:
        assert _mount("-o", "remount,bind,ro", str(folder))
        with pytest.raises(StorageError, match="record of trial"):
            go(out, rerun=folder.name[:12])
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert _snapshot(folder) == before
    assert go(out, rerun=folder.name[:12]).done == 1
