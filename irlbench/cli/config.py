"""Reads `--config F.toml`: the options of `irlbench run`, in a file.

```toml
suite = "quick"                # or: tasks = ["control/cartpole", "control/hopper"]
select = ["bc", "expert"]      # as --algorithms
seeds = "0..4"                 # or 5, or [1, 5, 7]
jobs = 2                       # likewise threads, device, timeout, demos, demonstrations,
out = "runs/slow-bc"           # preferences, track, data, model, plugins, known

[budget]                       # as --budget
gradient_steps = 5000

[algorithms.bc]                # as --set bc.learning_rate=0.0003
learning_rate = 3e-4
hidden = [64, 64]
```
Paths are taken from the working directory, as on the command line. What the command line says
goes before what the file says.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from irlbench.cli import values
from irlbench.cli.values import shown
from irlbench.errors import DataError, UsageError, did_you_mean
from irlbench.serialisation import nested, open_plain

#: What reads TOML takes quadratic time for keys of very many parts.
_MAX_BYTES = 32 * 2**10
_MOST_LEVELS = 32


def read_config(path: Path) -> dict[str, Any]:
    """Reads and checks a configuration file.

    Args:
        path: A TOML file.

    Returns:
        Keyword arguments of `irlbench.run`, "target" among them, for what the file names.
        "budget" is a dictionary of fields.

    Raises:
        UsageError: If the file cannot be read or is no TOML, with the file's name.
        DataError: If a key is unknown or a value of the wrong type, with file and field.
    """
    content = _load(path)
    found: dict[str, Any] = {}
    for key, value in content.items():
        if key == "algorithms":
            found["settings"] = _algorithm_tables(path.name, value)
        elif key == "budget":
            found["budget"] = _budget(path.name, value)
        elif key in _READERS:
            target, read = _READERS[key]
            try:
                found[target] = read(value)
            except (TypeError, UsageError) as error:
                raise DataError(str(error), file=path.name, field=key) from None
        else:
            known = [*_READERS, "algorithms", "budget"]
            raise DataError(f"unknown key{did_you_mean(key, known)}", file=path.name, field=key)
    if {"suite", "tasks"} <= set(content):
        raise DataError("names both a suite and tasks: name one of them", file=path.name)
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        with open_plain(path) as stream:
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UsageError(f"--config {path}: larger than {_MAX_BYTES // 2**10} KiB")
        found = tomllib.loads(content.decode())
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits among them
        raise UsageError(f"--config {path}: is no TOML: {error}") from None
    if nested(found, _MOST_LEVELS):
        raise UsageError(f"--config {path}: is nested deeper than {_MOST_LEVELS} levels")
    return found


def _algorithm_tables(file: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        raise DataError(
            "holds tables of hyperparameters ([algorithms.bc]); to choose algorithms, write "
            'select = ["bc"]',
            file=file,
            field="algorithms",
        )
    settings: dict[str, Any] = {}
    for algorithm, fields in _table(file, "algorithms", value).items():
        for field, setting in _table(file, f"algorithms.{algorithm}", fields).items():
            settings[f"{algorithm}.{field}"] = setting
    return settings


def _budget(file: str, value: Any) -> dict[str, float]:
    try:
        return {
            name: values.budget_value(name, number, "")
            for name, number in _table(file, "budget", value).items()
        }
    except DataError:
        raise
    except UsageError as error:
        raise DataError(str(error).strip(), file=file, field="budget") from None


def _table(file: str, field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"is a table, got {shown(value)}", file=file, field=field)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"must be text, got {shown(value)}")
    if not value.isprintable():
        raise TypeError(f"must hold no control characters, got {shown(value)}")
    return value


def _path(value: Any) -> Path:
    try:
        return Path(_text(value)).expanduser()
    except RuntimeError as error:  # the folder of nobody
        raise TypeError(f"{shown(value)}: {error}") from None


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise TypeError(f"must be a list of texts, got {shown(value)}")
    return [_text(item) for item in value]


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError(f"must be a whole number of at least 1, got {shown(value)}")
    return values.whole(str(value), "it") or value


def _positive(value: Any) -> float:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 < value <= sys.float_info.max
    ):
        raise TypeError(f"must be a positive number, got {shown(value)}")
    return float(value)


def _seeds(value: Any) -> Any:
    if isinstance(value, list):
        value = ",".join(str(seed) for seed in value) + ("" if len(value) != 1 else f"..{value[0]}")
    return values.seeds(str(value))


def _counts(value: Any) -> list[int] | None:
    listed = value if isinstance(value, list) else [value]
    return values.counts(",".join(str(number) for number in listed), "it")


#: Key of the file to keyword of `irlbench.run`, and what reads the value.
_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "suite": ("target", _text),
    "tasks": ("target", _texts),
    "select": ("algorithms", _texts),
    "seeds": ("seeds", _seeds),
    "jobs": ("jobs", _whole),
    "threads": ("threads", _whole),
    "device": ("device", lambda value: values.device(_text(value))),
    "timeout": ("timeout", _positive),
    "memory": ("memory", lambda value: values.size(str(value), "it")),
    "gpus_per_trial": ("gpus_per_trial", _positive),
    "checkpoint_every": ("checkpoint_seconds", _positive),
    "demos": ("demos", _text),
    "demonstrations": ("demonstrations", _counts),
    "preferences": ("preferences", _counts),
    "track": ("track", _text),
    "data": ("data", _path),
    "model": ("model", _text),
    "plugins": ("plugins", lambda value: [_path(item) for item in _texts(value)]),
    "known": ("known", lambda value: [_path(item) for item in _texts(value)]),
    "out": ("out", _path),
}
