"""Policies: what a learner hands back, and how one is saved and loaded.

A saved policy is two files, `policy.safetensors` and `policy.json`. Kinds are a closed set, so
that a policy from anywhere can be loaded without running code that came with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode, TokenEpisode
from irlbench.errors import DataError
from irlbench.randomness import RowGenerator
from irlbench.serialisation import load_arrays, load_named_class, require_finite, save_arrays

Arrays = dict[str, NDArray[Any]]

#: Every kind that can be loaded, and where its class is.
KINDS: Mapping[str, str] = {
    "uniform": "irlbench.policies.uniform:UniformPolicy",
    "table": "irlbench.policies.table:TablePolicy",
    "time-dependent-table": "irlbench.policies.table:TimeDependentTablePolicy",
    "categorical-mlp": "irlbench.policies.mlp:CategoricalMLPPolicy",
    "gaussian-mlp": "irlbench.policies.mlp:GaussianMLPPolicy",
    "squashed-gaussian-mlp": "irlbench.policies.mlp:SquashedGaussianMLPPolicy",
    "causal-lm": "irlbench.policies.causal_lm:CausalLMPolicy",
}


class Policy(ABC):
    """Acts on a batch of observations; may carry a state from step to step.

    Attributes:
        kind: One of `KINDS`. Any other value runs, but the policy is not saved and the trial is
            shown as not verifiable.
    """

    kind: ClassVar[str] = "custom"

    @abstractmethod
    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """Chooses one action per row.

        Args:
            observations: A batch of the environment's observations, `[batch, ...]` (a dictionary
                of such arrays on text).
            state: What the last call returned; None at first. A language model's key-value cache
                is such a state.
            reset_mask: bool `[batch]`: rows that begin a new episode. None: with state None, all.
            deterministic: Take the mode of the distribution instead of a sample.
            generator: Random numbers, one row per row of the batch.

        Returns:
            Actions `[batch, ...]` and the state for the next call.
        """

    def log_prob(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        """Log-probability (or log-density) of actions, float64 `[batch]`.

        Raises:
            NotImplementedError: If this policy has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no log-probability")

    def score(self, episodes: Sequence[Episode | TokenEpisode]) -> list[NDArray[np.float64]]:
        """Log-probability of every action of every episode, in one pass.

        Args:
            episodes: Episodes with actions.

        Returns:
            One float64 array `[steps of that episode]` per episode.
        """
        plain = [e for e in episodes if isinstance(e, Episode) and e.actions is not None]
        if len(plain) != len(episodes):
            raise DataError(f"{type(self).__name__} scores episodes of observations and actions")
        if not plain:
            return []
        flat = self.log_prob(
            np.concatenate([e.observations[:-1] for e in plain]),
            np.concatenate([np.asarray(e.actions) for e in plain]),
        )
        return np.split(flat, np.cumsum([len(e) for e in plain])[:-1])

    def arrays(self) -> Arrays:
        """The numbers that define the policy, by name."""
        raise NotImplementedError(f"{type(self).__name__} cannot be saved")

    def settings(self) -> dict[str, Any]:
        """What else defines it: JSON values only."""
        return {}

    @classmethod
    def from_saved(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Policy:
        """Builds the policy from what `arrays` and `settings` gave."""
        raise NotImplementedError(f"{cls.__name__} cannot be loaded")

    def is_finite(self) -> bool:
        """Whether every number of the policy is finite. True where it cannot be saved."""
        if self.kind not in KINDS:
            return True
        return all(
            bool(np.isfinite(a).all())
            for a in self.arrays().values()
            if np.issubdtype(a.dtype, np.floating)
        )


def save_policy(policy: Policy, folder: Path, name: str = "policy") -> None:
    """Writes `<name>.safetensors` and `<name>.json` into a folder.

    Raises:
        DataError: If the policy's kind is not one of `KINDS`.
    """
    if policy.kind not in KINDS:
        raise DataError(f"policies of kind {policy.kind!r} cannot be saved; kinds: {list(KINDS)}")
    save_arrays(folder, name, policy.kind, policy.arrays(), policy.settings())


def load_policy(folder: Path, name: str = "policy") -> Policy:
    """Loads what `save_policy` wrote. Runs no code from the files.

    Raises:
        DataError: If a file is missing, damaged, of an unknown kind, or holds NaN.
    """
    kind, arrays, settings = load_arrays(folder, name, KINDS)
    cls: type[Policy] = load_named_class(KINDS[kind])
    require_finite(arrays, f"{name}.safetensors")
    try:
        return cls.from_saved(arrays, settings)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"not a whole {kind} policy: {type(error).__name__}: {error}", file=f"{name}.json"
        ) from error
