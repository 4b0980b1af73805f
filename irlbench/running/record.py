"""What a trial leaves on disk: the form of `record.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from irlbench.errors import DataError
from irlbench.running.record_form import FIELDS, contradiction, misfit
from irlbench.serialisation import sha256_json

SCHEMA = 2

#: Schema to what turns the content of such a record into that of the next schema. What is written
#: stays as it is: records are upgraded when they are read.
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda value: {**value, "metrics": {}},  # learnt rewards were not scored
}

#: Costs that depend on the machine; they are left out of the content hash.
TIMINGS = ("seconds", "evaluation_seconds", "peak_memory_bytes")


@dataclass(frozen=True)
class Record:
    """One trial's outcome. Every attribute is JSON values.

    Attributes:
        trial: The trial's id.
        status: "done" or "failed".
        spec: What determined the trial; see `TrialSpec`.
        world: "gridworld", "control" or "text".
        environment: Gymnasium id.
        primary: "name", "higher_is_better", and the names of the references that normalise to
            0 ("low") and 1 ("high").
        references: Reference name to its raw scores.
        scores: Raw test scores of the final policy; empty when failed.
        metrics: Scores of the learnt reward; none where there is no reward, or it could not be saved.
        best: "step" and validation "scores" of the best policy handed in along the way, or None.
        episodes: Per-episode values of the final policy.
        samples: Samples to show, on text completions.
        verifiable: Whether the policy is of a kind that can be loaded again.
        has_reward: Whether a learnt reward was kept.
        costs: Steps, gradient steps, resources taken, seconds, peak memory in bytes.
        curve_points: Rows of `curve.parquet`.
        error: "type", "message" and "traceback" of a failure, or None.
        versions: Package name to version.
        irlbench: "version", "commit" and "dirty".
        hardware: "processor" and "device".
        data: Hashes of data built here, under "built".
        files: File name to SHA-256, for every other file of the record.
        content_hash: Over results: no times, memory, host or log, and not over `data`, whose bits
            may differ between kinds of processor.
        integrity: Over the whole record.
    """

    trial: str
    status: Literal["done", "failed"]
    spec: Mapping[str, Any]
    world: str
    environment: str
    primary: Mapping[str, Any]
    references: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: Mapping[str, Any] | None = None
    episodes: Mapping[str, list[float]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    verifiable: bool = False
    has_reward: bool = False
    costs: Mapping[str, float] = field(default_factory=dict)
    curve_points: int = 0
    error: Mapping[str, str] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    irlbench: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    content_hash: str = ""
    integrity: str = ""

    @property
    def failed(self) -> bool:
        """Whether the trial failed."""
        return self.status == "failed"

    def to_json(self) -> dict[str, Any]:
        """The content of `record.json`; it shares its values with the record."""
        return {"schema": SCHEMA, **vars(self)}

    def sealed(self, curve: list[tuple[int, str, str, float]]) -> Record:
        """A copy with `content_hash` and `integrity` set.

        Args:
            curve: Rows (step, kind, name, value) of the curve.
        """
        content: dict[str, Any] = dict(vars(self))
        for name in ("content_hash", "integrity", "versions", "irlbench", "hardware", "data"):
            del content[name]
        if not self.metrics:  # as in schema 1: what it would say again has the same hash
            del content["metrics"]
        content["costs"] = {k: v for k, v in self.costs.items() if k not in TIMINGS}
        content["files"] = {
            k: v for k, v in self.files.items() if k.startswith(("policy.", "reward."))
        }
        content["curve"] = [[step, kind, name, repr(value)] for step, kind, name, value in curve]
        if self.error is not None:
            content["error"] = {"type": self.error["type"]}
        hashed = dataclasses.replace(self, content_hash=sha256_json(content), integrity="")
        return dataclasses.replace(hashed, integrity=sha256_json(hashed.to_json()))

    @classmethod
    def from_json(cls, value: Any, file: str = "record.json") -> Record:
        """Reads the content of `record.json`; older schemas are upgraded in memory.

        Args:
            value: As `read_json` gives it.
            file: Named in errors.

        Raises:
            DataError: If the schema is newer, a field is missing or of another form, or the
                content was changed after it was sealed.
        """
        if not isinstance(value, dict):
            raise DataError("holds no record", file=file)
        check_schema(value.get("schema"), file)
        try:
            intact = _integrity(value) == value.get("integrity")
        except (ValueError, RecursionError) as error:
            raise DataError(f"holds a value that no record may hold: {error}", file=file) from None
        if intact:  # what is damaged is not worth the trouble
            value = _upgraded(value)
        wrong = misfit(value) if value["schema"] == SCHEMA else None
        if wrong is not None:
            raise DataError(wrong[1], file=file, field=wrong[0])
        if not intact:
            raise DataError("was changed or damaged after it was written", file=file)
        against = contradiction(value)
        if against is not None:
            raise DataError(against, file=file)
        return cls(**{name: value[name] for name in FIELDS if name != "schema"})


def _integrity(value: dict[str, Any]) -> str:
    return sha256_json({**value, "integrity": ""})


def _upgraded(value: dict[str, Any]) -> dict[str, Any]:
    """The content in the newest schema, sealed again where anything was changed."""
    schema: int = value["schema"]
    if schema == SCHEMA:
        return value
    for older in range(schema, SCHEMA):
        value = {**UPGRADES[older](value), "schema": older + 1}
    return {**value, "integrity": _integrity(value)}


def check_schema(found: Any, file: str) -> None:
    """Refuses what this version cannot read.

    Raises:
        DataError: If the schema is newer than this version's, or no schema at all.
    """
    if type(found) is not int or found < 1:
        raise DataError(f"names no schema (found {found!r})", file=file)
    if found > SCHEMA:
        raise DataError(
            f"is of schema {found}, this irlbench reads up to {SCHEMA}: update irlbench", file=file
        )
