"""What is registered, as JSON values: from declared metadata alone, nothing is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from irlbench.algorithm import Algorithm, Solver
from irlbench.cli.output import complain
from irlbench.configurable import Configurable
from irlbench.registry import Group, registry, why_not
from irlbench.suite import Suite
from irlbench.task import Task


class Kind(StrEnum):
    """What can be listed."""

    TASKS = "tasks"
    ALGORITHMS = "algorithms"
    SOLVERS = "solvers"
    SUITES = "suites"
    MATRIX = "matrix"


#: Which group of the registry a kind is.
GROUPS: Mapping[Kind, Group] = {
    Kind.TASKS: "tasks",
    Kind.ALGORITHMS: "algorithms",
    Kind.SOLVERS: "solvers",
    Kind.SUITES: "suites",
}


def loaded(group: Group) -> list[Any]:
    """Everything of a group, in order of name; what cannot be imported is named on stderr."""
    found = []
    for name in registry().names(group):
        try:
            found.append(registry().get(group, name))
        except Exception as error:  # somebody's package must not take the list down
            complain(f"{group[:-1]} {name!r} cannot be loaded: {type(error).__name__}: {error}")
    return found


def catalogue(kinds: Sequence[Kind]) -> dict[str, list[Any]]:
    """What everything of these kinds declares, as JSON values, by kind."""
    wanted = {GROUPS[kind] for kind in kinds if kind is not Kind.MATRIX}
    if Kind.MATRIX in kinds:
        wanted |= {"algorithms", "tasks"}
    things = {group: loaded(group) for group in sorted(wanted)}
    return {
        kind.value: matrix(things["algorithms"], things["tasks"])
        if kind is Kind.MATRIX
        else [describe(kind, thing) for thing in things[GROUPS[kind]]]
        for kind in kinds
    }


def describe(kind: Kind, thing: Any) -> dict[str, Any]:
    """What one of them declares, as JSON values."""
    if kind is Kind.TASKS:
        return _task(thing)
    if kind is Kind.SUITES:
        return _suite(thing)
    return _configurable(thing)


def _task(task: Task) -> dict[str, Any]:
    info = task.info
    return {
        "id": info.id,
        "world": info.world,
        "summary": info.summary,
        "note": info.note,
        "lacks": info.lacks,
        "transfer": info.transfer,
        "needs_data": info.needs_data,
        "environment": info.environment,
        "actions": info.actions,
        "horizon": info.horizon,
        "discount": info.discount,
        "demonstrations": info.demonstrations,
        "preferences": info.preferences,
        "budget": dataclasses.asdict(info.budget),
        "supplies": sorted(info.supplies),
        "scores": [dataclasses.asdict(score) for score in info.scores],
        "reward_scores": [dataclasses.asdict(score) for score in info.reward_scores],
        "primary": info.primary.name,
        "low": info.low,
        "high": info.high,
        "references": {name: dict(scores) for name, scores in info.references.items()},
        "protocol": dict(info.protocol),
        "hash": task.hash,
    }


def _configurable(thing: type[Algorithm] | type[Solver]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": thing.id,
        "version": thing.version,
        "summary": thing.summary,
        "worlds": list(thing.worlds),
        "actions": list(thing.actions),
    }
    if issubclass(thing, Algorithm):
        found["paper"] = thing.paper
        found["tracks"] = list(thing.tracks)
        found["needs"] = {
            track: {world: sorted(thing.needs_for(world, track)) for world in thing.worlds}
            for track in thing.tracks
        }
        found["optional"] = sorted(thing.optional)
        found["resumable"] = thing.resumable
        found["requires"] = list(thing.requires)
    else:
        found["needs"] = sorted(thing.needs)
    found["hyperparameters"] = _hyperparameters(thing)
    return found


def _hyperparameters(thing: type[Configurable]) -> list[dict[str, Any]]:
    return [
        {
            "name": field.name,
            "type": str(field.type),
            "default": _plain(field.default),
            "worlds": {
                world: _plain(changed[field.name])
                for world, changed in thing.defaults.items()
                if field.name in changed
            },
            "help": field.metadata.get("help", ""),
        }
        for field in dataclasses.fields(thing.Config)
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _suite(suite: Suite) -> dict[str, Any]:
    return {
        "name": suite.name,
        "summary": suite.summary,
        "seeds": list(suite.seeds),
        "entries": [
            {
                "task": entry.task,
                "algorithms": list(entry.algorithms),
                "tracks": list(entry.tracks),
                "demonstrations": list(entry.demonstrations),
                "settings": {key: _plain(value) for key, value in entry.settings.items()},
                "budget": dict(entry.budget),
            }
            for entry in suite.entries
        ],
    }


def matrix(algorithms: Sequence[type[Algorithm]], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Every pair of algorithm and task: whether it runs, and why not. Runs nothing."""
    pairs = []
    for algorithm in algorithms:
        for task in tasks:
            reason = why_not(algorithm, task)
            pairs.append(
                {
                    "algorithm": algorithm.id,
                    "task": task.id,
                    "runs": reason is None,
                    "reason": reason,
                }
            )
    return pairs
