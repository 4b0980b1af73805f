"""IPL: inverse preference learning, without a reward model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import Run, Solution, option
from irlbench.baselines.algorithms.preference_learning import (
    PreferenceConfig,
    PreferenceLearning,
    train,
)
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.segments import Segments


@dataclass(frozen=True, kw_only=True)
class IPLConfig(PreferenceConfig):
    """Hyperparameters of IPL."""

    temperature: float = option(
        0.1, "tau: V = tau logsumexp(Q / tau), the policy softmax(Q / tau)."
    )
    regulariser_weight: float = option(
        0.5, "lambda of E[r^2] over the segments; with known dynamics l2 takes its place."
    )
    target_rate: float = option(0.05, "Share of the way that the target Q goes per update.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("temperature")
        if not self.regulariser_weight >= 0:
            raise ValueError(
                f"regulariser_weight must not be negative, got {self.regulariser_weight}"
            )
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")


class IPL(PreferenceLearning):
    """Preferences are fitted by the reward that Q implies, r = Q - gamma V'."""

    id: ClassVar[str] = "ipl"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "IPL: preferences fitted by the reward that a soft Q implies"
    paper: ClassVar[str] = "Hejna and Sadigh (2023)"
    tracks: ClassVar[tuple[str, ...]] = ("preferences", "preferences+dynamics")
    Config: ClassVar[type[Any]] = IPLConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gridworld": {"gradient_steps": 3000, "learning_rate": 0.1}
    }

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        import torch

        from irlbench.baselines.learners.functions import indexed
        from irlbench.baselines.learners.known_dynamics import KnownDynamics
        from irlbench.baselines.learners.steps import SlowCopy
        from irlbench.baselines.objectives.ipl import ipl_loss, ipl_rewards
        from irlbench.rewards.composed import InverseBellmanReward

        config: IPLConfig = self.config
        functions, segments = self.begin(problem, run)
        Q = functions.make("Q", functions.actions, segments.present)
        target = SlowCopy(Q, config.target_rate)
        known = None
        if "dynamics" in problem.needs:
            known = KnownDynamics(problem.resource("dynamics"), device=run.device)
            everything = torch.ones_like(indexed(Q).table())

        def loss_of(some: Segments) -> Tensor:
            target.follow()
            values = some.soft_values(Q, config.temperature, target.function, known)
            loss = ipl_loss(
                ipl_rewards(values, discount=problem.discount),
                some.mask,
                some.first_preferred,
                regulariser_weight=config.regulariser_weight if known is None else 0.0,
                weight=some.weight,
            )
            if known is None:
                return loss
            everywhere = known.soft_values(
                indexed(Q), everything, config.temperature, indexed(target.function)
            )
            implied = ipl_rewards(everywhere, discount=problem.discount)
            return loss + config.l2 / (2 * len(segments)) * (implied**2).sum()

        train(
            Q,
            functions,
            segments,
            loss_of,
            config,
            run,
            lambda: Q.policy(config.temperature),
            prior=known is None,
        )
        implied = InverseBellmanReward(
            Q.reward(problem.discount), problem.discount, config.temperature
        )
        return Solution(Q.policy(config.temperature), implied)
