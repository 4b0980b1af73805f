"""Soft actor-critic (Haarnoja et al., 2018): maximum-entropy control of continuous actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Run, Solver, option
from irlbench.baselines.settings import (
    ActorCriticConfig,
    SamplingConfig,
    TemperatureConfig,
)
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem
from irlbench.reward import RewardFunction

if TYPE_CHECKING:
    from irlbench.baselines.learners.interaction import Interaction
    from irlbench.baselines.learners.soft_actor_critic import SoftActorCritic

#: Environment steps between two points at which all rows begin anew; see `SAC`.
STEPS_BETWEEN_RESTARTS = 10_000
_LOG_EVERY = 1000


@dataclass(frozen=True, kw_only=True)
class SACConfig(SamplingConfig, ActorCriticConfig, TemperatureConfig):
    """Hyperparameters of SAC: those of the paper where nothing else is said."""

    steps: int = option(150_000, "Environment steps, unless the budget grants fewer.")
    batch_size: int = option(256, "Transitions per update.")
    num_envs: int = option(1, "Environments that are stepped at once, one step per update.")
    buffer: int = option(1_000_000, "Transitions that are kept.")
    temperature: float = option(1.0, "tau: weight of the entropy, at first where it is learnt.")
    random_steps: int = option(10_000, "Environment steps with random actions before learning.")
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        SamplingConfig.__post_init__(self)
        ActorCriticConfig.__post_init__(self)
        TemperatureConfig.__post_init__(self)
        if self.random_steps < 0:
            raise ValueError(f"random_steps must not be negative, got {self.random_steps}")
        for name in ("steps", "saves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")


class SAC(Solver):
    """Soft actor-critic with one update per step of the environments.

    A simulator's state cannot be saved in general. So every `STEPS_BETWEEN_RESTARTS` steps, or each
    horizon of every row where that is longer, all rows begin new episodes and all random numbers a
    new stream: a killed run goes on from there, and one that was never killed does the same. The
    episodes cut off there are bootstrapped as at any time limit.
    """

    id: ClassVar[str] = "sac"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "soft actor-critic, for continuous actions"
    worlds: ClassVar[tuple[str, ...]] = ("control",)
    actions: ClassVar[tuple[str, ...]] = ("continuous",)
    needs: ClassVar[frozenset[str]] = frozenset({"interaction"})
    Config: ClassVar[type[Any]] = SACConfig

    def solve(
        self, problem: Problem, reward: RewardFunction | None, budget: Budget, run: Run
    ) -> Policy:
        """See `Solver.solve`. Ends at the first of its steps and the budget's limits."""
        from irlbench.baselines.learners.interaction import Interaction
        from irlbench.baselines.learners.progress import require_finite
        from irlbench.baselines.learners.soft_actor_critic import (
            SoftActorCritic,
            SoftActorCriticSettings,
        )
        from irlbench.baselines.learners.state import take
        from irlbench.baselines.solvers.soft_q_learning import rewards_of

        config: SACConfig = self.config
        kept = run.restored
        taken = 0 if kept is None else int(take(kept, "taken", np.array([0]))[0])
        limits = (config.steps, budget.steps, _left(problem, taken))
        granted = min(limit for limit in limits if limit is not None)
        interaction = Interaction(problem, config.num_envs, config.buffer, run)
        try:
            learner = SoftActorCritic(problem, SoftActorCriticSettings.of(config), run)
            if kept is not None:
                _restore(kept, learner, interaction)
                interaction.begin_anew(f"from step {taken}")
            points = {round(granted * i / config.saves) for i in range(1, config.saves + 1)}
            period = max(STEPS_BETWEEN_RESTARTS, problem.horizon * config.num_envs)
            while taken + config.num_envs <= granted and not run.exhausted:
                before = taken
                at_random = taken < config.random_steps
                taken += interaction.step(learner.act, random_share=1.0 if at_random else 0.0)
                if len(interaction) and not at_random:
                    met, paid = interaction.sample_paid(config.batch_size)
                    run.spend(gradient_steps=1)
                    told = learner.update(met, paid if reward is None else rewards_of(reward, met))
                    require_finite(told, taken)
                    if before // _LOG_EVERY < taken // _LOG_EVERY:
                        run.log(taken, **told)
                if any(before < point <= taken for point in points):
                    run.save(taken, learner.policy())
                if before // period < taken // period:
                    if run.checkpoint_due:
                        run.checkpoint(_state(taken, learner, interaction))
                    interaction.begin_anew(f"from step {taken}")
            return learner.policy()
        finally:
            interaction.close()


def _left(problem: Problem, taken: int) -> int | None:
    """Steps granted by the problem in all, those taken before a kill included."""
    left = problem.meter.left
    return None if left is None else left + taken


def _state(
    taken: int, learner: SoftActorCritic, interaction: Interaction
) -> dict[str, NDArray[Any]]:
    from irlbench.baselines.learners.state import under

    return {
        "taken": np.array([taken]),
        **under("learner", learner.state()),
        **under("interaction", interaction.state()),
    }


def _restore(
    kept: Mapping[str, NDArray[Any]], learner: SoftActorCritic, interaction: Interaction
) -> None:
    from irlbench.baselines.learners.state import part

    learner.restore(part("learner", kept))
    interaction.restore(part("interaction", kept))
