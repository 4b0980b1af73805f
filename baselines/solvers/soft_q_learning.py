"""Soft Q-learning: maximum-entropy control of discrete actions from sampled transitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from irlbench.algorithm import Run, Solver, option
from irlbench.baselines.settings import FunctionConfig, SamplingConfig
from irlbench.errors import UsageError
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem
from irlbench.reward import RewardFunction

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.steps import Steps


@dataclass(frozen=True, kw_only=True)
class SoftQLearningConfig(FunctionConfig, SamplingConfig):
    """Hyperparameters of soft Q-learning."""

    gradient_steps: int = option(5000, "Updates, unless a budget grants fewer.")
    num_envs: int = option(20, "Environments that are stepped at once, one step per update.")
    exploration: float = option(
        0.1, "Share of random actions after half of the steps; it falls from 1 until then."
    )
    temperature: float = option(0.1, "tau: the policy is softmax(Q / tau).")
    target_rate: float = option(0.05, "Share of the way that the target Q goes per update.")

    def __post_init__(self) -> None:
        FunctionConfig.__post_init__(self)
        SamplingConfig.__post_init__(self)
        if self.gradient_steps < 1:
            raise ValueError(f"gradient_steps must be at least 1, got {self.gradient_steps}")
        if not 0 <= self.exploration <= 1:
            raise ValueError(f"exploration must lie in [0, 1], got {self.exploration}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")


class SoftQLearning(Solver):
    """Q-learning with soft values, a replay buffer, and random actions beside softmax(Q / tau)."""

    id: ClassVar[str] = "soft-q-learning"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "soft Q-learning from sampled transitions, tables or networks"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld", "control")
    actions: ClassVar[tuple[str, ...]] = ("discrete",)
    needs: ClassVar[frozenset[str]] = frozenset({"interaction"})
    Config: ClassVar[type[Any]] = SoftQLearningConfig

    def solve(
        self, problem: Problem, reward: RewardFunction | None, budget: Budget, run: Run
    ) -> Policy:
        """See `Solver.solve`. Ends at the first of its steps and the budget's limits.

        Raises:
            UsageError: If there is no reward function, or the budget grants no step.
        """
        from irlbench.baselines.learners.functions import Functions
        from irlbench.baselines.learners.interaction import Interaction
        from irlbench.baselines.learners.soft_q import SoftQLearner

        if reward is None:
            raise UsageError(f"{self.id} needs a reward function")
        config: SoftQLearningConfig = self.config
        functions = Functions(problem, config, run)
        interaction = Interaction(problem, config.num_envs, config.buffer, run)
        try:
            learner = SoftQLearner(
                functions, config.temperature, config.target_rate, problem.discount
            )
            steps = config.gradient_steps
            if problem.meter.left is not None:
                steps = min(steps, problem.meter.left // config.num_envs)
            for step in range(steps):
                if run.exhausted or interaction.exhausted:
                    break
                share = max(config.exploration, 1 - 2 * step / steps)
                interaction.step(learner.act, random_share=share)
                met = interaction.sample(config.batch_size)
                run.spend(gradient_steps=1)
                learner.update(met, rewards_of(reward, met))
            return learner.Q.policy(config.temperature)
        finally:
            interaction.close()


def rewards_of(reward: RewardFunction, steps: Steps) -> Tensor:
    """What a reward function pays for transitions, float64 `[batch]`."""
    import torch

    arrays = (steps.observations, steps.actions, steps.next_observations, steps.terminated)
    paid = reward(*(array.cpu().numpy() for array in arrays))
    return torch.as_tensor(np.asarray(paid, dtype=np.float64), device=steps.actions.device)
