"""What a reader should know about the records behind a leaderboard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from irlbench.reporting.escape import natural
from irlbench.reporting.trials import Collection, Trial


def notes(collection: Collection) -> list[str]:
    """Conflicts, late scores, unreadable records and data that differ, a sentence each."""
    found = [
        f"Conflict: trial {conflict.trial[:12]} has different results in "
        f"{' and '.join(conflict.sources)}; those of {conflict.sources[0]} count."
        for conflict in collection.conflicts
    ]
    rescored = sum(len(trial.metrics) > len(trial.record.metrics) for trial in collection.trials)
    if rescored:
        found.append(
            f"Scores of {rescored} learnt reward{'' if rescored == 1 else 's'} were computed after "
            "their trials (irlbench rescore): no record's hash vouches for them."
        )
    found += [f"Left out, unreadable: {reason}" for reason in collection.unreadable]
    built: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for trial in collection.trials:
        for name, digest in mapping(mapping(trial.record.data).get("built")).items():
            built[trial.spec["task"], str(trial.spec.get("task_hash")), str(name)].add(str(digest))
    found += [
        f"{task}: {name} was built with {len(digests)} different hashes; kinds of processor "
        "differ in the last bits."
        for (task, _, name), digests in sorted(built.items())
        if len(digests) > 1
    ]
    return found


def made_with(trials: Iterable[Trial]) -> dict[str, list[str]]:
    """What records were made with: "irlbench", "processor", package names, to values seen."""
    seen: dict[str, set[str]] = defaultdict(set)
    for trial in trials:
        code = mapping(trial.record.irlbench)
        commit = f" at {str(code['commit'])[:12]}" if code.get("commit") else ""
        dirty = " with local changes" if code.get("dirty") else ""
        seen["irlbench"].add(f"{code.get('version')}{commit}{dirty}")
        seen["processor"].add(str(mapping(trial.record.hardware).get("processor")))
        for name, value in mapping(trial.record.versions).items():
            seen[str(name)].add(str(value))
    return {name: sorted(values, key=natural) for name, values in seen.items()}


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}
