"""The store: a directory of records, and nothing else.

```
<out>/irlbench.json                      marks the directory and names its schema
<out>/trials/<trial id>/                 one finished trial, whole or not at all
<out>/trials/<trial id>.superseded-<n>/  what stood there before the trial was run again
<out>/working/<trial id>/                one under way, or cut off
```
A record is written beside and renamed into place; the first publication wins.
"""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irlbench.errors import DataError, StorageError, UsageError
from irlbench.running import claims
from irlbench.running.claims import Claim
from irlbench.running.curve import in_polars, read_curve
from irlbench.running.record import SCHEMA, Record, check_schema
from irlbench.serialisation import read_json, sha256_file, write_atomic, write_text_atomic

LOG = "log.txt"
#: In place of `trials`, in a directory that was exported.
TABLE = "records.parquet"
_RESULTS = ("policy.", "reward.")
#: What a trial that goes on from a checkpoint takes up again.
_RESUMED = ("checkpoint.json", "checkpoint.safetensors", "saves", "judged", LOG)
#: Of a longer log, the first and the last so many bytes are published.
_LOG_ENDS = 2**20
_ID = re.compile("[0-9a-f]{64}")

CurveRow = tuple[int, float, str, str, float]
"""Step, seconds, kind ("log" or "validation"), name, value."""


@dataclass(frozen=True)
class Published:
    """What stands under a trial's id: what a run has seen, and may supersede.

    Attributes:
        record: Its record, or None where it is damaged.
        damage: What is wrong with it, or None.
        identity: Of the folder; another one has another. None: it stands in another directory,
            and is never superseded.
    """

    record: Record | None
    damage: str | None
    identity: tuple[int, int] | None


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
            found = list(self.out.iterdir()) if self.out.is_dir() else []
            # Looked for last: of two runs that begin at once, one may find what the other has made.
            foreign = [p for p in found if not p.name.startswith(f".{marker.name}.")]
            if (self.out / TABLE).exists():
                raise UsageError(f"{self.out} holds exported records: name another --out")
            if foreign and not marker.exists():
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
        """Ids of published trials, damaged ones among them, sorted."""
        if not self.trials.is_dir():
            return []
        return sorted(p.name for p in self.trials.iterdir() if _ID.fullmatch(p.name))

    def under_way(self) -> tuple[list[str], list[str]]:
        """Ids of trials that somebody works on, and of those that were cut off."""
        running: list[str] = []
        cut_off: list[str] = []
        if self.working.is_dir():
            for folder in sorted(self.working.iterdir()):
                if _ID.fullmatch(folder.name):
                    (running if claims.claimed(folder) else cut_off).append(folder.name)
        return running, cut_off

    def folder(self, trial: str) -> Path:
        """Where a published trial's files are."""
        return self.trials / trial

    def find(self, prefix: str) -> str:
        """The one trial whose id begins so.

        Raises:
            UsageError: If there is none, or more than one.
        """
        return one_of(self.ids(), prefix, self.out)

    def read(self, trial: str) -> Record:
        """Reads one record.

        Raises:
            DataError: If it is damaged, or of a newer schema.
        """
        path = self.trials / trial / "record.json"
        try:
            record = Record.from_json(read_json(path, links=False), path.name)
            if record.trial != trial:
                raise DataError(f"holds trial {record.trial[:12]}", file=path.name)
        except DataError as error:
            raise DataError(
                f"{error}; `irlbench run ... --rerun {trial[:12]}` runs it again",
                file=str(path.parent),
            ) from error
        return record

    def check(self, record: Record) -> Path:
        """Compares every file of a published trial with its record.

        Returns:
            The folder.

        Raises:
            DataError: If a file was changed after it was written, or is missing.
        """
        place = self.folder(record.trial)
        for name, digest in record.files.items():
            path = place / name
            try:
                found = sha256_file(path, links=False)
            except OSError as error:
                raise DataError(f"cannot be read: {error.strerror}", file=str(path)) from error
            if found != digest:
                raise DataError("was changed or damaged after it was written", file=str(path))
        return place

    def published(self, trial: str) -> Published | None:
        """What stands under an id, every file of it checked; None where nothing does."""
        try:
            status = self.folder(trial).stat()
        except FileNotFoundError:
            return None
        identity = (status.st_dev, status.st_ino)
        try:
            record = self.read(trial)
            self.check(record)
        except DataError as error:
            return Published(None, str(error), identity)
        return Published(record, None, identity)

    def records(self) -> Iterator[Record]:
        """Every published record, in order of id."""
        for trial in self.ids():
            yield self.read(trial)

    def curve(self, trial: str, rows: int | None = None) -> Any:
        """A trial's curve as a polars data frame: step, seconds, kind, name, value.

        Args:
            trial: Its id.
            rows: How many it has, by its record.

        Raises:
            DataError: If it cannot be read, or is no such curve.
        """
        return in_polars(read_curve(self.trials / trial / "curve.parquet", rows))

    def claim(
        self, trial: str, *, resumable: bool, seen: Published | None = None
    ) -> Claim | Published | None:
        """Takes a trial, so that no other run does.

        Args:
            trial: Its id.
            resumable: Keep what an earlier attempt left to go on from.
            seen: What stood under the id when the run was planned, to be superseded.

        Returns:
            A claim with a working folder; or what another run has published by now; or None where
            another run has taken it.

        Raises:
            StorageError: If the disk is full or cannot be written.
        """
        with self._writing(f"trial {trial[:12]} cannot be begun in"):
            claim = claims.claim(self.working / trial)
            if claim is None:
                return None
            there = self.published(trial)
            if there is not None and (seen is None or there.identity != seen.identity):
                claim.discard()
                return there
            claim.clear(keep=lambda path: resumable and path.name in _RESUMED)
            return claim

    def publish(
        self,
        record: Record,
        curve: Sequence[CurveRow],
        claim: Claim,
        seen: Published | None = None,
    ) -> Record | None:
        """Seals a record and moves its folder into place.

        Args:
            record: What is known, without hashes.
            curve: The curve's rows.
            claim: The trial's, with policy, reward and log in its folder. Nothing else of what is
                there is trusted: the trial could do anything to it.
            seen: What it supersedes, if anything.

        Returns:
            The sealed record, or None where another process published the trial first.

        Raises:
            StorageError: If the disk is full or cannot be written.
            DataError: If what was written could not be read again.
        """
        work = claim.folder
        with self._writing(f"the record of trial {record.trial[:12]} cannot be written to"):
            if not claim.mend():
                return None
            claim.clear(keep=_is_result)
            sealed = _write(record, curve, work)
            for path in [*work.iterdir(), work]:
                _sync(path)
            if not self._move(work, record.trial, seen):
                claim.discard()
                return None
            _sync(self.trials)
        claim.release()
        return sealed

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{what} {self.out}: {error.strerror or error}") from error

    def _move(self, work: Path, trial: str, seen: Published | None) -> bool:
        """Moves a whole record into place; False where another one stands there."""
        place = self.folder(trial)
        if seen is not None:
            there = self.published(trial)
            if there is not None and there.identity == seen.identity:
                self._supersede(trial)
        try:
            work.rename(place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            there = self.published(trial)
            if there is None or there.damage is None:
                return False
            self._supersede(trial)  # what cannot be read is no publication
            work.rename(place)
        return True

    def _supersede(self, trial: str) -> None:
        place, number = self.folder(trial), 1
        while True:
            aside = place.with_name(f"{trial}.superseded-{number}")
            if not aside.exists():
                place.rename(aside)
                return
            number += 1


def one_of(trials: Sequence[str], prefix: str, place: str | Path) -> str:
    """The one trial whose id begins so.

    Args:
        trials: Ids.
        prefix: The beginning of one.
        place: Where they are, for errors.

    Raises:
        UsageError: If there is none, or more than one.
    """
    found = [trial for trial in trials if prefix and trial.startswith(prefix)]
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'no'} trials of {place} begin with {prefix!r}; "
            "`irlbench status` lists them"
        )
    return found[0]


