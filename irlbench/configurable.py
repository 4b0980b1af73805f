"""What has hyperparameters: a frozen dataclass of them, with defaults per world."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from irlbench.errors import UnknownNameError, UsageError
from irlbench.serialisation import canonical_json


class Configurable:
    """Something with a frozen dataclass of hyperparameters and defaults per world.

    Attributes:
        id: Its name: `name`, or `<package>/<name>` from third parties.
        version: Raised whenever results change.
        summary: One line.
        Config: The hyperparameters, each made with `option`.
        defaults: World to the values that differ from `Config`'s there. One per world, never
            per task.
    """

    id: ClassVar[str]
    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""
    Config: ClassVar[type[Any]]
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def configure(cls, world: str, changes: Mapping[str, Any] | None = None) -> Self:
        """Builds it with the world's defaults and changes to them.

        Args:
            world: One of `WORLDS`.
            changes: Field name to value; text is converted to the field's type.

        Raises:
            UnknownNameError: If a field does not exist.
            UsageError: If a value does not fit its field.
        """
        merged = dict(cls.defaults.get(world, {}))
        fields = {f.name: f for f in dataclasses.fields(cls.Config)}
        for name, value in (changes or {}).items():
            if name not in fields:
                raise UnknownNameError(f"field of {cls.id}", name, fields)
            merged[name] = _convert(cls.id, fields[name], value)
        try:
            return cls(cls.Config(**merged))
        except ValueError as error:
            raise UsageError(f"{cls.id}: {error}") from error


def _convert(owner: str, declared: dataclasses.Field[Any], value: Any) -> Any:
    default: Any = declared.default
    wanted = type(default)
    if isinstance(value, str) and wanted is not str:
        try:
            value = ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
    field = f"{owner}.{declared.name}"
    if wanted is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            raise UsageError(f"{field} is too large for a float") from None
    if wanted is tuple and isinstance(value, list):
        value = tuple(value)
    if default is not None and not (value is None and "None" in str(declared.type)):
        if type(value) is not wanted:
            raise UsageError(f"{field} must be of type {wanted.__name__}, got {value!r}")
        held = {type(item) for item in default} if isinstance(default, tuple) else set()
        if held and {type(item) for item in value} - held:
            kinds = " or ".join(sorted(kind.__name__ for kind in held))
            raise UsageError(f"{field} must hold items of type {kinds}, got {value!r}")
    if isinstance(value, float) and not np.isfinite(value):
        raise UsageError(f"{field} must be finite, got {value!r}")
    try:
        canonical_json(value).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"{field} cannot be kept in a record: {error}") from None
    return value
