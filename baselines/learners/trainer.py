"""What every learner trains with: Adam, a schedule, a limit on the gradient's norm."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from irlbench.baselines.learners.base import LearnerSettings


class Trainer:
    """Adam with decoupled weight decay; the step size warms up linearly, then decays to zero.

    The decay is a cosine over `settings.total_steps`; where that is 0, the step size is constant.

    Args:
        parameters: What is trained.
        settings: Step sizes.
        warmup: Share of the total steps over which the step size grows.
    """

    def __init__(
        self, parameters: Iterable[Tensor], settings: LearnerSettings, *, warmup: float = 0.0
    ) -> None:
        self._parameters = list(parameters)
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
