"""Scores of learnt rewards that are computed after their trials: new measures for old records.

A record is sealed and stays as it is. What is computed later stands beside the trials, in
`<dir>/rescored.json`: for each trial the content hash of its record, and the scores that this lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irlbench.errors import DataError, UsageError
from irlbench.home import home
from irlbench.registry import registry
from irlbench.running.child import reward_metrics, seed_libraries
from irlbench.running.provenance import code, describe_error
from irlbench.running.record import Record
from irlbench.running.record_form import SCORES, is_digest
from irlbench.running.store import Store
from irlbench.serialisation import read_json, write_text_atomic
from irlbench.task import Evaluator, Task, TaskOptions

RESCORED = "rescored.json"
SCHEMA = 1


@dataclass(frozen=True)
class Later:
    """What was computed after a trial.

    Attributes:
        content_hash: Of the record that it belongs to.
        metrics: Name to value.
    """

    content_hash: str
    metrics: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {"content_hash": self.content_hash, "metrics": dict(self.metrics)}


@dataclass
class Rescored:
    """What rescoring came to.

    Attributes:
        done: Trials that have scores now which their records lack.
        complete: Trials whose records lack none.
        failed: Trial to why its reward could not be scored.
        left_out: Why trials were left out, to how many.
    """

    done: int = 0
    complete: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def rescore(folder: str | Path, tell: Callable[[str], None]) -> Rescored:
    """Scores the rewards that trials have left, as far as their records lack scores.

    Args:
        folder: An output directory of `irlbench run`.
        tell: Is told what is being done, a line at a time.

    Raises:
        UsageError: If there are no records, or the directory cannot be written.
        DataError: If a record, or what was computed before, is damaged.
    """
    store = Store(Path(folder))
    store.open_for_reading()
    known = read_rescored(store.out)
    judges: dict[str, tuple[Task, Evaluator]] = {}
    found = Rescored()
    for record in store.records():
        if record.failed or not record.has_reward:
            continue
        why, task = _task_of(record)
        if task is None:
            found.left_out[why] = found.left_out.get(why, 0) + 1
            continue
        label = f"{task.id} {record.spec['algorithm']} seed {record.spec['seed']}"
        if task.id not in judges:
            judges[task.id] = task, task.evaluator(TaskOptions(), home())
        try:
            seed_libraries(record.spec["seed"])
            scores = reward_metrics(*judges[task.id], store.check(record))
        except Exception as error:  # one reward that is no good must not keep the others
            told = describe_error(error)
            found.failed[record.trial] = f"{label}: {told['type']}: {told['message']}"
            continue
        lacking = {name: value for name, value in scores.items() if name not in record.metrics}
        known.pop(record.trial, None)
        if lacking:
            known[record.trial] = Later(record.content_hash, lacking)
            found.done += 1
            tell(f"{label}: {', '.join(f'{k} {v:.4g}' for k, v in lacking.items())}")
        else:
            found.complete += 1
    write_rescored(known, store.out)
    return found


def _task_of(record: Record) -> tuple[str, Task | None]:
    """The task that a record is of, or why that cannot judge its reward here."""
    name = record.spec["task"]
    try:
        task = registry().task(name)
    except UsageError:
        return f"{name} is not installed", None
    if task.hash != record.spec["task_hash"]:
        return f"{name} is another task by now", None
    if not task.info.reward_scores:
        return f"{name} has no scores of rewards", None
    return "", task


def read_rescored(folder: Path) -> dict[str, Later]:
    """What was computed after the trials of a directory, by trial; empty where nothing was.

    Raises:
        DataError: If the file is damaged, or of a newer schema.
    """
    path = folder / RESCORED
    if not path.exists():
        return {}
    value = read_json(path, links=False)
    schema = value.get("schema") if isinstance(value, dict) else None
    trials = value.get("trials") if isinstance(value, dict) else None
    if type(schema) is not int or schema > SCHEMA:
        raise DataError(f"is of schema {schema!r}, this irlbench reads {SCHEMA}", file=RESCORED)
    if not isinstance(trials, dict) or not all(map(_is_later, trials, trials.values())):
        raise DataError("holds no scores by trial: remove it, and rescore again", file=RESCORED)
    return {trial: Later(**later) for trial, later in trials.items()}


def all_metrics(record: Record, later: Later | None) -> Mapping[str, float]:
    """The scores of a record's learnt reward, sealed ones first.

    Args:
        record: The record.
        later: What was computed after it; it counts only if it belongs to this very record.
    """
    if later is None or later.content_hash != record.content_hash:
        return record.metrics
    return {**later.metrics, **record.metrics}


def _is_later(trial: str, value: Any) -> bool:
    return (
        is_digest(trial)
        and isinstance(value, dict)
        and value.keys() == {"content_hash", "metrics"}
        and is_digest(value["content_hash"])
        and SCORES.fits(value["metrics"])
    )


def write_rescored(later: Mapping[str, Later], folder: Path) -> None:
    """Writes what was computed after the trials of a directory; nothing where there is nothing.

    Raises:
        UsageError: If the directory cannot be written.
    """
    path = folder / RESCORED
    value = {
        "schema": SCHEMA,
        "irlbench": code(),
        "trials": {trial: later[trial].to_json() for trial in sorted(later)},
    }
    try:
        if later:
            write_text_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
