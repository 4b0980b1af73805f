"""Soft Q-learning from sampled transitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irlbench.baselines.learners.functions import Functions
from irlbench.baselines.learners.interaction import softmax_actor
from irlbench.baselines.learners.steps import SlowCopy, Steps, soft_values_of
from irlbench.policy import Policy


class SoftQLearner:
    """Fits Q to r + gamma V(s'), V' from a copy that follows slowly (Haarnoja et al., 2017).

    Args:
        functions: Makes Q and its optimiser.
        temperature: tau: the policy is softmax(Q / tau).
        target_rate: Share of the way that the copy goes per update.
        discount: gamma.
        scale: See `Functions.make`.
    """

    def __init__(
        self,
        functions: Functions,
        temperature: float,
        target_rate: float,
        discount: float,
        scale: Tensor | None = None,
    ) -> None:
        self.Q = functions.make("Q", functions.actions, scale)
        self.temperature, self._discount = temperature, discount
        self._target = SlowCopy(self.Q, target_rate)
        self._optimiser = functions.optimiser(self.Q)
        self._device = functions.device

    def update(self, steps: Steps, rewards: Tensor) -> dict[str, float]:
        """One update.

        Args:
            steps: Transitions.
            rewards: What each is worth, `[batch]`.

        Returns:
            The mean squared soft Bellman residual, under `critic_loss`.
        """
        values = soft_values_of(self.Q, steps, self.temperature, self._target.function)
        residual = values.reward(self._discount) - rewards.detach()
        loss = (residual**2).mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._target.follow()
        return {"critic_loss": float(loss.detach())}

    def act(self, observations: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Draws actions from softmax(Q / tau); see `Act`."""
        return softmax_actor(self.Q, self.temperature, self._device)(observations, generator)

    def log_prob(self, steps: Steps) -> Tensor:
        """log pi(a|s) of the policy as it is now, `[batch]`, without gradient."""
        with torch.no_grad():
            rows = torch.log_softmax(self.Q(steps.observations) / self.temperature, dim=1)
        return rows.gather(1, steps.actions[:, None])[:, 0]

    def policy(self) -> Policy:
        """softmax(Q / tau) as a policy, apart from further updates."""
        return self.Q.policy(self.temperature)
