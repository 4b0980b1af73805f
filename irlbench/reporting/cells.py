"""Which trials make one row, which rows compete, and the words that tell rows apart.

A cell is everything that determined a trial but its seed: nothing else is ever averaged over. A
setting is the part of it that is given and not chosen by the algorithm; rows are ranked within it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irlbench.reporting.escape import clean, shorten
from irlbench.reporting.facts import FactsOf, TaskFacts
from irlbench.reporting.numbers import count, duration
from irlbench.reporting.trials import Trial, number
from irlbench.serialisation import canonical_json, sha256_json

SETTING = (
    "task",
    "task_hash",
    "track",
    "budget",
    "demonstrations",
    "preferences",
    "demos",
    "given",
    "model",
)
VARIANT = (
    "algorithm",
    "algorithm_version",
    "plugin_hash",
    "config",
    "solvers",
    "device",
    "threads",
)


_Words = tuple[list[str], list[str]]
"""What is given and what the algorithm chose, in words."""


@dataclass(frozen=True)
class Cell:
    """Trials that differ in their seed alone.

    Attributes:
        trials: In order of seed.
        setting: Equal for cells that compete.
        given: What differs from the task's defaults in what is given, in words; part of `variant`.
        variant: What differs from the defaults, in words; empty where nothing does.
        facts: What is known about the task, or None.
    """

    trials: tuple[Trial, ...]
    setting: str
    given: str
    variant: str
    facts: TaskFacts | None

    @property
    def spec(self) -> Mapping[str, Any]:
        """What determined the trials, the seed aside."""
        return self.trials[0].spec


def cells(trials: Iterable[Trial], facts_of: FactsOf) -> list[Cell]:
    """Groups trials into cells and names what tells them apart.

    Args:
        trials: One per id.
        facts_of: What is known about a task.
    """
    groups: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[_key(trial, SETTING + VARIANT)].append(trial)
    members = [sorted(group, key=lambda t: (t.spec["seed"], t.id)) for group in groups.values()]
    seen = _Seen([group[0].spec for group in members])
    facts = {task: facts_of(task) for task in {group[0].spec["task"] for group in members}}
    words = [seen.words(group[0].spec, facts[group[0].spec["task"]]) for group in members]
    for index in _alike(members, words):
        identity = sha256_json(_key(members[index][0], SETTING + VARIANT))
        words[index][1].append(f"#{identity[:6]}")
    return [
        Cell(
            trials=tuple(group),
            setting=_key(group[0], SETTING),
            given=", ".join(given),
            variant=", ".join([*chosen, *given]),
            facts=facts[group[0].spec["task"]],
        )
        for group, (given, chosen) in zip(members, words, strict=True)
    ]


def _key(trial: Trial, fields: Sequence[str]) -> str:
    return canonical_json([trial.spec.get(name) for name in fields])


def _alike(members: Sequence[Sequence[Trial]], words: Sequence[_Words]) -> list[int]:
    """Indices of cells that their words do not tell from another."""
    same: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, (group, (given, chosen)) in enumerate(zip(members, words, strict=True)):
        spec = group[0].spec
        same[spec["task"], spec["track"], spec["algorithm"], *chosen, *given].append(index)
    return [index for group in same.values() if len(group) > 1 for index in group]


class _Seen:
    """Which values of each field occur, so that only what tells rows apart is spelt out."""

    def __init__(self, specs: Sequence[Mapping[str, Any]]) -> None:
        self._values: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for spec in specs:
            for name in _SAY:
                self._values[_neighbourhood(spec, name)].add(canonical_json(spec.get(name)))

    def words(self, spec: Mapping[str, Any], facts: TaskFacts | None) -> _Words:
        """What differs from the defaults or from neighbouring rows, most telling first."""
        given: list[str] = []
        chosen = [_hyperparameter(name, value) for name, value in _items(spec.get("changed"))]
        for name, say in _SAY.items():
            several = len(self._values[_neighbourhood(spec, name)]) > 1
            text = say(spec.get(name), spec, facts, several)
            if text:
                (given if name in SETTING else chosen).append(text)
        return given, chosen


def _neighbourhood(spec: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The rows among which a value must tell one from another."""
    if name in ("demonstrations", "given"):
        return spec["task"], spec["track"], str(spec.get("demos")), name
    return spec["task"], spec["track" if name in SETTING else "algorithm"], "", name


def _items(value: Any) -> list[tuple[str, Any]]:
    return sorted(value.items()) if isinstance(value, Mapping) else []


def _hyperparameter(name: str, value: Any) -> str:
    written = value if isinstance(value, str) else canonical_json(value)
    return shorten(f"{name}={written}", 60)


def _several_of(value: Any, noun: str) -> str:
    return f"{shorten(value, 20)} {noun}{'' if value == 1 else 's'}"


def _demonstrations(
    value: Any, spec: Mapping[str, Any], facts: TaskFacts | None, several: bool
) -> str:
    # Imported demonstrations have no usual number: all of them are given.
    usual = facts.demonstrations if facts is not None and not spec.get("demos") else None
    told = several if facts is None else value != usual
    if value is None:
        return "all demonstrations" if several else ""
    return _several_of(value, "demonstration") if told else ""


def _preferences(value: Any, _: Mapping[str, Any], facts: TaskFacts | None, several: bool) -> str:
    told = several if facts is None else value != facts.preferences
    return _several_of(value, "preference") if told and value is not None else ""


def _demos(value: Any, *_: Any) -> str:
    return "" if value is None else f"demos {shorten(value, 40)}"


def _given(value: Any, _: Any, __: Any, several: bool) -> str:
    return f"data {sha256_json(value)[:8]}" if several and value else ""


def _model(value: Any, _: Any, facts: TaskFacts | None, several: bool) -> str:
    if value is None:
        return ""
    usual = facts is not None and (not facts.frozen or str(value) in facts.frozen)
    return f"model {clean(value)[:8]}" if several or not usual else ""


def _budget(value: Any, _: Any, facts: TaskFacts | None, several: bool) -> str:
    limits = {k: number(v) for k, v in _items(value) if v is not None}
    usual = {k: v for k, v in facts.budget.items() if v is not None} if facts is not None else None
    if not several and (usual is None or usual == limits):
        return ""
    parts = [
        duration(limit) if name == "seconds" else f"{count(limit)} {name.replace('_', ' ')}"
        for name, limit in limits.items()
        if limit is not None
    ]
    return f"budget {' and '.join(parts)}" if parts else "no budget"


def _task_hash(value: Any, _: Any, facts: TaskFacts | None, several: bool) -> str:
    other = facts is not None and facts.hash != value
    return f"task {str(value)[:8]}" if several or other else ""


def _version(value: Any, _: Any, __: Any, several: bool) -> str:
    return f"version {shorten(value, 20)}" if several else ""


def _plugin(value: Any, _: Any, __: Any, several: bool) -> str:
    return f"plug-in {str(value)[:8]}" if several and value is not None else ""


def _device(value: Any, _: Any, __: Any, several: bool) -> str:
    return f"on {shorten(value, 20)}" if several else ""


def _threads(value: Any, _: Any, __: Any, several: bool) -> str:
    return _several_of(value, "thread") if several else ""


_SAY = {
    "demos": _demos,
    "demonstrations": _demonstrations,
    "preferences": _preferences,
    "model": _model,
    "given": _given,
    "budget": _budget,
    "algorithm_version": _version,
    "plugin_hash": _plugin,
    "device": _device,
    "threads": _threads,
    "task_hash": _task_hash,
}
