"""Rewards that are computed from others, or from policies, and are saved with them."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import NDArray

from irlbench.policy import KINDS, Policy
from irlbench.reward import FORMS, RewardFunction, saved_settings
from irlbench.serialisation import load_named_class

#: What a reward may be made of.
Part = RewardFunction | Policy
#: The forms that a part may have: none that has parts itself.
_REWARDS = ("table", "linear", "mlp", "state-action-mlp")
#: The kinds that a policy may have as a part.
_POLICIES = ("gaussian-mlp", "squashed-gaussian-mlp")


class ComposedReward(RewardFunction):
    """A reward that is computed from its parts, which are saved with it."""

    @abstractmethod
    def parts(self) -> Mapping[str, Part]:
        """The parts by name."""

    @classmethod
    @abstractmethod
    def _of(cls, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> Self:
        """The reward of its parts."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `RewardFunction.arrays`."""
        named = {name: part.arrays() for name, part in self.parts().items()}
        return {f"{name}.{key}": a for name, arrays in named.items() for key, a in arrays.items()}

    def settings(self) -> dict[str, Any]:
        """See `RewardFunction.settings`."""
        return {**super().settings(), "parts": {n: _declared(p) for n, p in self.parts().items()}}

    @classmethod
    def from_saved(cls, arrays: dict[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `RewardFunction.from_saved`."""
        if not isinstance(settings["parts"], dict):
            raise TypeError("parts are an object")
        parts, left = {}, set(arrays)
        for name, declared in settings["parts"].items():
            own = {k.removeprefix(f"{name}."): k for k in arrays if k.startswith(f"{name}.")}
            left -= set(own.values())
            parts[name] = _part(name, {k: arrays[whole] for k, whole in own.items()}, declared)
        if left:
            raise ValueError(f"arrays of no part: {sorted(left)}")
        made = cls._of(parts, settings)
        kind, made.discount, made.temperature = saved_settings(settings)
        if kind != made.kind or set(made.parts()) != set(parts):
            raise ValueError(f"parts {sorted(parts)} make no {kind} reward of form {cls.form}")
        return made


def reward_part(part: Part) -> RewardFunction:
    """A part that has to be a reward.

    Raises:
        ValueError: If it is a policy.
    """
    if isinstance(part, Policy):
        raise ValueError(f"a reward is wanted as a part, got a {part.kind} policy")
    return part


def _declared(part: Part) -> dict[str, Any]:
    if isinstance(part, Policy):
        return {"policy": part.kind, **part.settings()}
    return {"form": part.form, **part.settings()}


def _part(name: str, arrays: dict[str, NDArray[Any]], declared: Any) -> Part:
    """The part that settings declare.

    Raises:
        ValueError: If it is none that a part may be.
    """
    if isinstance(declared, dict):
        if declared.get("policy") in _POLICIES:
            policy: type[Policy] = load_named_class(KINDS[declared["policy"]])
            return policy.from_saved(arrays, declared)
        if declared.get("form") in _REWARDS:
            reward: type[RewardFunction] = load_named_class(FORMS[declared["form"]])
            return reward.from_saved(arrays, declared)
    raise ValueError(f"part {name!r} is none of {', '.join((*_REWARDS, *_POLICIES))}")


def finite(number: Any) -> float:
    """A number read from a file.

    Raises:
        ValueError: If it is none, or not finite.
    """
    if type(number) not in (int, float) or not abs(number) <= sys.float_info.max:
        raise ValueError(f"a finite number is wanted, got {number!r}")
    return float(number)
