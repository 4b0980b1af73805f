"""What adversarial imitation shares: a discriminator and a policy that answer each other.

GAIL and AIRL differ in what the discriminator is made of, and in what the policy is paid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.baselines.settings import ActorCriticConfig, FunctionConfig, ImitationConfig
from irlbench.errors import UsageError
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from irlbench.baselines.learners.functions import Functions, PairFunction, StateFunction
    from irlbench.baselines.learners.rivals import Rival
    from irlbench.baselines.learners.steps import Steps
    from irlbench.baselines.objectives.absorbing import Absorbing
    from irlbench.reward import RewardFunction

_LOG_EVERY = 50

#: What both take on control unless told otherwise.
ADVERSARIAL_CONTROL: Mapping[str, Any] = {
    "gradient_steps": 1_000_000,  # the budget of steps ends it
    "num_envs": 2,
    "buffer": 1_000_000,
    "random_steps": 1000,
    "precision": "bfloat16",
    "network_discriminator_learning_rate": 3e-4,
    "demonstrated_share": 0.5,
    "gradient_penalty": 10.0,
    "absorbing": True,
}
#: Shares of time in the absorbing state, of expert and policy, that they are not taken to be below.
_LEAST_SHARES = (0.01, 0.1)


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig(FunctionConfig, ImitationConfig, ActorCriticConfig):
    """Hyperparameters of adversarial imitation."""

    gradient_steps: int = option(
        1000, "Rounds, each an update of the policy; with interaction a step of each environment."
    )
    discriminator_every: int = option(1, "Rounds from one update of the discriminator to the next.")
    discriminator_hidden: tuple[int, ...] = option(
        (64, 64), "Widths of the hidden layers of its networks."
    )
    gradient_penalty: float = option(
        0.0,
        "Weight of (|slope of the logit| - centre)^2 between the expert's and the policy's vectors, "
        "as the discriminator scales them.",
    )
    penalty_centre: float = option(1.0, "The slope that is not penalised.")
    absorbing: bool = option(
        False, "With interaction, what comes after an episode's end is told apart and paid for too."
    )
    discriminator_learning_rate: float = option(0.05, "Step size of its Adam, for tables.")
    network_discriminator_learning_rate: float = option(
        1e-3, "Step size of its Adam, for networks."
    )
    weight_decay: float = option(0.0, "Squared norm of its parameters in its loss, over 2.")
    demonstrated_share: float = option(
        0.0,
        "With interaction, the share of the policy's batches that the expert's transitions are.",
    )
    newest: int = option(10_000, "With interaction it sees the latest so many transitions.")
    target_rate: float = option(0.05, "Share of the way that the policy's target Q goes per round.")
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        FunctionConfig.__post_init__(self)
        ImitationConfig.__post_init__(self)
        ActorCriticConfig.__post_init__(self)
        if not all(width > 0 for width in self.discriminator_hidden):
            raise ValueError(
                f"discriminator_hidden are widths from 1 on, got {self.discriminator_hidden}"
            )
        for name in ("gradient_penalty", "penalty_centre"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("gradient_steps", "discriminator_every", "newest", "saves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("discriminator_learning_rate", "network_discriminator_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")
        if not 0 <= self.demonstrated_share < 1:
            raise ValueError(
                f"demonstrated_share must lie in [0, 1), got {self.demonstrated_share}"
            )


class Discriminator(ABC):
    """Tells the expert's transitions from the policy's."""

    @property
    @abstractmethod
    def functions(self) -> Sequence[StateFunction | PairFunction]:
        """What is trained."""

    @abstractmethod
    def logits_expert_is_high(self, steps: Steps, log_pi: Tensor) -> Tensor:
        """`[batch]`.

        Args:
            steps: Transitions.
            log_pi: log pi(a|s) of the policy as it is now, `[batch]`.
        """

    @abstractmethod
    def logit(self, steps: Steps) -> Tensor:
        """What the policy's payment is made of, `[batch]`: the logit, its part of log pi left out."""

    def paid_for(self, logit: Tensor) -> Tensor:
        """What it is paid, given `logit`; any shape."""
        return logit

    @abstractmethod
    def recovered(self) -> RewardFunction:
        """The reward that was learnt."""


class AdversarialImitation(Algorithm):
    """Rounds of: the policy acts, the discriminator learns, the policy answers.

    Nothing is kept for going on after a kill.
    """

    worlds: ClassVar[tuple[str, ...]] = ("gridworld", "control")
    actions: ClassVar[tuple[str, ...]] = ("discrete", "continuous")
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
    def actor_critic(self) -> dict[str, Any]:
        """Where actions are continuous, the temperature's fields of `SoftActorCriticSettings`."""

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
        if functions.indexed and config.gradient_penalty > 0:
            raise UsageError(
                f"gradient_penalty is for observed vectors, and states of {problem.task_id} are "
                "indices: set it to 0"
            )
        rival, scale = self._rival(problem, functions, run)
        try:
            judge = self.discriminator(functions, scale, problem.discount)
            units = None
            if config.gradient_penalty > 0:
                units = functions.moments_of_pairs(scale)[1].to(run.device)
            play(
                rival,
                judge,
                config,
                run,
                limit=problem.meter.left,
                discount=problem.discount,
                units=units,
            )
        finally:
            rival.close()
        return Solution(rival.policy(), judge.recovered())

    def _rival(
        self, problem: Problem, functions: Functions, run: Run
    ) -> tuple[Rival, Tensor | None]:
        from irlbench.baselines.learners.rivals import ExactRival, PolicyLearner, SampledRival

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
        from irlbench.baselines.learners.soft_actor_critic import (
            SoftActorCritic,
            SoftActorCriticSettings,
        )
        from irlbench.baselines.learners.soft_q import SoftQLearner
        from irlbench.baselines.learners.steps import steps_of

        demonstrated = steps_of(problem.demonstrations.transitions(config.subsample), run.device)
        interaction = Interaction(problem, config.num_envs, config.buffer, run)
        scale = demonstrated.observations
        learner: PolicyLearner
        if functions.discrete:
            learner = SoftQLearner(
                functions, self.temperature, config.target_rate, problem.discount, scale
            )
        else:
            settings = SoftActorCriticSettings.of(config, **self.actor_critic())
            learner = SoftActorCritic(problem, settings, run)
        rival = SampledRival(
            demonstrated,
            interaction,
            learner,
            config.batch_size,
            config.newest,
            run,
            config.random_steps,
            config.demonstrated_share,
        )
        return rival, scale


