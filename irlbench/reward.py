"""Reward functions: what an inverse method recovers, and how one is saved and loaded."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import DataError
from irlbench.serialisation import load_arrays, load_named_class, require_finite, save_arrays

RewardKind = Literal["state", "state-action", "transition", "trajectory"]

#: Every form that can be loaded, and where its class is.
FORMS: Mapping[str, str] = {
    "table": "irlbench.rewards.table:TableReward",
    "linear": "irlbench.rewards.linear:LinearReward",
    "mlp": "irlbench.rewards.mlp:MLPReward",
    "shaped": "irlbench.rewards.composed:ShapedReward",
    "inverse-bellman": "irlbench.rewards.composed:InverseBellmanReward",
    "log-ratio": "irlbench.rewards.composed:LogRatioReward",
    "state-action-mlp": "irlbench.rewards.continuous:StateActionMLPReward",
    "actor-critic": "irlbench.rewards.continuous:ActorCriticReward",
    "q-minus-v": "irlbench.rewards.continuous:ValueGapReward",
    "policy-log-ratio": "irlbench.rewards.continuous:PolicyLogRatioReward",
}


class RewardFunction(ABC):
    """A reward on batches of transitions.

    Attributes:
        form: One of `FORMS`; any other value cannot be saved.
        kind: What it depends on.
        discount: The discount under which it was learnt.
        temperature: The temperature of the entropy term under which it was learnt, or None.
    """

    form: ClassVar[str] = "custom"
    kind: RewardKind = "transition"
    discount: float = 1.0
    temperature: float | None = None

    @abstractmethod
    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Rewards of a batch.

        Args:
            observation: `[batch, ...]`.
            action: `[batch, ...]`.
            next_observation: `[batch, ...]`.
            terminated: bool `[batch]`.

        Returns:
            float64 `[batch]`.
        """

    def unshaped(self) -> RewardFunction:
        """The reward without its potential-based shaping term, where one can be taken off."""
        return self

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The numbers that define the reward, by name."""
        raise NotImplementedError(f"{type(self).__name__} cannot be saved")

    def settings(self) -> dict[str, Any]:
        """What else defines it: JSON values only."""
        return {"kind": self.kind, "discount": self.discount, "temperature": self.temperature}

    @classmethod
    def from_saved(
        cls, arrays: dict[str, NDArray[Any]], settings: Mapping[str, Any]
    ) -> RewardFunction:
        """Builds the reward from what `arrays` and `settings` gave."""
        raise NotImplementedError(f"{cls.__name__} cannot be loaded")

    def is_finite(self) -> bool:
        """Whether every number of the reward is finite. True where it cannot be saved."""
        if self.form not in FORMS:
            return True
        return all(bool(np.isfinite(a).all()) for a in self.arrays().values())


def saved_settings(settings: Mapping[str, Any]) -> tuple[RewardKind, float, float | None]:
    """Kind, discount and temperature, as `RewardFunction.settings` gave them.

    Raises:
        KeyError: If one is missing.
        ValueError: If one cannot be that of a reward.
    """
    kind, discount = settings["kind"], settings["discount"]
    temperature = settings["temperature"]
    if kind not in get_args(RewardKind):
        raise ValueError(f"unknown kind {kind!r}")
    if type(discount) not in (int, float) or not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount!r}")
    if temperature is not None and (
        type(temperature) not in (int, float) or not 0 <= temperature <= sys.float_info.max
    ):
        raise ValueError(f"temperature must be a number from 0 on, got {temperature!r}")
    return kind, float(discount), None if temperature is None else float(temperature)


def save_reward(reward: RewardFunction, folder: Path, name: str = "reward") -> None:
    """Writes `<name>.safetensors` and `<name>.json` into a folder.

    Raises:
        DataError: If the reward's form is not one of `FORMS`.
    """
    if reward.form not in FORMS:
        raise DataError(f"rewards of form {reward.form!r} cannot be saved; forms: {list(FORMS)}")
    save_arrays(folder, name, reward.form, reward.arrays(), reward.settings())


def load_reward(folder: Path, name: str = "reward") -> RewardFunction:
    """Loads what `save_reward` wrote. Runs no code from the files.

    Raises:
        DataError: If a file is missing, damaged, of an unknown form, or holds NaN.
    """
    form, arrays, settings = load_arrays(folder, name, FORMS)
    cls: type[RewardFunction] = load_named_class(FORMS[form])
    require_finite(arrays, f"{name}.safetensors")
    try:
        return cls.from_saved(arrays, settings)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"not a whole {form} reward: {type(error).__name__}: {error}", file=f"{name}.json"
        ) from error
