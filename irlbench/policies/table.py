"""Tables: one distribution over actions per state, or per time step and state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.policy import Arrays, Policy
from irlbench.randomness import RowGenerator, sample_categorical
from irlbench.serialisation import require_arrays


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class TablePolicy(Policy):
    """A stationary policy over S states and A actions.

    Args:
        logits: Unnormalised log-probabilities, float64 `[states, actions]`.
    """

    kind: ClassVar[str] = "table"

    def __init__(self, logits: NDArray[np.float64]) -> None:
        self.log_probabilities = _log_softmax(np.asarray(logits, dtype=np.float64))
        self._probabilities = np.exp(self.log_probabilities)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """pi(a|s), `[states, actions]`."""
        return self._probabilities

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`. Observations are state indices, `[batch]`."""
        rows = self._probabilities[np.asarray(observations)]
        if deterministic:
            return rows.argmax(axis=-1), None
        return sample_categorical(rows, generator.uniform()[:, 0]), None

    def log_prob(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        """See `Policy.log_prob`."""
        return self.log_probabilities[np.asarray(observations), np.asarray(actions)]

    def arrays(self) -> Arrays:
        """See `Policy.arrays`."""
        return {"log_probabilities": self.log_probabilities}

    @classmethod
    def from_saved(cls, arrays: Arrays, settings: Mapping[str, Any]) -> TablePolicy:
        """See `Policy.from_saved`."""
        require_arrays(arrays, {"log_probabilities": (np.float64, 2)})
        return cls(arrays["log_probabilities"])


class TimeDependentTablePolicy(Policy):
    """A policy over states and the time within an episode; its state counts the steps.

    Args:
        logits: Unnormalised log-probabilities, float64 `[horizon, states, actions]`. Beyond the
            horizon the last time step's are used.
    """

    kind: ClassVar[str] = "time-dependent-table"

    def __init__(self, logits: NDArray[np.float64]) -> None:
        self.log_probabilities = _log_softmax(np.asarray(logits, dtype=np.float64))
        self._probabilities = np.exp(self.log_probabilities)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """pi_t(a|s), `[horizon, states, actions]`."""
        return self._probabilities

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`. The state is the time of each row, int64 `[batch]`."""
        states = np.asarray(observations)
        times = np.zeros(len(states), dtype=np.int64) if state is None else state
        if reset_mask is not None:
            times = np.where(reset_mask, 0, times)
        rows = self._probabilities[np.minimum(times, len(self._probabilities) - 1), states]
        if deterministic:
            return rows.argmax(axis=-1), times + 1
        return sample_categorical(rows, generator.uniform()[:, 0]), times + 1

    def arrays(self) -> Arrays:
        """See `Policy.arrays`."""
        return {"log_probabilities": self.log_probabilities}

    @classmethod
    def from_saved(cls, arrays: Arrays, settings: Mapping[str, Any]) -> TimeDependentTablePolicy:
        """See `Policy.from_saved`."""
        require_arrays(arrays, {"log_probabilities": (np.float64, 3)})
        return cls(arrays["log_probabilities"])
