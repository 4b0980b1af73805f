"""What adversarial imitation shares: a discriminator and a policy that answer each other.

GAIL and AIRL differ in what the discriminator is made of, and in what the policy is paid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.baselines.settings import FunctionConfig, SamplingConfig
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.functions import Functions, StateFunction
    from irlbench.baselines.learners.rivals import Rival
    from irlbench.baselines.learners.steps import Steps
    from irlbench.reward import RewardFunction

_LOG_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig(FunctionConfig, SamplingConfig):
    """Hyperparameters of adversarial imitation."""

    gradient_steps: int = option(
        1000, "Rounds, each an update of the discriminator and one of the policy."
    )
    discriminator_learning_rate: float = option(0.05, "Step size of its Adam, for tables.")
    network_discriminator_learning_rate: float = option(
        1e-3, "Step size of its Adam, for networks."
    )
    weight_decay: float = option(0.0, "Squared norm of its parameters in its loss, over 2.")
    newest: int = option(10_000, "With interaction it sees the latest so many transitions.")
    target_rate: float = option(0.05, "Share of the way that the policy's target Q goes per round.")
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        FunctionConfig.__post_init__(self)
        SamplingConfig.__post_init__(self)
        for name in ("gradient_steps", "newest", "saves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("discriminator_learning_rate", "network_discriminator_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")


class Discriminator(ABC):
    """Tells the expert's transitions from the policy's."""

    @property
    @abstractmethod
    def functions(self) -> Sequence[StateFunction]:
        """What is trained."""

    @abstractmethod
    def logits_expert_is_high(self, steps: Steps, log_pi: Tensor) -> Tensor:
        """`[batch]`.

        Args:
            steps: Transitions.
            log_pi: log pi(a|s) of the policy as it is now, `[batch]`.
        """

    @abstractmethod
    def payment(self, steps: Steps) -> Tensor:
        """What the policy is paid for transitions, `[batch]`."""

    @abstractmethod
    def recovered(self) -> RewardFunction:
        """The reward that was learnt."""


class AdversarialImitation(Algorithm):
    """Rounds of: the policy acts, the discriminator learns, the policy answers.

    Nothing is kept for going on after a kill: a fit takes seconds.
    """

    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    actions: ClassVar[tuple[str, ...]] = ("discrete",)
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations+interaction", "demonstrations+dynamics")
    optional: ClassVar[frozenset[str]] = frozenset({"features"})

    @property
    @abstractmethod
    def temperature(self) -> float:
        """The policy's temperature where it learns from samples."""

    @property
    @abstractmethod
    def step_size(self) -> float | None:
        """How far the policy goes in a round with known dynamics; see `ExactRival`."""

    @abstractmethod
    def discriminator(
        self, functions: Functions, scale: Tensor | None, discount: float
    ) -> Discriminator:
        """A new discriminator.

        Args:
            functions: Makes what it learns.
            scale: See `Functions.make`.
            discount: gamma.
        """

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`. Ends at the first of its rounds and the budget's limits."""
        from irlbench.baselines.learners.functions import Functions

        config: Any = self.config
        functions = Functions(problem, config, run)
        rival, scale = self._rival(problem, functions, run)
        try:
            judge = self.discriminator(functions, scale, problem.discount)
            play(rival, judge, config, run)
        finally:
            rival.close()
        return Solution(rival.policy(), judge.recovered())

    def _rival(
        self, problem: Problem, functions: Functions, run: Run
    ) -> tuple[Rival, Tensor | None]:
        from irlbench.baselines.learners.rivals import ExactRival, SampledRival

        config: Any = self.config
        if "dynamics" in problem.needs:
            from irlbench.baselines.learners.known_dynamics import KnownDynamics
            from irlbench.tabular.demonstrations import demonstrated_occupancy

            dynamics = problem.resource("dynamics")
            expert, _ = demonstrated_occupancy(
                dynamics, problem.demonstrations, finite_horizon=False
            )
            return ExactRival(KnownDynamics(dynamics, expert, run.device), self.step_size), None
        from irlbench.baselines.learners.interaction import Interaction
        from irlbench.baselines.learners.soft_q import SoftQLearner
        from irlbench.baselines.learners.steps import steps_of

        demonstrated = steps_of(problem.demonstrations.transitions(), run.device)
        interaction = Interaction(problem, config.num_envs, config.buffer, run)
        scale = demonstrated.observations
        learner = SoftQLearner(
            functions, self.temperature, config.target_rate, problem.discount, scale
        )
        rival = SampledRival(
            demonstrated, interaction, learner, config.batch_size, config.newest, run
        )
        return rival, scale


def play(rival: Rival, judge: Discriminator, config: AdversarialConfig, run: Run) -> None:
    """The rounds of the game.

    Args:
        rival: The policy.
        judge: The discriminator.
        config: Step sizes, and how many rounds.
        run: Its budget, and where the curve goes.
    """
    import torch

    from irlbench.baselines.learners.functions import TableFunction
    from irlbench.baselines.objectives.gail import discriminator_loss

    tables = all(isinstance(function, TableFunction) for function in judge.functions)
    optimiser = torch.optim.Adam(
        [p for function in judge.functions for p in function.parameters()],
        lr=config.discriminator_learning_rate
        if tables
        else config.network_discriminator_learning_rate,
        weight_decay=config.weight_decay,
    )
    rounds = config.gradient_steps
    points = {round(rounds * i / config.saves) for i in range(1, config.saves + 1)}
    for turn in range(1, rounds + 1):
        own = None if run.exhausted else rival.own()
        if own is None:
            break
        expert = rival.expert()
        both = expert.joined(own)
        labels = torch.ones_like(both.weight)
        labels[len(expert) :] = 0
        logits = judge.logits_expert_is_high(both, rival.log_prob(both))
        loss = discriminator_loss(logits, labels, both.weight)
        run.spend(gradient_steps=1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        rival.answer(judge.payment)
        if turn % _LOG_EVERY == 0:
            run.log(rival.steps_taken or turn, discriminator_loss=float(loss.detach()))
        if turn in points:
            run.save(rival.steps_taken or turn, rival.policy())
