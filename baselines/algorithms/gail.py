"""GAIL: generative adversarial imitation learning, with interaction or known dynamics."""

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
from irlbench.baselines.settings import TemperatureConfig
from irlbench.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.functions import Functions, PairFunction, StateFunction
    from irlbench.baselines.learners.steps import Steps
    from irlbench.reward import RewardFunction

REWARD_FORMS = ("-log(1-D)", "log D", "log D - log(1-D)")


@dataclass(frozen=True, kw_only=True)
class GAILConfig(AdversarialConfig, TemperatureConfig):
    """Hyperparameters of GAIL."""

    reward: str = option(
        "log D - log(1-D)", "What the policy is paid: -log(1-D), log D, or log D - log(1-D)."
    )
    of_actions: bool = option(True, "The discriminator sees states and actions, not states alone.")
    temperature: float = option(
        0.1, "tau: weight of the entropy where the policy learns from samples."
    )
    step_size: float = option(
        0.02, "With known dynamics pi becomes proportional to pi exp(step_size Q) in each round."
    )

    def __post_init__(self) -> None:
        AdversarialConfig.__post_init__(self)
        TemperatureConfig.__post_init__(self)
        if self.reward not in REWARD_FORMS:
            raise ValueError(str(UnknownNameError("reward", self.reward, REWARD_FORMS)))
        for name in ("temperature", "step_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class GAILDiscriminator(Discriminator):
    """One logit per state, or per state and action.

    Args:
        logit: The function that is learnt.
        form: What the policy is paid.
        discount: gamma.
    """

    def __init__(self, logit: StateFunction | PairFunction, form: str, discount: float) -> None:
        self._logit, self._form, self._discount = logit, form, discount

    @property
    def functions(self) -> Sequence[StateFunction | PairFunction]:
        """See `Discriminator.functions`."""
        return (self._logit,)

    def logits_expert_is_high(self, steps: Steps, log_pi: Tensor) -> Tensor:
        """See `Discriminator.logits_expert_is_high`."""
        return self.logit(steps)

    def logit(self, steps: Steps) -> Tensor:
        """See `Discriminator.logit`."""
        return self._logit.of(steps.observations, steps.actions)

    def paid_for(self, logit: Tensor) -> Tensor:
        """See `Discriminator.paid_for`."""
        from irlbench.baselines.objectives.gail import gail_reward

        return gail_reward(logit, self._form)

    def recovered(self) -> RewardFunction:
        """The logit, log D - log(1-D), whatever the policy is paid."""
        return self._logit.reward(self._discount)


class GAIL(AdversarialImitation):
    """The policy is paid for what a discriminator takes for the expert's."""

    id: ClassVar[str] = "gail"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "GAIL: a policy against a discriminator of states and actions"
    paper: ClassVar[str] = "Ho and Ermon (2016)"
    Config: ClassVar[type[Any]] = GAILConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gridworld": {"learning_rate": 0.1},
        "control": {**ADVERSARIAL_CONTROL, "learn_temperature": False},
    }

    @property
    def temperature(self) -> float:
        """See `AdversarialImitation`."""
        temperature: float = self.config.temperature
        return temperature

    @property
    def step_size(self) -> float:
        """See `AdversarialImitation`."""
        step_size: float = self.config.step_size
        return step_size

    def actor_critic(self) -> dict[str, Any]:
        """See `AdversarialImitation.actor_critic`: as configured."""
        return {}

    def discriminator(
        self, functions: Functions, scale: Tensor | None, discount: float
    ) -> GAILDiscriminator:
        """See `AdversarialImitation.discriminator`."""
        hidden, name = self.config.discriminator_hidden, "discriminator"
        logit: StateFunction | PairFunction
        if self.config.of_actions:
            logit = functions.make_of_pairs(name, scale, hidden)
        else:
            logit = functions.make(name, 1, scale, hidden)
        return GAILDiscriminator(logit, self.config.reward, discount)
