"""What imitation by a soft Q-function shares: IQ-Learn and SQIL differ in their loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.baselines.settings import (
    ActorCriticConfig,
    FunctionConfig,
    ImitationConfig,
    TemperatureConfig,
)
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.experience import Experience
    from irlbench.baselines.learners.functions import Functions, StateFunction
    from irlbench.baselines.learners.steps import ActedQ
    from irlbench.policy import Policy
    from irlbench.reward import RewardFunction

    SoftQ = StateFunction | ActedQ

_LOG_EVERY = 50

#: What both take on control unless told otherwise.
SOFT_Q_CONTROL: Mapping[str, Any] = {
    "gradient_steps": 1_000_000,  # the budget of steps ends it
    "num_envs": 2,
    "batch_size": 128,
    "buffer": 1_000_000,
    "random_steps": 1000,
    "precision": "bfloat16",
    "temperature": 0.1,
    "critics": 2,
    "scale_observations": False,
}


@dataclass(frozen=True, kw_only=True)
class SoftQImitationConfig(FunctionConfig, ImitationConfig, ActorCriticConfig, TemperatureConfig):
    """Hyperparameters of imitation by a soft Q-function."""

    gradient_steps: int = option(1000, "Updates, unless a budget grants fewer.")
    temperature: float = option(0.1, "tau: the policy is softmax(Q / tau), or an actor's for Q.")
    learn_temperature: bool = option(
        False, "Continuous actions: tau follows the entropy wanted; else it stays as it is."
    )
    scale_observations: bool = option(
        True, "With interaction, networks of discrete actions read vectors scaled by the expert's."
    )
    target_rate: float = option(
        0.05, "Share of the way that the slow copy of Q goes per update; critics have their own."
    )
    weight_decay: float = option(
        0.0, "Squared norm of a table's or network's Q in the loss, over 2."
    )
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        FunctionConfig.__post_init__(self)
        ImitationConfig.__post_init__(self)
        ActorCriticConfig.__post_init__(self)
        TemperatureConfig.__post_init__(self)
        for name in ("gradient_steps", "saves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.critics > 2:
            raise ValueError(
                f"critics must be 1 or 2, which a saved reward is made of, got {self.critics}"
            )
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


class SoftQImitation(Algorithm):
    """Learns Q from the expert's transitions and its own; the policy is softmax(Q / tau).

    Where actions are continuous an actor takes the place of the softmax (soft actor-critic), and
    the critics are Q. Nothing is kept for going on after a kill.
    """

    worlds: ClassVar[tuple[str, ...]] = ("gridworld", "control")
    actions: ClassVar[tuple[str, ...]] = ("discrete", "continuous")
    optional: ClassVar[frozenset[str]] = frozenset({"features"})

    @abstractmethod
    def loss(self, experience: Experience, Q: SoftQ, target: SoftQ, discount: float) -> Tensor:
        """The loss of one update.

        Args:
            experience: The expert's transitions, and the policy's.
            Q: What is learnt.
            target: A copy that follows it slowly.
            discount: gamma.
        """

    def updates(self, problem: Problem) -> int:
        """How many updates there are, unless a budget grants fewer."""
        gradient_steps: int = self.config.gradient_steps
        return gradient_steps

    def end_value(self, experience: Experience, discount: float) -> float:
        """V where an episode ended: part of the reward that Q implies."""
        return 0.0

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`. Ends at the first of its steps and the budget's limits."""
        from irlbench.baselines.learners.experience import experience_of
        from irlbench.baselines.learners.functions import Functions

        config: Any = self.config
        functions = Functions(problem, config, run)
        experience, scale = experience_of(problem, functions, config, run)
        learner: _Learner
        if functions.discrete:
            if "interaction" in problem.needs and not config.scale_observations:
                scale = None
            learner = _Discrete(functions, config, problem.discount, scale)
        else:
            learner = _Acted(problem, config, run)
        try:
            self._learn(learner, experience, problem, run)
            reward = learner.reward(self.end_value(experience, problem.discount))
        finally:
            experience.close()
        return Solution(learner.policy(), reward)

    def _learn(self, learner: _Learner, experience: Experience, problem: Problem, run: Run) -> None:
        from irlbench.baselines.learners.progress import Points, require_finite, share_done

        config: Any = self.config
        updates, limit = self.updates(problem), problem.meter.left
        points = Points(config.saves)
        for step in range(1, updates + 1):
            if run.exhausted:
                break
            stands = (step - 1) % config.updates_per_step
            if not stands and not experience.advance(learner.Q, config.temperature):
                break
            loss = self.loss(experience, learner.Q, learner.target, problem.discount)
            run.spend(gradient_steps=1)
            told = learner.update(loss)
            taken = experience.steps_taken
            due = points.passed(share_done(step, updates, taken, limit))
            if step % _LOG_EVERY == 0 or due:
                told = {"loss": loss.item(), **told}
                require_finite(told, taken or step)
            if step % _LOG_EVERY == 0:
                run.log(taken or step, **told)
            if due:
                run.save(taken or step, learner.policy())


class _Learner(ABC):
    """Q, a copy that follows it slowly, and what goes with an update."""

    Q: SoftQ
    target: SoftQ

    @abstractmethod
    def update(self, loss: Tensor) -> dict[str, float]:
        """One update on a loss; tells what happened, by name."""

    @abstractmethod
    def policy(self) -> Policy:
        """The policy as it is now."""

    @abstractmethod
    def reward(self, end_value: float) -> RewardFunction:
        """The reward under which Q is soft-optimal, V being `end_value` where an episode ended."""


class _Discrete(_Learner):
    """One output per action: table or network."""

    def __init__(
        self, functions: Functions, config: Any, discount: float, scale: Tensor | None
    ) -> None:
        from irlbench.baselines.learners.steps import SlowCopy

        self._config, self._discount = config, discount
        self._function = self.Q = functions.make("Q", functions.actions, scale)
        self._optimiser = functions.optimiser(self._function, weight_decay=config.weight_decay)
        self._slow = SlowCopy(self._function, config.target_rate)
        self.target = self._slow.function

    def update(self, loss: Tensor) -> dict[str, float]:
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._slow.follow()
        return {}

    def policy(self) -> Policy:
        return self._function.policy(self._config.temperature)

    def reward(self, end_value: float) -> RewardFunction:
        from irlbench.rewards.composed import InverseBellmanReward

        values = self._function.reward(self._discount)
        temperature = self._config.temperature
        return InverseBellmanReward(values, self._discount, temperature, end_value)


class _Acted(_Learner):
    """Critics with an actor."""

    def __init__(self, problem: Problem, config: Any, run: Run) -> None:
        from irlbench.baselines.learners.soft_actor_critic import (
            SoftActorCritic,
            SoftActorCriticSettings,
        )

        settings = SoftActorCriticSettings.of(config)
        self._learner = SoftActorCritic(problem, settings, run)
        self.Q = self.target = self._learner

    def update(self, loss: Tensor) -> dict[str, float]:
        optimiser = self._learner.critic_optimiser
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step_fast()
        return self._learner.follow()

    def policy(self) -> Policy:
        return self._learner.policy()

    def reward(self, end_value: float) -> RewardFunction:
        return self._learner.implied_reward(end_value)
