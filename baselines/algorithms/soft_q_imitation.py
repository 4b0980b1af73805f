"""What imitation by a soft Q-function shares: IQ-Learn and SQIL differ in their loss."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.baselines.settings import FunctionConfig, SamplingConfig
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.experience import Experience
    from irlbench.baselines.learners.functions import StateFunction

_LOG_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class SoftQImitationConfig(FunctionConfig, SamplingConfig):
    """Hyperparameters of imitation by a soft Q-function."""

    gradient_steps: int = option(1000, "Updates, unless a budget grants fewer.")
    temperature: float = option(0.1, "tau: the policy is softmax(Q / tau).")
    weight_decay: float = option(0.0, "Squared norm of the parameters in the loss, over 2.")
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        FunctionConfig.__post_init__(self)
        SamplingConfig.__post_init__(self)
        for name in ("gradient_steps", "saves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


class SoftQImitation(Algorithm):
    """Learns Q from the expert's transitions and its own; the policy is softmax(Q / tau).

    Nothing is kept for going on after a kill: a fit takes seconds.
    """

    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    actions: ClassVar[tuple[str, ...]] = ("discrete",)
    optional: ClassVar[frozenset[str]] = frozenset({"features"})

    @abstractmethod
    def loss(
        self, experience: Experience, Q: StateFunction, target: StateFunction, discount: float
    ) -> Tensor:
        """The loss of one update.

        Args:
            experience: The expert's transitions, and the policy's.
            Q: What is learnt.
            target: A copy that follows it slowly.
            discount: gamma.
        """

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`. Ends at the first of its steps and the budget's limits."""
        from irlbench.baselines.learners.experience import experience_of
        from irlbench.baselines.learners.functions import Functions
        from irlbench.baselines.learners.steps import SlowCopy
        from irlbench.rewards.composed import InverseBellmanReward

        config: Any = self.config
        functions = Functions(problem, config, run)
        experience, scale = experience_of(problem, functions, config, run)
        try:
            Q = functions.make("Q", functions.actions, scale)
            optimiser = functions.optimiser(Q, weight_decay=config.weight_decay)
            target = SlowCopy(Q, getattr(config, "target_rate", 1.0))
            steps = config.gradient_steps
            points = {round(steps * i / config.saves) for i in range(1, config.saves + 1)}
            for step in range(1, steps + 1):
                if run.exhausted or not experience.advance(Q, config.temperature):
                    break
                loss = self.loss(experience, Q, target.function, problem.discount)
                run.spend(gradient_steps=1)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                target.follow()
                if step % _LOG_EVERY == 0:
                    run.log(experience.steps_taken or step, loss=float(loss.detach()))
                if step in points:
                    run.save(experience.steps_taken or step, Q.policy(config.temperature))
        finally:
            experience.close()
        implied = InverseBellmanReward(
            Q.reward(problem.discount), problem.discount, config.temperature
        )
        return Solution(Q.policy(config.temperature), implied)
