"""Implicit Q-learning for continuous actions: V as an expectile, a policy weighted by advantage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from irlbench.algorithm import Run
from irlbench.baselines.learners.base import LearnerSettings
from irlbench.baselines.learners.continuous import ContinuousLearner
from irlbench.baselines.learners.functions import Functions, PairFunction
from irlbench.baselines.learners.segments import Segments
from irlbench.baselines.learners.steps import SlowCopy, Steps
from irlbench.baselines.objectives.ipl import advantage_weighted_loss, expectile_value_loss
from irlbench.baselines.objectives.soft_values import SoftValues
from irlbench.policies.mlp import GaussianMLPPolicy
from irlbench.problem import Problem
from irlbench.rewards.continuous import ValueGapReward
from irlbench.rewards.mlp import MLPReward


@dataclass(frozen=True)
class ImplicitQSettings:
    """How V and the policy follow from Q.

    Attributes:
        expectile: Which of Q over actions V is: 0.5 is the mean, near 1 the largest.
        advantage_temperature: An action weighs exp((Q - V) / it) in the policy's likelihood.
        largest_weight: What that weight is cut off at.
        target_rate: Share of the way that the slow copy of Q goes per update.
        policy_learning_rate: Of the policy's Adam.
        hidden: Widths of the policy's hidden layers.
    """

    expectile: float
    advantage_temperature: float
    largest_weight: float
    target_rate: float
    policy_learning_rate: float
    hidden: tuple[int, ...]


class ImplicitQ:
    """Q, V and a policy (Kostrikov, Nair and Levine, 2022); Q is trained by whoever uses it.

    Args:
        problem: Vector observations and bounded `Box` actions.
        functions: Makes Q and V.
        settings: See there.
        scale: Observations `[steps, ...]` that networks are scaled by.
        run: Seed and device.

    Attributes:
        Q: Of observations and actions.
    """

    Q: PairFunction

    def __init__(
        self,
        problem: Problem,
        functions: Functions,
        settings: ImplicitQSettings,
        scale: Tensor,
        run: Run,
    ) -> None:
        Q = functions.make_of_pairs("Q", scale)
        assert isinstance(Q, PairFunction), "actions are continuous"
        self.Q, self._settings, self._discount = Q, settings, problem.discount
        self._V = functions.make("V", 1, scale)
        self._slow = SlowCopy(Q, settings.target_rate)
        self._V_optimiser = functions.optimiser(self._V)
        shape = LearnerSettings(settings.policy_learning_rate, 0.0, settings.hidden, 1.0)
        self._actor = ContinuousLearner(problem, shape, run)
        self._actor.scale_to(scale.flatten(start_dim=1).float())

    def of_segments(self, some: Segments) -> SoftValues:
        """What Q and V say of every step, `[pairs, 2, time]`; V and V' without gradient."""
        shape = some.mask.shape
        with torch.no_grad():
            V, V_next = (self._V(rows)[:, 0].reshape(shape) for rows in (some.before, some.after))
        return SoftValues(some.of_chosen(self.Q), V, V_next, some.terminated, some.mask)

    def of_steps(self, steps: Steps) -> SoftValues:
        """The same of transitions, `[batch]`."""
        with torch.no_grad():
            V, V_next = (self._V(x)[:, 0] for x in (steps.observations, steps.next_observations))
        Q = self.Q.of(steps.observations, steps.actions)
        return SoftValues(Q, V, V_next, steps.terminated, steps.weight)

    def follow(self, observations: Tensor, actions: Tensor) -> dict[str, float]:
        """What comes after an update of Q: V and the policy learn from some actions in the data.

        Args:
            observations: `[batch, ...]`.
            actions: `[batch, ...]`.

        Returns:
            What happened, by name.
        """
        settings = self._settings
        self._slow.follow()
        with torch.no_grad():
            Q = self._slow.function.of(observations, actions)
        mask = torch.ones_like(Q)
        V = self._V(observations)[:, 0]
        loss = expectile_value_loss(V, Q, mask, expectile=settings.expectile)
        self._V_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._V_optimiser.step()
        log_pi = self._actor.log_density(observations.flatten(start_dim=1), actions.flatten(1))
        fit = advantage_weighted_loss(
            log_pi,
            Q,
            V.detach(),
            mask,
            temperature=settings.advantage_temperature,
            largest_weight=settings.largest_weight,
        )
        self._actor.update(fit)
        return {"value_loss": loss.item(), "policy_loss": fit.item()}

    def policy(self) -> GaussianMLPPolicy:
        """The policy as it is now."""
        return self._actor.policy()

    def implied_reward(self) -> ValueGapReward:
        """r = Q - gamma V'."""
        V = self._V.reward(self._discount)
        assert isinstance(V, MLPReward)
        return ValueGapReward(self.Q.reward(self._discount), V, self._discount)
