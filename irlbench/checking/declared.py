"""What can be said of an algorithm without running it."""

from __future__ import annotations

import dataclasses
from typing import Any

from irlbench.algorithm import TRACKS, WORLDS, Algorithm, resources_of
from irlbench.checking.verdicts import Check, failed, held
from irlbench.errors import IrlbenchError
from irlbench.problem import RESOURCES
from irlbench.serialisation import canonical_json

_ACTIONS = ("discrete", "continuous", "tokens")
_PLAIN = (bool, int, float, str)


def check_declarations(algorithm: type[Algorithm]) -> Check:
    """Worlds, actions, tracks and needs are known, and the tracks give what is needed."""
    name = "declarations"
    wrong = [
        f"{what} {value!r} is unknown"
        for what, values, known in (
            ("world", algorithm.worlds, WORLDS),
            ("kind of action", algorithm.actions, _ACTIONS),
            ("track", algorithm.tracks, tuple(TRACKS)),
        )
        for value in values
        if value not in known
    ]
    wrong += [f"it declares no {n}" for n in ("worlds", "tracks") if not getattr(algorithm, n)]
    if not algorithm.summary.strip():
        wrong.append("it has no summary")
    if wrong:
        return failed(name, "; ".join(wrong))
    for world in algorithm.worlds:
        for track in algorithm.tracks:
            needs = algorithm.needs_for(world, track) | algorithm.optional
            unknown, beyond = needs - RESOURCES.keys(), needs - resources_of(track)
            if unknown:
                wrong.append(f"resource {', '.join(sorted(unknown))} is unknown")
            elif beyond:
                wrong.append(f"{', '.join(sorted(beyond))} is not what track {track!r} gives")
    if wrong:
        return failed(name, "; ".join(dict.fromkeys(wrong)))
    return held(name, f"in {', '.join(algorithm.worlds)}; {', '.join(algorithm.tracks)}")


def check_config(algorithm: type[Algorithm]) -> Check:
    """The hyperparameters are a frozen dataclass of documented fields of plain types."""
    name, config = "configuration", algorithm.Config
    if not dataclasses.is_dataclass(config):
        return failed(name, f"Config is no dataclass, but {config!r}")
    if not config.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return failed(name, f"{config.__name__} is not frozen: @dataclass(frozen=True)")
    fields = dataclasses.fields(config)
    wrong = [f"{f.name} has no help: make it with `option`" for f in fields if not _help(f)]
    wrong += [
        f"{f.name} is not of a plain type by default: {f.default!r:.60}"
        for f in fields
        if not _plain(f.default)
    ]
    for world in sorted({*algorithm.worlds, *algorithm.defaults}):
        try:
            made = algorithm.configure(world).config
            canonical_json(dataclasses.asdict(made))
        except (IrlbenchError, TypeError, ValueError) as error:
            wrong.append(f"defaults in {world}: {error}")
    if wrong:
        return failed(name, "; ".join(wrong))
    return held(name, f"{len(fields)} fields, all documented, of plain types")


def _help(field: dataclasses.Field[Any]) -> bool:
    return bool(str(field.metadata.get("help", "")).strip())


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(item, _PLAIN) for item in value)
    return value is None or isinstance(value, _PLAIN)