def _is_result(path: Path) -> bool:
    return path.is_file() and (path.name == LOG or path.name.startswith(_RESULTS))


def _write(record: Record, curve: Sequence[CurveRow], work: Path) -> Record:
    """Writes curve and `record.json` beside policy, reward and log.

    Raises:
        DataError: If they could not be read again: what an evaluator hands out may be too large.
    """
    if record.error is not None:
        with (work / LOG).open("a", encoding="utf-8") as log:
            log.write(record.error["traceback"] + "\n")
    _shorten(work / LOG)
    write_atomic(work / "curve.parquet", _parquet(curve))
    files = {p.name: sha256_file(p) for p in sorted(work.iterdir())}
    rows = [(step, kind, name, value) for step, _, kind, name, value in curve]
    sealed = dataclasses.replace(record, files=files, curve_points=len(curve)).sealed(rows)
    text = json.dumps(sealed.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_text_atomic(work / "record.json", text)
    read_curve(work / "curve.parquet", len(curve))
    return Record.from_json(read_json(work / "record.json"))


def _shorten(log: Path) -> None:
    """Leaves the beginning and the end of a long log."""
    size = log.stat().st_size if log.exists() else 0
    if size <= 2 * _LOG_ENDS:
        return
    with log.open("rb") as stream:
        first = stream.read(_LOG_ENDS)
        stream.seek(size - _LOG_ENDS)
        last = stream.read()
    left_out = f"\n[... {size - 2 * _LOG_ENDS:,} bytes left out ...]\n".encode()
    write_atomic(log, first + left_out + last)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parquet(rows: Sequence[CurveRow]) -> bytes:
    import polars

    schema = {
        "step": polars.Int64,
        "seconds": polars.Float64,
        "kind": polars.String,
        "name": polars.String,
        "value": polars.Float64,
    }
    content = io.BytesIO()
    polars.DataFrame(list(rows), schema=schema, orient="row").write_parquet(content)
    return content.getvalue()
