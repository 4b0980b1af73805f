"""IQ-Learn: inverse soft Q-learning, online, offline, or with known dynamics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import option
from irlbench.baselines.algorithms.soft_q_imitation import (
    SOFT_Q_CONTROL,
    SoftQImitation,
    SoftQImitationConfig,
)
from irlbench.errors import UnknownNameError
from irlbench.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.algorithms.soft_q_imitation import SoftQ
    from irlbench.baselines.learners.experience import Experience

VALUE_TERMS = ("value", "v0", "value_expert")
#: Transitions of the policy's over which the share that ends an episode is counted.
_NEWEST = 1000


@dataclass(frozen=True, kw_only=True)
class IQLearnConfig(SoftQImitationConfig):
    """Hyperparameters of IQ-Learn."""

    offline_gradient_steps: int = option(1000, "Updates where there is no interaction.")
    alpha: float = option(0.5, "Of the chi2 regulariser: E[r^2] / (4 alpha) is subtracted.")
    value_term: str = option(
        "value", "Where (1 - gamma) E[V(s_0)] is read: value (both batches), v0, value_expert."
    )

    offline_value_term: str = option("value", "The same where there is no interaction.")
    absorbing: bool = option(
        False, "With interaction, an episode's end has the value that the objective gives it."
    )
    slow_values: bool = option(
        False, "V' is read from the slow copy, without gradient, not from Q; not where offline."
    )
    bounded_values: bool = option(
        False, "Slow V' are kept within what rewards that the regulariser allows can add up to."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offline_gradient_steps < 1:
            raise ValueError(
                f"offline_gradient_steps must be at least 1, got {self.offline_gradient_steps}"
            )
        if not self.alpha > 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}")
        for term in (self.value_term, self.offline_value_term):
            if term not in VALUE_TERMS:
                raise ValueError(str(UnknownNameError("value term", term, VALUE_TERMS)))


class IQLearn(SoftQImitation):
    """One Q-function that is reward and policy in one; the reward is Q - gamma V'."""

    id: ClassVar[str] = "iq-learn"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "IQ-Learn: inverse soft Q-learning, chi2 regularised"
    paper: ClassVar[str] = "Garg et al. (2021)"
    tracks: ClassVar[tuple[str, ...]] = (
        "demonstrations+interaction",
        "demonstrations",
        "demonstrations+dynamics",
    )
    Config: ClassVar[type[Any]] = IQLearnConfig

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "control": {
            **SOFT_Q_CONTROL,
            "offline_gradient_steps": 20_000,
            "value_term": "v0",
            "alpha": 0.5,
            "critic_target_rate": 0.01,
            "slow_values": True,
            "bounded_values": True,
            "absorbing": True,
        }
    }

    def loss(self, experience: Experience, Q: SoftQ, target: SoftQ, discount: float) -> Tensor:
        """See `SoftQImitation.loss`. V' carries gradient unless it is told to be slow."""
        from irlbench.baselines.objectives.iq_learn import iq_learn_loss

        config: IQLearnConfig = self.config
        offline = experience.steps_taken is None and not experience.exact
        following = target if config.slow_values and not offline else None
        term = config.offline_value_term if offline else config.value_term
        expert, policy = experience.soft_values(Q, config.temperature, following)
        end_value = self.end_value(experience, discount)
        if end_value and policy is not None:
            expert, policy = (part.with_end_value(end_value) for part in (expert, policy))
        if config.bounded_values and following is not None and policy is not None:
            # No reward beyond 1 / c in size raises the objective (Al-Hafez et al., 2023).
            most = 4 * config.alpha / (1 - discount) if discount < 1 else math.inf
            expert, policy = (part.bounded(most) for part in (expert, policy))
        initial = None
        if term == "v0":
            initial = experience.initial_value(Q, config.temperature, discount)
        return iq_learn_loss(
            expert,
            policy,
            discount=discount,
            value_term=term,
            chi2_weight=1 / (4 * config.alpha),
            initial_value=initial,
        )

    def updates(self, problem: Problem) -> int:
        """See `SoftQImitation.updates`."""
        config: IQLearnConfig = self.config
        online = {"interaction", "dynamics"} & problem.needs
        return config.gradient_steps if online else config.offline_gradient_steps

    def end_value(self, experience: Experience, discount: float) -> float:
        """See `SoftQImitation.end_value`."""
        from irlbench.baselines.objectives.iq_learn import absorbing_value

        config: IQLearnConfig = self.config
        ends = experience.ends(_NEWEST) if config.absorbing else None
        if ends is None:
            return 0.0
        return absorbing_value(
            *ends, discount, value_term=config.value_term, chi2_weight=1 / (4 * config.alpha)
        )
