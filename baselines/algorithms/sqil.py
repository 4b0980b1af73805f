"""SQIL: soft Q imitation learning, with interaction or known dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import option
from irlbench.baselines.algorithms.soft_q_imitation import (
    SOFT_Q_CONTROL,
    SoftQImitation,
    SoftQImitationConfig,
)

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.algorithms.soft_q_imitation import SoftQ
    from irlbench.baselines.learners.experience import Experience


@dataclass(frozen=True, kw_only=True)
class SQILConfig(SoftQImitationConfig):
    """Hyperparameters of SQIL."""

    policy_weight: float = option(1.0, "lambda_samp: weight of the policy's own transitions.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.policy_weight >= 0:
            raise ValueError(f"policy_weight must not be negative, got {self.policy_weight}")


class SQIL(SoftQImitation):
    """Soft Q-learning with reward 1 on demonstrations and 0 on everything that it does itself."""

    id: ClassVar[str] = "sqil"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "SQIL: soft Q-learning, reward 1 on demonstrations and 0 elsewhere"
    paper: ClassVar[str] = "Reddy, Dragan and Levine (2020)"
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations+interaction", "demonstrations+dynamics")
    Config: ClassVar[type[Any]] = SQILConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gridworld": {"learning_rate": 0.1},
        "control": SOFT_Q_CONTROL,
    }

    def loss(self, experience: Experience, Q: SoftQ, target: SoftQ, discount: float) -> Tensor:
        """See `SoftQImitation.loss`: V' is the target's."""
        from irlbench.baselines.objectives.sqil import sqil_loss

        config: SQILConfig = self.config
        expert, policy = experience.soft_values(Q, config.temperature, target)
        assert policy is not None, "both tracks give transitions of the policy"
        return sqil_loss(expert, policy, discount=discount, policy_weight=config.policy_weight)
