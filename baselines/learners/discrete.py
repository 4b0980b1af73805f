"""Discrete actions from vector observations: a network over the actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from irlbench.errors import DataError
from irlbench.policies.mlp import CategoricalMLPPolicy
from irlbench.problem import Problem
from irlbench.rewards.composed import LogRatioReward
from irlbench.rewards.mlp import MLPReward


class DiscreteLearner(Learner):
    """pi(a|s) = softmax(network(s)); observations are scaled by the demonstrations' statistics.

    Args:
        problem: Vector observations (`Box`) and `Discrete` actions from 0.
        settings: Sizes and step sizes.
        run: Seed and device.
    """

    def __init__(self, problem: Problem, settings: LearnerSettings, run: Run) -> None:
        inputs = int(np.prod(problem.observation_space.shape or ()))
        self._actions_count = int(problem.action_space.n)  # type: ignore[attr-defined]
        self._device = torch.device(run.device)
        # A small head: the first policy is nearly uniform.
        self.network = Network(
            inputs,
            settings.hidden,
            self._actions_count,
            head="logits",
            head_gain=0.01,
            generator=first_weights(run),
        ).to(self._device)
        parameters, scaling = self.network.parameters(), self.network.buffers()
        self._trainer = Trainer(parameters, settings, fixed=scaling)
        self._observations = torch.zeros(0, inputs, device=self._device)
        self._actions = torch.zeros(0, dtype=torch.int64, device=self._device)

    def load(self, demonstrations: Demonstrations[Any], *, subsample: int = 1) -> int:
        """See `Learner.load`. The scaling of observations is taken from these episodes."""
        steps = demonstrations.transitions(subsample)
        actions = np.asarray(steps.actions, dtype=np.int64)
        wrong = np.flatnonzero((actions < 0) | (actions >= self._actions_count))
        if len(wrong):
            raise DataError(
                f"action {actions[wrong[0]]}, but actions are 0 to {self._actions_count - 1}",
                field="actions",
                row=int(wrong[0]),
            )
        self._observations = flat_observations(steps, self._device)
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
        """See `Learner.log_prob`; `[batch]`."""
        log_pi = torch.log_softmax(self.network(batch.observations), dim=-1)
        return log_pi.gather(-1, batch.actions[:, None])[:, 0]

    def policy(self) -> CategoricalMLPPolicy:
        """See `Learner.policy`."""
        return CategoricalMLPPolicy(self.network.arrays(), "tanh")

    def reward(self, discount: float) -> LogRatioReward:
        """See `Learner.reward`."""
        arrays = {k.replace("logits", "reward"): a for k, a in self.network.arrays().items()}
        return LogRatioReward(MLPReward(arrays, "state-action"), None, discount)
