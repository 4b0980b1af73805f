"""AIRL: adversarial inverse reinforcement learning, with interaction or known dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import option
from irlbench.baselines.algorithms.adversarial import (
    ADVERSARIAL_CONTROL,
    AdversarialConfig,
    AdversarialImitation,
    Discriminator,
)

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.functions import Functions, PairFunction, StateFunction
    from irlbench.baselines.learners.steps import Steps
    from irlbench.reward import RewardFunction


@dataclass(frozen=True, kw_only=True)
class AIRLConfig(AdversarialConfig):
    """Hyperparameters of AIRL."""

    state_only: bool = option(True, "g is of states alone: what the paper's theorem asks for.")


class AIRLDiscriminator(Discriminator):
    """Logit f - log pi, with f = g + gamma h(s') - h(s).

    Args:
        g: The reward, of states or of states and actions.
        h: The potential.
        discount: gamma.
    """

    def __init__(self, g: StateFunction | PairFunction, h: StateFunction, discount: float) -> None:
        self._g, self._h, self._discount = g, h, discount

    @property
    def functions(self) -> Sequence[StateFunction | PairFunction]:
        """See `Discriminator.functions`."""
        return (self._g, self._h)

    def logit(self, steps: Steps) -> Tensor:
        """f: the policy is a soft one of temperature 1, which adds its entropy by itself."""
        from irlbench.baselines.objectives.airl import shaped_reward

        return shaped_reward(
            self._g.of(steps.observations, steps.actions),
            self._h(steps.observations)[:, 0],
            self._h(steps.next_observations)[:, 0],
            steps.terminated,
            discount=self._discount,
        )

    def logits_expert_is_high(self, steps: Steps, log_pi: Tensor) -> Tensor:
        """See `Discriminator.logits_expert_is_high`."""
        from irlbench.baselines.objectives.airl import airl_logits_expert_is_high

        return airl_logits_expert_is_high(self.logit(steps), log_pi)

    def recovered(self) -> RewardFunction:
        """f, whose `unshaped` is g."""
        from irlbench.rewards.composed import ShapedReward

        g, h = (part.reward(self._discount, 1.0) for part in self.functions)
        return ShapedReward(g, h, self._discount, 1.0)


class AIRL(AdversarialImitation):
    """A discriminator built so that its optimum holds the reward, apart from its shaping."""

    id: ClassVar[str] = "airl"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "AIRL: adversarial IRL, a reward apart from its shaping"
    paper: ClassVar[str] = "Fu, Luo and Levine (2018)"
    Config: ClassVar[type[Any]] = AIRLConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gridworld": {"learning_rate": 0.2},
        "control": {**ADVERSARIAL_CONTROL, "state_only": False},
    }

    @property
    def temperature(self) -> float:
        """1: the policy is paid f, and adds its entropy by itself."""
        return 1.0

    @property
    def step_size(self) -> None:
        """None: the policy is soft-optimal for f in every round."""

    def actor_critic(self) -> dict[str, Any]:
        """See `AdversarialImitation.actor_critic`: the temperature stays at 1."""
        return {"temperature": 1.0, "learn_temperature": False}

    def discriminator(
        self, functions: Functions, scale: Tensor | None, discount: float
    ) -> AIRLDiscriminator:
        """See `AdversarialImitation.discriminator`."""
        hidden = self.config.discriminator_hidden
        g: StateFunction | PairFunction
        if self.config.state_only:
            g = functions.make("g", 1, scale, hidden)
        else:
            g = functions.make_of_pairs("g", scale, hidden)
        return AIRLDiscriminator(g, functions.make("h", 1, scale, hidden), discount)
