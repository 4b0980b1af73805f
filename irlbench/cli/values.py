"""Reads the small languages of the command line: seeds, budgets, settings, lists."""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Iterable
from typing import Any

from irlbench.errors import UnknownNameError, UsageError
from irlbench.problem import Budget

DEVICES = ("auto", "cpu", "cuda")
_MOST_SEEDS = 100_000
_LARGEST = 2**31 - 1


def whole(text: str | None, option: str, least: int = 1) -> int | None:
    """A whole number; None stays None.

    Raises:
        UsageError: If it is none, or smaller than `least`.
    """
    if text is None:
        return None
    number = _whole(text, option, "a whole number")
    if number < least:
        raise UsageError(f"{option} must be at least {least}, got {number}")
    if number > _LARGEST:
        raise UsageError(f"{option} must be at most {_LARGEST:,}, got {shown(number)}")
    return number


def seconds(text: str | None, option: str) -> float | None:
    """A positive number of seconds; None stays None.

    Raises:
        UsageError: If it is none.
    """
    return number(text, option, " of seconds")


def number(text: str | None, option: str, unit: str = "") -> float | None:
    """A positive number; None stays None.

    Raises:
        UsageError: If it is none.
    """
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found < float("inf"):
        raise UsageError(f"{option} takes a positive number{unit}, got {text!r}")
    return found


_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}


def size(text: str | None, option: str) -> int | None:
    """Bytes, from a number with a unit ("8GB", "500 MiB"); None stays None.

    Raises:
        UsageError: If it is no positive size.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", text.strip())
    unit = _UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None or not 1 <= float(found[1]) * unit < 2**63:
        raise UsageError(f"{option} takes a size such as 8GB or 500MiB, got {shown(text)}")
    return int(float(found[1]) * unit)


def device(text: str | None) -> str | None:
    """One of `DEVICES`; None stays None.

    Raises:
        UnknownNameError: If it is none of them.
    """
    if text is not None and text not in DEVICES:
        raise UnknownNameError("device", text, DEVICES)
    return text


def names(text: str | None, option: str) -> list[str] | None:
    """`A,B` as a list; None stays None.

    Raises:
        UsageError: If a name is empty or given twice.
    """
    if text is None:
        return None
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise UsageError(f"{option} takes names separated by commas, got {text!r}")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise UsageError(f"{option} names {twice[0]!r} twice")
    return found


def seeds(text: str | None) -> int | list[int] | None:
    """`N` as a number of seeds (0 to N-1); `a..b` and `1,5,7` as the seeds themselves.

    Args:
        text: What the user wrote; ranges include both ends and mix with single seeds.

    Raises:
        UsageError: If it is none of these, a seed is negative, or given twice.
    """
    if text is None:
        return None
    if "," not in text and ".." not in text:
        number = _whole(text, "--seeds", "N, a..b or 1,5,7")
        if not 1 <= number <= _MOST_SEEDS:
            raise UsageError(f"--seeds takes 1 to {_MOST_SEEDS:,} seeds, got {number}")
        return number
    found: list[int] = []
    for part in text.split(","):
        first, dots, last = (piece.strip() for piece in part.partition(".."))
        low = _whole(first, "--seeds", "N, a..b or 1,5,7")
        high = _whole(last, "--seeds", "N, a..b or 1,5,7") if dots else low
        if high < low:
            raise UsageError(f"--seeds {part.strip()}: the first seed is the larger one")
        if low < 0 or high > _LARGEST:
            raise UsageError(f"--seeds must lie in 0..{_LARGEST}, got {shown(part.strip())}")
        if len(found) + high - low + 1 > _MOST_SEEDS:
            raise UsageError(f"--seeds takes at most {_MOST_SEEDS:,} seeds, got {shown(text)}")
        found.extend(range(low, high + 1))
    seen: set[int] = set()
    for seed in found:
        if seed in seen:
            raise UsageError(f"--seeds names {seed} twice")
        seen.add(seed)
    return found


def counts(text: str | None, option: str) -> list[int] | None:
    """`1,3,10` as positive whole numbers; None stays None.

    Raises:
        UsageError: If one is not, or is given twice.
    """
    if text is None:
        return None
    found = [_whole(part, option, "whole numbers separated by commas") for part in text.split(",")]
    seen: set[int] = set()
    for number in found:
        if not 1 <= number <= _LARGEST:
            raise UsageError(f"{option} must be at least 1, got {shown(number)}")
        if number in seen:
            raise UsageError(f"{option} names {number} twice")
        seen.add(number)
    return found


def budget(items: Iterable[str]) -> dict[str, float]:
    """`steps=1e5,seconds=60` as a dictionary of `Budget` fields.

    Raises:
        UnknownNameError: If a field is unknown.
        UsageError: If a value is no number of the right kind.
    """
    found: dict[str, float] = {}
    for item in items:
        for part in item.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals:
                raise UsageError(
                    f"--budget takes name=number, got {part.strip()!r} (for example steps=100000)"
                )
            if name in found:
                raise UsageError(f"--budget names {name!r} twice")
            found[name] = budget_value(name, value, "--budget")
    return found


def budget_value(name: str, value: Any, where: str) -> float:
    """One field of a budget: whole for steps, any number for seconds.

    Args:
        name: A field of `Budget`.
        value: A number, or text that is one.
        where: Begins the message of an error.

    Raises:
        UnknownNameError: If the field is unknown.
        UsageError: If the value is no positive number of the right kind.
    """
    known = [field.name for field in dataclasses.fields(Budget)]
    if name not in known:
        raise UnknownNameError("budget field", name, known)
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except OverflowError:
        number = float("inf")
    except (TypeError, ValueError):
        raise UsageError(f"{where} {name} must be a number, got {shown(value)}") from None
    if not 0 < number < float("inf"):
        raise UsageError(f"{where} {name} must be positive and finite, got {shown(value)}")
    if name == "seconds":
        return number
    if number != int(number):
        raise UsageError(f"{where} {name} must be a whole number, got {shown(value)}")
    return int(number)


def settings(items: Iterable[str]) -> dict[str, str]:
    """`bc.learning_rate=1e-3` as `{"bc.learning_rate": "1e-3"}`.

    Raises:
        UsageError: If an item has no dot or no equals sign, or a field is set twice.
    """
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = (piece.strip() for piece in item.partition("="))
        algorithm, _, field = key.rpartition(".")
        if not equals or not algorithm or not field:
            raise UsageError(
                f"--set takes algorithm.field=value, got {item!r} "
                "(for example bc.learning_rate=0.001)"
            )
        if key in found:
            raise UsageError(f"--set sets {key} twice")
        found[key] = value
    return found


def _whole(text: str, option: str, form: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise UsageError(f"{option} takes {form}, got {shown(text.strip())}") from None


def shown(value: Any) -> str:
    """A value as a message quotes it: as it was written, the middle of a long one left out."""
    return _REPR.repr(value)


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 80
