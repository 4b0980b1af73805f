"""A Bradley-Terry reward model, then a solver on it: what RLHF does, in any world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import Run, Solution, option
from irlbench.baselines.algorithms.preference_learning import (
    PREFERENCE_CONTROL,
    PreferenceConfig,
    PreferenceLearning,
    train,
)
from irlbench.problem import Budget, Problem
from irlbench.reward import RewardFunction

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.functions import PairFunction, StateFunction
    from irlbench.baselines.learners.segments import Segments


@dataclass(frozen=True, kw_only=True)
class BTRewardConfig(PreferenceConfig):
    """Hyperparameters of the reward model and of what is made of it."""

    state_only: bool = option(True, "The reward is of states alone, not of states and actions.")
    regulariser_weight: float = option(0.0, "Weight of E[r^2] over the steps of the segments.")
    temperature: float = option(0.1, "Weight of the entropy with which the solver plans.")
    solver: str = option("", "Solver to use; empty takes the usual one for what the track gives.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.regulariser_weight >= 0:
            raise ValueError(
                f"regulariser_weight must not be negative, got {self.regulariser_weight}"
            )
        if not self.temperature >= 0:
            raise ValueError(f"temperature must not be negative, got {self.temperature}")


class BTReward(PreferenceLearning):
    """The reward under which the preferences are likeliest, and a policy for it."""

    id: ClassVar[str] = "bt-reward"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "a Bradley-Terry reward model, then a solver on it"
    paper: ClassVar[str] = "Christiano et al. (2017)"
    tracks: ClassVar[tuple[str, ...]] = ("preferences+interaction", "preferences+dynamics")
    Config: ClassVar[type[Any]] = BTRewardConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "control": {**PREFERENCE_CONTROL, "state_only": False}
    }

    @classmethod
    def solvers_for(
        cls, world: str, track: str, config: BTRewardConfig, actions: str = "discrete"
    ) -> tuple[str, ...]:
        """The one it is told to use, or what is usual for the track and the kind of actions."""
        if config.solver:
            return (config.solver,)
        if track == "preferences+dynamics":
            return ("soft-value-iteration",)
        return ("soft-q-learning" if actions == "discrete" else "sac",)

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        from irlbench.registry import registry

        config: BTRewardConfig = self.config
        actions = "discrete" if hasattr(problem.action_space, "n") else "continuous"
        (name,) = self.solvers_for(problem.world, problem.track, config, actions)
        # Before anything is learnt: what the solver refuses is refused at once.
        solver = (
            registry().solver(name).configure(problem.world, {"temperature": config.temperature})
        )
        reward = self.fit_reward(problem, run)
        return Solution(solver.solve(problem, reward, budget, run), reward)

    def fit_reward(self, problem: Problem, run: Run) -> RewardFunction:
        """The reward model alone, which needs nothing but preferences.

        Args:
            problem: With preferences.
            run: Seed, device, and the budget of gradient steps.
        """
        from irlbench.baselines.objectives.bradley_terry import bradley_terry_loss, segment_returns
        from irlbench.baselines.objectives.masking import masked_mean

        config: BTRewardConfig = self.config
        functions, segments = self.begin(problem, run)
        model: StateFunction | PairFunction
        if config.state_only:
            model = functions.make("reward", 1, segments.present)
        else:
            model = functions.make_of_pairs("reward", segments.present)

        def loss_of(some: Segments) -> Tensor:
            rewards = some.of_chosen(model)
            returns = segment_returns(rewards, some.mask)
            fit = bradley_terry_loss(returns, some.first_preferred, weight=some.weight)
            return fit + config.regulariser_weight * masked_mean(rewards**2, some.mask)

        steps, granted = config.gradient_steps, run.budget.gradient_steps
        if granted is not None and "interaction" in problem.needs:
            steps = min(steps, granted // 2)  # the solver learns too
        train(model, functions, segments, loss_of, config, run, steps=steps)
        return model.reward(problem.discount)
