"""What every learner trains with: Adam, a schedule, a limit on the gradient's norm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irlbench.baselines.learners.base import LearnerSettings
from irlbench.baselines.learners.state import (
    State,
    optimiser_state,
    part,
    put_back,
    restore_optimiser,
    take,
    to_array,
    under,
)


class Trainer:
    """Adam with decoupled weight decay; the step size warms up linearly, then decays to zero.

    The decay is a cosine over `settings.total_steps`; where that is 0, the step size is constant.

    Args:
        parameters: What is trained.
        settings: Step sizes.
        warmup: Share of the total steps over which the step size grows.
        fixed: What is kept in a checkpoint though it is not trained; overwritten in place.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        settings: LearnerSettings,
        *,
        warmup: float = 0.0,
        fixed: Iterable[Tensor] = (),
    ) -> None:
        self._parameters, self._fixed = list(parameters), list(fixed)
        self._settings, self._warmup = settings, warmup
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.updates = 0

    @property
    def learning_rate(self) -> float:
        """The step size of the next update."""
        total = self._settings.total_steps
        if not total:
            return self._settings.learning_rate
        warm = min(1.0, (self.updates + 1) / max(self._warmup * total, 1.0))
        decay = 0.5 * (1 + math.cos(math.pi * min(self.updates / total, 1.0)))
        return self._settings.learning_rate * warm * decay

    def step(self, loss: Tensor) -> None:
        """One update on a scalar loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self._settings.gradient_clip > 0:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.gradient_clip)
        self._optimiser.step()
        self.updates += 1

    def state(self) -> dict[str, NDArray[Any]]:
        """See `Learner.state`."""
        fixed = {str(i): to_array(tensor) for i, tensor in enumerate(self._fixed)}
        return {
            "updates": np.array([self.updates]),
            **under("fixed", fixed),
            **under("trained", optimiser_state(self._optimiser)),
        }

    def restore(self, state: State) -> None:
        """See `Learner.restore`."""
        restore_optimiser(self._optimiser, part("trained", state))
        for i, tensor in enumerate(self._fixed):
            put_back(tensor, state, f"fixed.{i}")
        self.updates = int(take(state, "updates", np.array([self.updates]))[0])
