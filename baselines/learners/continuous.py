"""Continuous actions: a Gaussian whose mean is a network, with one spread per dimension."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from irlbench.algorithm import Run
from irlbench.baselines.learners.base import Batch, Learner, LearnerSettings
from irlbench.baselines.learners.networks import (
    Network,
    draw,
    first_weights,
    flat_observations,
)
from irlbench.baselines.learners.trainer import Trainer
from irlbench.data.demonstrations import Demonstrations
from irlbench.policies.mlp import GaussianMLPPolicy
from irlbench.problem import Problem
from irlbench.rewards.continuous import PolicyLogRatioReward

#: Least standard deviation, as a fraction of half the action range. On a deterministic expert the
#: likelihood has no maximum: the spread would go to zero and the loss to minus infinity.
LEAST_STD = 0.05
#: The standard deviation at the start, as a fraction of half the action range.
FIRST_STD = 0.5


class ContinuousLearner(Learner):
    """pi(a|s) = N(network(s), diag(sigma^2)), sigma free of the state and bounded below.

    Observations are scaled by the demonstrations' statistics. The policy clips its actions to the
    bounds; the density is the unclipped one's.

    Args:
        problem: Vector observations and bounded `Box` actions.
        settings: Sizes and step sizes.
        run: Seed and device.
    """

    def __init__(self, problem: Problem, settings: LearnerSettings, run: Run) -> None:
        inputs = int(np.prod(problem.observation_space.shape or ()))
        space: Any = problem.action_space
        self._low = np.asarray(space.low, dtype=np.float32).reshape(-1)
        self._high = np.asarray(space.high, dtype=np.float32).reshape(-1)
        if not np.isfinite([self._low, self._high]).all():
            raise ValueError(f"continuous actions need finite bounds, got {space}")
        self._device = torch.device(run.device)
        half = torch.as_tensor((self._high - self._low) / 2, device=self._device)
        self._floor = torch.log(half) + math.log(LEAST_STD)
        self.network = Network(
            inputs,
            settings.hidden,
            len(self._low),
            head="mean",
            head_gain=0.01,
            generator=first_weights(run),
        ).to(self._device)
        # softplus(0) = log 2 above the floor is far from FIRST_STD: start at its inverse.
        above = math.log(FIRST_STD / LEAST_STD)
        start = math.log(math.expm1(above))
        self._spread = nn.Parameter(torch.full((len(self._low),), start, device=self._device))
        self._trainer = Trainer(
            [*self.network.parameters(), self._spread], settings, fixed=self.network.buffers()
        )
        self._observations = torch.zeros(0, inputs, device=self._device)
        self._actions = torch.zeros(0, len(self._low), device=self._device)

    @property
    def module(self) -> nn.Module:
        """Everything that is trained."""
        return nn.ModuleList([self.network, nn.ParameterList([self._spread])])

    @property
    def log_volume(self) -> float:
        """Logarithm of the volume of all actions."""
        return float(np.log(self._high.astype(np.float64) - self._low).sum())

    @property
    def log_std(self) -> Tensor:
        """log sigma, `[action dimensions]`; smoothly bounded below."""
        return self._floor + nn.functional.softplus(self._spread)

    def scale_to(self, observations: Tensor) -> None:
        """Takes the scaling of observations from some, `[steps, dimensions]`."""
        self.network.scale_to(observations)

    def load(self, demonstrations: Demonstrations[Any], *, subsample: int = 1) -> int:
        """See `Learner.load`. The scaling of observations is taken from these episodes."""
        steps = demonstrations.transitions(subsample)
        self._observations = flat_observations(steps, self._device)
        actions = np.asarray(steps.actions, dtype=np.float32).reshape(len(steps), -1)
        self._actions = torch.as_tensor(actions.copy(), device=self._device)
        self.network.scale_to(self._observations)
        return len(steps)

    def sample(self, size: int, generator: np.random.Generator) -> Batch:
        """See `Learner.sample`."""
        rows = draw(size, len(self._actions), generator, self._device)
        chosen = slice(None) if rows is None else rows
        observations, actions = self._observations[chosen], self._actions[chosen]
        return Batch(observations, actions, torch.ones(len(actions), device=self._device))

    def log_prob(self, batch: Batch) -> Tensor:
        """See `Learner.log_prob`; log-density of the Gaussian before clipping, `[batch]`."""
        return self.log_density(batch.observations, batch.actions)

    def log_density(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a|s) of the Gaussian before clipping, with gradient, `[batch]`.

        Args:
            observations: float32 `[batch, dimensions]`.
            actions: float32 `[batch, action dimensions]`.
        """
        log_std = self.log_std
        z = (actions - self.network(observations)) * torch.exp(-log_std)
        return (-0.5 * (z**2 + math.log(2 * math.pi)) - log_std).sum(dim=-1)

    def reward(self, discount: float) -> PolicyLogRatioReward:
        """See `Learner.reward`."""
        return PolicyLogRatioReward(self.policy(), None, 1.0, discount)

    def policy(self) -> GaussianMLPPolicy:
        """See `Learner.policy`."""
        return GaussianMLPPolicy(
            {
                **self.network.arrays(),
                "log_std": self.log_std.detach().cpu().numpy().copy(),
                "action_low": self._low,
                "action_high": self._high,
            },
            "tanh",
        )
