"""What each field of `record.json` may hold. A record may come from anybody.

Everything that reads records relies on this: whoever has a `Record` need not ask again whether a
score is a number, or a file's name leads out of the record's folder.
"""

from __future__ import annotations

import re
import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_DIGEST = re.compile("[0-9a-f]{64}")
#: Larger whole numbers fit no column of a table.
_WHOLE = 2**63
_NUMBERS = frozenset({int, float})
#: Larger whole numbers are no floats either. Infinities and NaN are caught before, by the hash.
_LARGEST = int(sys.float_info.max)


@dataclass(frozen=True)
class Form:
    """What a value may be.

    Attributes:
        fits: Whether a value is of this form.
        words: The form, after "is no".
    """

    fits: Callable[[Any], bool]
    words: str

    @property
    def or_none(self) -> Form:
        """The same form, or nothing."""
        return Form(lambda value: value is None or self.fits(value), self.words)


def _number(value: Any) -> bool:
    return type(value) in _NUMBERS and -_LARGEST <= value <= _LARGEST


def _amount(value: Any) -> bool:
    return type(value) in _NUMBERS and 0 <= value <= _LARGEST


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < _WHOLE


def _object_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is dict and all(map(fits, value.values()))


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


def _numbers(value: Any) -> bool:
    """A list of numbers; they may be many, so there is no Python for each."""
    if type(value) is not list:
        return False
    if not value:
        return True
    return (
        _NUMBERS.issuperset(map(type, value)) and -_LARGEST <= min(value) <= max(value) <= _LARGEST
    )


def is_digest(value: Any) -> bool:
    """Whether a value is a SHA-256 as records write it."""
    return type(value) is str and _DIGEST.fullmatch(value) is not None


def _file_names(value: Any) -> bool:
    """Files beside `record.json` to their SHA-256; no name leads anywhere else."""
    return _object_of(is_digest)(value) and not any(
        name in ("", ".", "..", "record.json") or "/" in name or "\0" in name for name in value
    )


_TEXT, _FLAG, _OBJECT = (
    Form(_is(str), "text"),
    Form(_is(bool), "truth value"),
    Form(_is(dict), "object"),
)
_INTEGER = Form(_whole, "whole number from 0 on that a table can hold")
_AMOUNT = Form(_amount, "number from 0 on")
#: Of scores by name.
SCORES = Form(_object_of(_number), "object of numbers")
_TEXTS = Form(_object_of(_is(str)), "object of texts")
_SHA256 = Form(is_digest, "SHA-256 in 64 hexadecimal digits")

#: Field to form; a nested table tells the fields of an object.
FIELDS: Mapping[str, Form] = {
    "schema": _INTEGER,
    "trial": _SHA256,
    "status": Form(lambda value: value in ("done", "failed"), "'done' or 'failed'"),
    "spec": _OBJECT,
    "world": _TEXT,
    "environment": _TEXT,
    "primary": _OBJECT,
    "references": Form(_object_of(SCORES.fits), "object of objects of numbers"),
    "scores": SCORES,
    "metrics": SCORES,
    "best": _OBJECT.or_none,
    "episodes": Form(_object_of(_numbers), "object of lists of numbers"),
    "samples": Form(
        lambda value: type(value) is list and all(map(_OBJECT.fits, value)), "list of objects"
    ),
    "verifiable": _FLAG,
    "has_reward": _FLAG,
    "costs": Form(_object_of(_amount), "object of numbers from 0 on"),
    "curve_points": _INTEGER,
    "error": _OBJECT.or_none,
    "versions": _TEXTS,
    "irlbench": Form(
        _object_of(lambda value: value is None or type(value) in (str, bool)), "object of texts"
    ),
    "hardware": _TEXTS,
    "data": Form(_object_of(_TEXTS.fits), "object of objects of texts"),
    "files": Form(_file_names, "object of plain file names and SHA-256"),
    "content_hash": _SHA256,
    "integrity": _SHA256,
}

#: The same for the objects of which every field is known; see `TrialSpec` for "spec".
PARTS: Mapping[str, Mapping[str, Form]] = {
    "spec": {
        "task": _TEXT,
        "task_hash": _TEXT,
        "algorithm": _TEXT,
        "algorithm_version": _INTEGER,
        "plugin_hash": _TEXT.or_none,
        "config": _OBJECT,
        "budget": _OBJECT,
        "track": _TEXT,
        "demonstrations": _INTEGER.or_none,
        "preferences": _INTEGER.or_none,
        "seed": _INTEGER,
        "demos": _TEXT.or_none,
        "given": _TEXTS,
        "model": _TEXT.or_none,
        "device": _TEXT,
        "threads": _INTEGER,
        "solvers": Form(_object_of(_is(dict)), "object of objects"),
        "changed": _OBJECT,
    },
    "spec.budget": {
        "steps": _AMOUNT.or_none,
        "gradient_steps": _AMOUNT.or_none,
        "seconds": _AMOUNT.or_none,
    },
    "primary": {"name": _TEXT, "higher_is_better": _FLAG, "low": _TEXT, "high": _TEXT},
    "best": {"step": _INTEGER, "scores": SCORES},
    "error": {"type": _TEXT, "message": _TEXT, "traceback": _TEXT},
}


def misfit(value: Mapping[str, Any]) -> tuple[str | None, str] | None:
    """The first thing about a record of the newest schema that is not as it must be.

    Args:
        value: The content of `record.json`.

    Returns:
        The field (None for the record itself) and what is wrong; None where all is well.
    """
    found = _misfit(value, FIELDS, "")
    for name, forms in PARTS.items():
        if found is not None:
            break
        above, _, below = name.rpartition(".")
        part = (value[above] if above else value)[below]
        if part is not None:
            found = _misfit(part, forms, f"{name}.")
    return found


def _misfit(
    value: Mapping[str, Any], forms: Mapping[str, Form], place: str
) -> tuple[str | None, str] | None:
    if value.keys() != forms.keys():
        missing = [name for name in forms if name not in value]
        unknown = [reprlib.repr(name) for name in value if name not in forms]
        said = f"lacks {', '.join(missing)}" if missing else f"has unknown {', '.join(unknown[:3])}"
        return place.rstrip(".") or None, said
    for name, form in forms.items():
        if not form.fits(value[name]):
            return f"{place}{name}", f"is no {form.words}: {reprlib.repr(value[name])}"
    return None


def contradiction(value: Mapping[str, Any]) -> str | None:
    """What fields of a record say against each other, or None.

    Args:
        value: A record's content, every field of its form.
    """
    if (value["status"] == "failed") != (value["error"] is not None):
        return f"has status {value['status']!r}, but error {reprlib.repr(value['error'])}"
    for flag, name in (("verifiable", "policy"), ("has_reward", "reward")):
        if value[flag] and not {f"{name}.json", f"{name}.safetensors"} <= value["files"].keys():
            return f"has {flag} set, but no hash of {name}.json and {name}.safetensors"
    return None
