"""Policies as tables of logits, one row per state."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irlbench.algorithm import Run
from irlbench.baselines.learners.base import Batch, Learner, LearnerSettings
from irlbench.baselines.learners.trainer import Trainer
from irlbench.data.demonstrations import Demonstrations
from irlbench.errors import DataError
from irlbench.policies.table import TablePolicy
from irlbench.rewards.composed import LogRatioReward
from irlbench.rewards.table import TableReward


class TabularLearner(Learner):
    """pi(a|s) = softmax(logits[s])[a], logits from zero: a state never seen stays uniform.

    Args:
        states: Number of states S.
        actions: Number of actions A.
        settings: Step sizes; the table has no hidden layers.
        run: Device.
    """

    def __init__(self, states: int, actions: int, settings: LearnerSettings, run: Run) -> None:
        self.logits = torch.zeros(
            states, actions, dtype=torch.float64, device=run.device, requires_grad=True
        )
        self._trainer = Trainer([self.logits], settings)
        self._all: Batch | None = None

    def load(self, demonstrations: Demonstrations[Any], *, subsample: int = 1) -> int:
        """See `Learner.load`.

        Raises:
            DataError: If an observation is no state, or an action none of the actions.
        """
        steps = demonstrations.transitions(subsample)
        states, actions = self.logits.shape
        observations = _indices(steps.observations, states, "observations")
        chosen = _indices(steps.actions, actions, "actions")
        mask = torch.ones(len(steps), dtype=torch.float32, device=self.logits.device)
        self._all = Batch(self._tensor(observations), self._tensor(chosen), mask)
        return len(steps)

    def sample(self, size: int, generator: np.random.Generator) -> Batch:
        """See `Learner.sample`."""
        if self._all is None:
            raise RuntimeError("load demonstrations before sampling")
        items = len(self._all.mask)
        if size >= items:
            return self._all
        drawn = self._tensor(generator.integers(items, size=size))
        return Batch(self._all.observations[drawn], self._all.actions[drawn], self._all.mask[drawn])

    def log_prob(self, batch: Batch) -> Tensor:
        """See `Learner.log_prob`."""
        flat = torch.log_softmax(self.logits, dim=-1).reshape(-1)
        return flat[batch.observations * self.logits.shape[1] + batch.actions]

    def policy(self) -> TablePolicy:
        """See `Learner.policy`."""
        return TablePolicy(self.logits.detach().cpu().numpy())

    def reward(self, discount: float) -> LogRatioReward:
        """See `Learner.reward`."""
        return LogRatioReward(
            TableReward(self.logits.detach().cpu().numpy().copy()), None, discount
        )

    def _tensor(self, values: NDArray[np.int64]) -> Tensor:
        return torch.as_tensor(values.copy(), dtype=torch.int64, device=self.logits.device)


def _indices(values: NDArray[Any], count: int, field: str) -> NDArray[np.int64]:
    """Values as indices below a count."""
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(
            f"a table is indexed by one integer per step, got {values.dtype} {values.shape}",
            field=field,
        )
    wrong = np.flatnonzero((values < 0) | (values >= count))
    if wrong.size:
        raise DataError(
            f"{values[wrong[0]]} is not in 0 to {count - 1}", field=field, row=int(wrong[0])
        )
    return values.astype(np.int64)
