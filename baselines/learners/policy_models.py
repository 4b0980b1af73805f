"""Policies with a likelihood that losses of segments are written in: softmax and Gaussian."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn

from irlbench.algorithm import Run
from irlbench.baselines.learners.base import LearnerSettings
from irlbench.baselines.learners.continuous import ContinuousLearner
from irlbench.baselines.learners.functions import Functions
from irlbench.baselines.learners.segments import Segments
from irlbench.baselines.settings import NetworkConfig
from irlbench.policy import Policy
from irlbench.problem import Problem
from irlbench.reward import RewardFunction
from irlbench.rewards.composed import LogRatioReward
from irlbench.rewards.continuous import PolicyLogRatioReward


class PolicyModel(ABC):
    """A differentiable policy.

    Attributes:
        function: Its parameters.
        log_uniform: log pi of the uniform policy.
    """

    function: nn.Module
    log_uniform: float

    @abstractmethod
    def log_prob(self, some: Segments) -> Tensor:
        """log pi(a|s) of every step, with gradient, `[pairs, 2, time]`."""

    @abstractmethod
    def policy(self) -> Policy:
        """The policy as it is now, apart from further updates."""

    @abstractmethod
    def implied(self, reference: PolicyModel | None, beta: float) -> RewardFunction:
        """beta log(pi / pi_ref).

        Args:
            reference: Of the same class; None: the uniform policy.
            beta: From 0 on.
        """


class SoftmaxModel(PolicyModel):
    """softmax over discrete actions.

    Args:
        functions: Makes the logits.
        scale: See `Functions.make`.
        discount: Of the reward that it implies.
    """

    def __init__(self, functions: Functions, scale: Tensor, discount: float) -> None:
        self.function = self._logits = functions.make("policy", functions.actions, scale)
        self.log_uniform, self._discount = -math.log(functions.actions), discount

    def log_prob(self, some: Segments) -> Tensor:
        """See `PolicyModel.log_prob`."""
        return some.log_prob(self._logits)

    def policy(self) -> Policy:
        """See `PolicyModel.policy`."""
        return self._logits.policy(1.0)

    def implied(self, reference: PolicyModel | None, beta: float) -> RewardFunction:
        """See `PolicyModel.implied`."""
        assert reference is None or isinstance(reference, SoftmaxModel)
        other = None if reference is None else reference._logits.reward(self._discount)
        return LogRatioReward(self._logits.reward(self._discount), other, self._discount, beta)


class GaussianModel(PolicyModel):
    """A Gaussian over continuous actions.

    Args:
        problem: Vector observations and bounded `Box` actions.
        config: Sizes and step sizes.
        scale: Observations `[steps, ...]` that the network is scaled by.
        run: Seed and device.
    """

    def __init__(self, problem: Problem, config: NetworkConfig, scale: Tensor, run: Run) -> None:
        settings = LearnerSettings(config.network_learning_rate, 0.0, config.hidden, 0.0)
        self._learner = ContinuousLearner(problem, settings, run)
        self._learner.scale_to(scale.flatten(start_dim=1).float())
        self.function, self._discount = self._learner.module, problem.discount
        self.log_uniform = -self._learner.log_volume

    def log_prob(self, some: Segments) -> Tensor:
        """See `PolicyModel.log_prob`."""
        rows = self._learner.log_density(some.before.flatten(1), some.chosen.flatten(1))
        return rows.double().reshape(some.mask.shape)

    def policy(self) -> Policy:
        """See `PolicyModel.policy`."""
        return self._learner.policy()

    def implied(self, reference: PolicyModel | None, beta: float) -> RewardFunction:
        """See `PolicyModel.implied`."""
        assert reference is None or isinstance(reference, GaussianModel)
        other = None if reference is None else reference._learner.policy()
        return PolicyLogRatioReward(self._learner.policy(), other, beta, self._discount)
