"""Reading back what runs have left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irlbench.policy import Policy, load_policy
from irlbench.reward import RewardFunction, load_reward
from irlbench.running.curve import in_polars
from irlbench.running.record import Record
from irlbench.running.record_table import RecordTable, open_results
from irlbench.running.rescoring import Later, all_metrics, read_rescored
from irlbench.running.store import one_of
from irlbench.serialisation import canonical_json


@dataclass(frozen=True)
class LoadedTrial:
    """A finished trial, read back.

    Attributes:
        record: Its record.
        policy: Its final policy, or None where its kind cannot be loaded, it failed, or the
            directory is an export, which holds neither policies nor rewards.
        reward: Its learnt reward, or None.
        curve: A polars data frame: step, seconds, kind, name, value.
    """

    record: Record
    policy: Policy | None
    reward: RewardFunction | None
    curve: Any


def load_results(folder: str | Path) -> Any:
    """Every trial of an output directory as a polars data frame, one row each.

    Columns: trial, status, world; task, track, algorithm, seed, demonstrations, preferences,
    demos, model, device, threads; changed (settings that differ from the defaults) and budget, as
    JSON; plugin (its hash); error; score (the raw primary score, null when failed), normalised,
    and each further score, score of the learnt reward, and cost under "score.<name>",
    "metric.<name>" and "cost.<name>". What `irlbench rescore` has computed is among the metrics.

    Raises:
        UsageError: If the directory holds no records.
    """
    import polars

    results = open_results(folder)
    later = read_rescored(results.out)
    rows = [_row(record, later.get(record.trial)) for record in results.records()]
    return polars.DataFrame(rows, infer_schema_length=None)


def _row(record: Record, later: Later | None) -> dict[str, Any]:
    primary, spec = record.primary, record.spec
    score = record.scores.get(primary["name"])
    return {
        "trial": record.trial,
        "status": record.status,
        "world": record.world,
        **{name: spec[name] for name in ("task", "track", "algorithm", "seed", "demonstrations")},
        **{name: spec[name] for name in ("preferences", "demos", "model", "device", "threads")},
        **{name: canonical_json(spec[name]) for name in ("changed", "budget")},
        "plugin": spec["plugin_hash"],
        "error": None if record.error is None else record.error["message"],
        "score": None if score is None else float(score),
        "normalised": _normalised(record),
        **{f"score.{name}": float(value) for name, value in record.scores.items()},
        **{f"metric.{name}": float(value) for name, value in all_metrics(record, later).items()},
        **{f"cost.{name}": float(value) for name, value in record.costs.items()},
    }


def _normalised(record: Record) -> float | None:
    """The primary score between its anchors; None where a record from elsewhere lacks one."""
    name = record.primary["name"]
    low, high = (
        record.references.get(record.primary[end], {}).get(name) for end in ("low", "high")
    )
    score = record.scores.get(name)
    if score is None or low is None or high is None or float(low) == float(high):
        return None
    return (float(score) - float(low)) / (float(high) - float(low))


def load_trial(folder: str | Path, trial: str) -> LoadedTrial:
    """A finished trial with its policy, reward and curve.

    Args:
        folder: The output directory.
        trial: The trial's id, or the beginning of it.

    Raises:
        UsageError: If there is no such trial, or more than one.
        DataError: If its files are damaged.
    """
    store = open_results(folder)
    if isinstance(store, RecordTable):
        found = one_of(store.ids(), trial, folder)
        return LoadedTrial(store.read(found), None, None, in_polars(store.curve(found)))
    found = store.find(trial)
    record = store.read(found)
    place = store.check(record)
    policy = load_policy(place) if record.verifiable else None
    reward = load_reward(place) if record.has_reward else None
    return LoadedTrial(record, policy, reward, store.curve(found, record.curve_points))
