"""The store: a directory of records, and nothing else.

```
<out>/irlbench.json            marks the directory and names its schema
<out>/trials/<trial id>/       one finished trial, whole or not at all
<out>/working/<trial id>/      one under way, or cut off
```
A record is written beside and renamed into place; the first publication wins.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from irlbench.errors import DataError, UsageError
from irlbench.running.record import SCHEMA, Record, check_schema
from irlbench.serialisation import read_json, sha256_file, write_text_atomic

CurveRow = tuple[int, float, str, str, float]
"""Step, seconds, kind ("log" or "validation"), name, value."""


class Store:
    """The records of one output directory.

    Args:
        out: The directory; it need not exist yet.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.trials = out / "trials"
        self.working = out / "working"

    def open_for_writing(self) -> None:
        """Makes the directory ready, before anything is computed.

        Raises:
            UsageError: If it cannot be written, holds other files, or is of a newer schema.
        """
        marker = self.out / "irlbench.json"
        try:
            if self.out.is_dir() and not marker.exists() and any(self.out.iterdir()):
                raise UsageError(
                    f"{self.out} holds files that are not irlbench's: name another --out"
                )
            self.out.mkdir(parents=True, exist_ok=True)
            if not marker.exists():  # first of all: what has it is ours
                write_text_atomic(marker, json.dumps({"schema": SCHEMA}) + "\n")
            for folder in (self.trials, self.working):
                folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self.trials):
                pass
        except OSError as error:
            raise UsageError(
                f"cannot write to {self.out}: {error.strerror or error}; name another --out"
            ) from error
        self._check_marker()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps every other run out of this directory; the kernel frees it if this one dies.

        Raises:
            UsageError: If another run is writing to it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.out / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"another irlbench run is writing to {self.out}: wait for it, or name another --out"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def open_for_reading(self) -> None:
        """Checks that this is a directory of records.

        Raises:
            UsageError: If it is none, or of a newer schema.
        """
        if not (self.out / "irlbench.json").is_file():
            raise UsageError(
                f"{self.out} is no directory of irlbench records (it has no irlbench.json); "
                "`irlbench run` makes one"
            )
        self._check_marker()

    def _check_marker(self) -> None:
        marker = read_json(self.out / "irlbench.json")
        schema = marker.get("schema") if isinstance(marker, dict) else None
        check_schema(schema, f"{self.out.name}/irlbench.json")

    def ids(self) -> list[str]:
        """Ids of published trials, sorted."""
        if not self.trials.is_dir():
            return []
        return sorted(p.name for p in self.trials.iterdir() if (p / "record.json").is_file())

    def folder(self, trial: str) -> Path:
        """Where a published trial's files are."""
        return self.trials / trial

    def find(self, prefix: str) -> str:
        """The one trial whose id begins so.

        Raises:
            UsageError: If there is none, or more than one.
        """
        found = [trial for trial in self.ids() if prefix and trial.startswith(prefix)]
        if len(found) != 1:
            raise UsageError(
                f"{len(found) or 'no'} trials of {self.out} begin with {prefix!r}; "
                "`irlbench status` lists them"
            )
        return found[0]

    def read(self, trial: str) -> Record:
        """Reads one record.

        Raises:
            DataError: If it is damaged, or of a newer schema.
        """
        path = self.trials / trial / "record.json"
        try:
            record = Record.from_json(read_json(path), path.name)
            if record.trial != trial:
                raise DataError(f"holds trial {record.trial[:12]}", file=path.name)
        except DataError as error:
            raise DataError(
                f"{error}; move that folder away to run the trial again", file=str(path.parent)
            ) from error
        return record

    def verified_folder(self, record: Record) -> Path:
        """A published trial's folder, its policy and reward compared with the record.

        Raises:
            DataError: If a file was changed after it was written, or is missing.
        """
        place = self.folder(record.trial)
        for name, digest in record.files.items():
            if name.startswith(("policy.", "reward.")):
                path = place / name
                if not path.is_file() or sha256_file(path) != digest:
                    raise DataError(
                        "is missing or was changed after it was written", file=str(path)
                    )
        return place

    def records(self) -> Iterator[Record]:
        """Every published record, in order of id."""
        for trial in self.ids():
            yield self.read(trial)

    def curve(self, trial: str) -> Any:
        """A trial's curve as a polars data frame: step, seconds, kind, name, value."""
        import polars

        return polars.read_parquet(self.trials / trial / "curve.parquet")

    def work_folder(self, trial: str, *, keep: bool) -> Path:
        """A folder for a trial under way.

        Args:
            trial: Its id.
            keep: Keep what an earlier attempt left (its checkpoint).
        """
        folder = self.working / trial
        if folder.exists() and not keep:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, record: Record, curve: Sequence[CurveRow], work: Path) -> Record | None:
        """Seals a record and moves its folder into place.

        Args:
            record: What is known, without hashes.
            curve: The curve's rows.
            work: The trial's working folder with policy, reward and log.

        Returns:
            The sealed record, or None where another process published it first.
        """
        import dataclasses

        shutil.rmtree(work / "saves", ignore_errors=True)
        for path in work.glob("checkpoint.*"):
            path.unlink()
        write_curve(work / "curve.parquet", curve)
        files = {p.name: sha256_file(p) for p in sorted(work.iterdir()) if p.name != "record.json"}
        rows = [(step, kind, name, value) for step, _, kind, name, value in curve]
        record = dataclasses.replace(record, files=files, curve_points=len(curve)).sealed(rows)
        text = json.dumps(record.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        write_text_atomic(work / "record.json", text)
        for path in work.iterdir():
            _sync(path)
        _sync(work)
        try:
            work.rename(self.trials / record.trial)
        except OSError:
            if not (self.trials / record.trial / "record.json").exists():
                raise
            shutil.rmtree(work, ignore_errors=True)
            return None
        _sync(self.trials)
        return record


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_curve(path: Path, rows: Sequence[CurveRow]) -> None:
    """Writes `curve.parquet`."""
    import polars

    schema = {
        "step": polars.Int64,
        "seconds": polars.Float64,
        "kind": polars.String,
        "name": polars.String,
        "value": polars.Float64,
    }
    polars.DataFrame(list(rows), schema=schema, orient="row").write_parquet(path)
