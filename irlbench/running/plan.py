"""From what the user typed to a list of trials, checked before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irlbench.algorithm import TRACKS, Algorithm
from irlbench.errors import UnknownNameError, UnsupportedPairError, UsageError
from irlbench.problem import Budget
from irlbench.registry import registry, require_known, require_pair, tracks_on
from irlbench.running.trial import TrialSpec
from irlbench.serialisation import sha256_json
from irlbench.suite import Suite
from irlbench.task import Prepared, Task

DEFAULT_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Choices:
    """What a user may choose for a run; None leaves it to the suite or the task.

    Attributes:
        targets: Suites and tasks.
        algorithms: Algorithm ids.
        seeds: Seeds of every cell.
        settings: `algorithm.field` to value.
        budget: Budget field to value.
        demonstrations: Numbers of demonstrations, a trial for each.
        preferences: Numbers of preferences, a trial for each.
        track: Only this track.
        demos: Name of a data set that replaces the tasks' demonstrations or preferences.
        device: "cpu" or "cuda".
        threads: Threads of numerical libraries per trial.
    """

    targets: tuple[str, ...]
    algorithms: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, float | None] = field(default_factory=dict)
    demonstrations: tuple[int, ...] | None = None
    preferences: tuple[int, ...] | None = None
    track: str | None = None
    demos: str | None = None
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True)
class Cell:
    """One task, algorithm and track, with what a suite sets for it."""

    task: Task
    algorithm: type[Algorithm]
    track: str
    seeds: tuple[int, ...]
    demonstrations: tuple[int, ...] | None
    settings: Mapping[str, Any]
    budget: Mapping[str, float | None]


def cells(choices: Choices) -> list[Cell]:
    """The cells that a run asks for; every name and value is checked.

    Raises:
        UsageError: For unknown names, unsupported pairs and values that do not fit.
    """
    if not choices.targets:
        raise UsageError("name a suite or a task; `irlbench list` shows them")
    if choices.track is not None and choices.track not in TRACKS:
        raise UnknownNameError("track", choices.track, TRACKS)
    wanted = [registry().algorithm(name) for name in choices.algorithms or ()]
    result: list[Cell] = []
    for target in choices.targets:
        if require_known(target) == "suites":
            suite: Suite = registry().get("suites", target)
            result += _of_suite(suite, wanted, choices)
        else:
            result += _of_task(registry().task(target), wanted, choices)
    if not result:
        asked = ", ".join(choices.algorithms or ()) or choices.track
        raise UnsupportedPairError(f"{asked} runs on none of {', '.join(choices.targets)}")
    _check_settings(choices.settings, result)
    for name in ("demonstrations", "preferences"):
        takers = [c for c in result if name in c.algorithm.needs_for(c.task.world, c.track)]
        if getattr(choices, name) is not None and not takers:
            raise UsageError(f"--{name}: no algorithm of this run takes {name}")
    return result


def _of_suite(suite: Suite, wanted: list[type[Algorithm]], choices: Choices) -> Iterable[Cell]:
    for entry in suite.entries:
        task = registry().task(entry.task)
        listed = wanted or [registry().algorithm(name) for name in entry.algorithms]
        for algorithm in listed:
            for track in _tracks(algorithm, task, choices.track, entry.tracks):
                yield Cell(
                    task,
                    algorithm,
                    track,
                    choices.seeds or suite.seeds,
                    choices.demonstrations or entry.demonstrations or None,
                    {**entry.settings, **choices.settings},
                    {**entry.budget, **choices.budget},
                )


def _of_task(task: Task, wanted: list[type[Algorithm]], choices: Choices) -> Iterable[Cell]:
    seeds = choices.seeds or DEFAULT_SEEDS
    for algorithm in wanted:
        require_pair(algorithm, task, None if "reference" in algorithm.tracks else choices.track)
    listed = wanted or [registry().algorithm(name) for name in registry().names("algorithms")]
    for algorithm in listed:
        for track in _tracks(algorithm, task, choices.track):
            given = choices.demonstrations
            yield Cell(task, algorithm, track, seeds, given, choices.settings, choices.budget)


def _tracks(
    algorithm: type[Algorithm], task: Task, asked: str | None, listed: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The tracks in which an algorithm runs on a task: asked for, listed by a suite, its default.

    Reference rows run beside any track.
    """
    possible = tracks_on(algorithm, task)
    if asked is not None:
        return tuple(track for track in possible if track in (asked, "reference"))
    if listed:
        return tuple(track for track in possible if track in (*listed, "reference"))
    return possible[:1]


def _check_settings(settings: Mapping[str, Any], planned: Sequence[Cell]) -> None:
    present = {cell.algorithm.id: cell for cell in planned}
    for key in settings:
        name = key.rpartition(".")[0]
        if not name:
            raise UsageError(f"--set {key}: write algorithm.field=value")
        registry().algorithm(name)
        if name not in present:
            raise UsageError(f"--set {key}: this run has no {name!r} ({', '.join(present)})")
    for cell in planned:
        _configured(cell)
        _solvers(cell)
        _budget(cell)


def _changes(cell: Cell) -> dict[str, Any]:
    prefix = f"{cell.algorithm.id}."
    return {
        key.removeprefix(prefix): value
        for key, value in cell.settings.items()
        if key.startswith(prefix)
    }