def play(
    rival: Rival,
    judge: Discriminator,
    config: AdversarialConfig,
    run: Run,
    *,
    limit: int | None,
    discount: float,
    units: Tensor | None = None,
) -> None:
    """The rounds of the game.

    Args:
        rival: The policy.
        judge: The discriminator.
        config: Step sizes.
        run: Its budget, and where the curve goes.
        limit: Environment steps that are granted, or None.
        discount: gamma.
        units: For the gradient penalty, what vectors and continuous actions are divided by.
    """
    import torch

    from irlbench.baselines.learners.functions import TableFunction
    from irlbench.baselines.learners.progress import Points, require_finite, share_done
    from irlbench.baselines.objectives.absorbing import Absorbing

    tables = all(isinstance(function, TableFunction) for function in judge.functions)
    optimiser = torch.optim.Adam(
        [p for function in judge.functions for p in function.parameters()],
        lr=config.discriminator_learning_rate
        if tables
        else config.network_discriminator_learning_rate,
        weight_decay=config.weight_decay,
    )
    mixing = torch.Generator().manual_seed(int(run.generator("mixing").integers(2**62)))
    points = Points(config.saves)
    end: Absorbing | None = None
    told: dict[str, float] = {}

    def paid(steps: Steps) -> Tensor:
        logits = judge.logit(steps)
        if end is None:
            return judge.paid_for(logits)
        for_ever = judge.paid_for(logits.new_tensor(end.logit)) / (1 - discount)
        return judge.paid_for(logits + end.shift) + discount * for_ever * steps.terminated

    for turn in range(1, config.gradient_steps + 1):
        if run.exhausted or not rival.act():
            break
        if (turn - 1) % config.discriminator_every == 0:
            loss = _discriminate(rival, judge, config, mixing, units)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            told["discriminator_loss"] = loss.item()
            if config.absorbing and rival.steps_taken is not None:
                end = Absorbing.between(rival.ends, discount, _LEAST_SHARES)
        for _ in range(config.updates_per_step):
            run.spend(gradient_steps=1)
            told |= rival.answer(paid)
        due = points.passed(share_done(turn, config.gradient_steps, rival.steps_taken, limit))
        if turn % _LOG_EVERY == 0 or due:
            require_finite(told, rival.steps_taken or turn)
        if turn % _LOG_EVERY == 0:
            run.log(rival.steps_taken or turn, **told)
        if due:
            run.save(rival.steps_taken or turn, rival.policy())


def _discriminate(
    rival: Rival,
    judge: Discriminator,
    config: AdversarialConfig,
    mixing: torch.Generator,
    units: Tensor | None,
) -> Tensor:
    """The discriminator's loss on transitions of both."""
    import torch

    from irlbench.baselines.objectives.gail import discriminator_loss

    own = rival.own()
    expert = rival.expert()
    both = expert.joined(own)
    labels = torch.ones_like(both.weight)
    labels[len(expert) :] = 0
    logits = judge.logits_expert_is_high(both, rival.log_prob(both))
    loss = discriminator_loss(logits, labels, both.weight)
    if units is not None:
        loss = loss + config.gradient_penalty * _penalty(
            judge, expert, own, units, mixing, config.penalty_centre
        )
    return loss


def _penalty(
    judge: Discriminator,
    expert: Steps,
    own: Steps,
    units: Tensor,
    mixing: torch.Generator,
    centre: float,
) -> Tensor:
    """The gradient penalty between the expert's and the policy's vectors, in `units` of them.

    Observations are mixed, and continuous actions; a discrete action is that of the nearer one.
    """
    import torch

    from irlbench.baselines.learners.steps import Steps
    from irlbench.baselines.objectives.gail import gradient_penalty, interpolate

    count = min(len(expert), len(own))
    shares = torch.rand(count, generator=mixing).to(expert.weight.device)
    continuous = expert.actions.is_floating_point()
    width = expert.observations[0].numel()
    units = torch.cat([units[:width], units])  # of s', s and a

    def inputs(steps: Steps) -> Tensor:
        vectors = [steps.next_observations, steps.observations]
        vectors += [steps.actions] if continuous else []
        return torch.cat([v[:count].flatten(start_dim=1) for v in vectors], dim=1) / units

    scaled = interpolate(inputs(expert), inputs(own), shares)
    between = scaled * units
    experts = shares > 0.5
    nearer = torch.where(experts, expert.terminated[:count], own.terminated[:count])
    if continuous:
        actions = between[:, 2 * width :]
    else:
        actions = torch.where(experts, expert.actions[:count], own.actions[:count])
    mixed = Steps(
        between[:, width : 2 * width], actions, between[:, :width], nearer, own.weight[:count]
    )
    nothing = torch.zeros_like(shares, dtype=torch.float64)
    logits = judge.logits_expert_is_high(mixed, nothing)
    return gradient_penalty(logits, scaled, centre=centre)