def _solvers(cell: Cell) -> dict[str, Any]:
    """Version, configuration and plug-in of every solver that the algorithm calls."""
    made = cell.algorithm.configure(cell.task.world, _changes(cell))
    found: dict[str, Any] = {}
    for name in cell.algorithm.solvers_for(
        cell.task.world, cell.track, made.config, cell.task.info.actions
    ):
        solver = registry().solver(name)
        found[name] = {
            "version": solver.version,
            "config": _listed(dataclasses.asdict(solver.configure(cell.task.world).config)),
            "plugin_hash": registry().plugin_hash("solvers", name),
        }
    return found


def _plugin_hash(cell: Cell) -> str | None:
    """Of the plug-in files that algorithm and task came from, or None."""
    files = {
        registry().plugin_hash("algorithms", cell.algorithm.id),
        registry().plugin_hash("tasks", cell.task.id),
    } - {None}
    return sha256_json(sorted(map(str, files))) if len(files) > 1 else next(iter(files), None)


def _configured(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole configuration, and the part of it that differs from the world's defaults."""
    made = cell.algorithm.configure(cell.task.world, _changes(cell))
    config = _listed(dataclasses.asdict(made.config))
    default = _listed(dataclasses.asdict(cell.algorithm.configure(cell.task.world).config))
    return config, {k: v for k, v in config.items() if v != default[k]}


def _listed(config: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}


def _budget(cell: Cell) -> dict[str, Any]:
    merged = {**dataclasses.asdict(cell.task.info.budget), **cell.budget}
    fields = {f.name for f in dataclasses.fields(Budget)}
    for name in merged:
        if name not in fields:
            raise UnknownNameError("budget", name, fields)
    Budget(**merged)
    whole = {k: None if v is None else int(v) for k, v in merged.items() if k != "seconds"}
    seconds = merged["seconds"]
    return {**whole, "seconds": None if seconds is None else float(seconds)}


def trials(
    planned: Sequence[Cell], prepared: Mapping[str, Prepared], choices: Choices
) -> list[TrialSpec]:
    """The trials of the planned cells, seed by seed, so that every cell grows at one pace.

    Args:
        planned: From `cells`.
        prepared: Task id to what preparing it found.
        choices: What the user chose.
    """
    made: dict[str, TrialSpec] = {}
    firsts = [
        (set(cell.seeds), _of_cell(cell, prepared[cell.task.id], choices)) for cell in planned
    ]
    for seed in sorted({seed for seeds, _ in firsts for seed in seeds}):
        for seeds, specs in firsts:
            if seed in seeds:
                for first in specs:
                    spec = dataclasses.replace(first, seed=seed)
                    made.setdefault(spec.id, spec)
    if choices.demos and not any(spec.demos for spec in made.values()):
        held = sorted({name for found in prepared.values() for name in found.given})
        raise UsageError(
            f"--demos {choices.demos}: no algorithm of this run takes {' or '.join(held)}"
        )
    return list(made.values())


def _of_cell(cell: Cell, prepared: Prepared, choices: Choices) -> list[TrialSpec]:
    """One trial for each choice of what is given; the seed is still to be put in."""
    task, algorithm = cell.task, cell.algorithm
    needs = algorithm.needs_for(task.world, cell.track)
    takes_demonstrations, takes_preferences = "demonstrations" in needs, "preferences" in needs
    brought = needs & prepared.given.keys() if choices.demos else frozenset()
    usual = {"demonstrations": task.info.demonstrations, "preferences": task.info.preferences}
    usual |= dict.fromkeys(brought)  # all that the user brought
    counts: Sequence[int | None] = cell.demonstrations or (usual["demonstrations"],)
    comparisons: Sequence[int | None] = choices.preferences or (usual["preferences"],)
    config, changed = _configured(cell)
    uses_given = takes_demonstrations or task.info.needs_data is not None
    if choices.demos:
        uses_given = bool(brought)
    if takes_demonstrations:
        _require_available("demonstrations", counts, prepared.available, task)
    if takes_preferences:
        _require_available("preferences", comparisons, prepared.available_preferences, task)
    first = TrialSpec(
        task=task.id,
        task_hash=task.hash,
        algorithm=algorithm.id,
        algorithm_version=algorithm.version,
        plugin_hash=_plugin_hash(cell),
        config=config,
        budget=_budget(cell),
        track=cell.track,
        demonstrations=None,
        preferences=None,
        seed=0,
        demos=choices.demos if brought else None,
        given=dict(prepared.given) if uses_given else {},
        model=prepared.model,
        device=choices.device,
        threads=choices.threads,
        changed=changed,
        solvers=_solvers(cell),
    )
    return [
        dataclasses.replace(first, demonstrations=count, preferences=pairs)
        for count in (counts if takes_demonstrations else (None,))
        for pairs in (comparisons if takes_preferences else (None,))
    ]


def _require_available(
    name: str, counts: Sequence[int | None], available: int | None, task: Task
) -> None:
    for count in counts:
        if count is not None and available is not None and count > available:
            raise UsageError(f"{count} {name} asked for, but {task.id} has {available}")


def resolve_device(device: str) -> str:
    """Turns "auto" into "cuda" where there is one, else "cpu".

    Raises:
        UsageError: If "cuda" was asked for and there is none, or the name is unknown.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UnknownNameError("device", device, ("auto", "cpu", "cuda"))
    if device == "cpu" or (device == "auto" and not Path("/dev/nvidiactl").exists()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("--device cuda: torch sees no CUDA device; `irlbench doctor` says more")
    return "cpu"
