"""IPL: inverse preference learning, without a reward model."""

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

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.functions import Functions
    from irlbench.baselines.learners.implicit_q import ImplicitQSettings
    from irlbench.baselines.learners.segments import Segments


@dataclass(frozen=True, kw_only=True)
class IPLConfig(PreferenceConfig):
    """Hyperparameters of IPL."""

    temperature: float = option(
        0.1, "tau: V = tau logsumexp(Q / tau), the policy softmax(Q / tau)."
    )
    regulariser_weight: float = option(
        0.5, "lambda of E[r^2] over the segments; with known dynamics l2 takes its place."
    )
    target_rate: float = option(0.05, "Share of the way that the target Q goes per update.")
    expectile: float = option(
        0.7, "Continuous actions: V is this expectile of Q over the actions in the data."
    )
    advantage_temperature: float = option(
        0.1, "Continuous actions: one weighs exp((Q - V) / this) in the policy's likelihood."
    )
    largest_weight: float = option(100.0, "Continuous actions: what that weight is cut off at.")
    policy_learning_rate: float = option(
        1e-3, "Continuous actions: step size of the policy's Adam."
    )
    transitions: int = option(
        256, "Continuous actions: per update so many steps for V and policy, and of other policies."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive(
            "temperature",
            "advantage_temperature",
            "largest_weight",
            "policy_learning_rate",
            "transitions",
        )
        if not 0 < self.expectile < 1:
            raise ValueError(f"expectile must lie in (0, 1), got {self.expectile}")
        if not self.regulariser_weight >= 0:
            raise ValueError(
                f"regulariser_weight must not be negative, got {self.regulariser_weight}"
            )
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")


class IPL(PreferenceLearning):
    """Preferences are fitted by the reward that Q implies, r = Q - gamma V'."""

    id: ClassVar[str] = "ipl"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "IPL: preferences fitted by the reward that a soft Q implies"
    paper: ClassVar[str] = "Hejna and Sadigh (2023)"
    tracks: ClassVar[tuple[str, ...]] = ("preferences", "preferences+dynamics")
    optional: ClassVar[frozenset[str]] = frozenset({"features", "offline_transitions"})
    Config: ClassVar[type[Any]] = IPLConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gridworld": {"gradient_steps": 3000, "learning_rate": 0.1},
        "control": {
            **PREFERENCE_CONTROL,
            "gradient_steps": 3000,
            "batch_size": 16,
            "hidden": (128, 128),
            "target_rate": 0.005,
        },
    }

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        import torch

        from irlbench.baselines.learners.functions import indexed
        from irlbench.baselines.learners.known_dynamics import KnownDynamics
        from irlbench.baselines.learners.steps import SlowCopy
        from irlbench.baselines.objectives.ipl import ipl_loss, ipl_rewards
        from irlbench.rewards.composed import InverseBellmanReward

        config: IPLConfig = self.config
        functions, segments = self.begin(problem, run)
        if not functions.discrete:
            return self._fit_continuous(problem, functions, segments, run)
        Q = functions.make("Q", functions.actions, segments.present)
        target = SlowCopy(Q, config.target_rate)
        known = None
        if "dynamics" in problem.needs:
            known = KnownDynamics(problem.resource("dynamics"), device=run.device)
            everything = torch.ones_like(indexed(Q).table())

        def loss_of(some: Segments) -> Tensor:
            target.follow()
            values = some.soft_values(Q, config.temperature, target.function, known)
            loss = ipl_loss(
                ipl_rewards(values, discount=problem.discount),
                some.mask,
                some.first_preferred,
                regulariser_weight=config.regulariser_weight if known is None else 0.0,
                weight=some.weight,
            )
            if known is None:
                return loss
            everywhere = known.soft_values(
                indexed(Q), everything, config.temperature, indexed(target.function)
            )
            implied = ipl_rewards(everywhere, discount=problem.discount)
            return loss + config.l2 / (2 * len(segments)) * (implied**2).sum()

        train(
            Q,
            functions,
            segments,
            loss_of,
            config,
            run,
            lambda: Q.policy(config.temperature),
            prior=known is None,
        )
        implied = InverseBellmanReward(
            Q.reward(problem.discount), problem.discount, config.temperature
        )
        return Solution(Q.policy(config.temperature), implied)

    def _fit_continuous(
        self, problem: Problem, functions: Functions, segments: Segments, run: Run
    ) -> Solution:
        """V is an expectile and the policy weighted by advantage, as in implicit Q-learning.

        Steps of other policies, where the task supplies them, count in lambda E[r^2], and V and
        the policy learn from them too (section 4 of the paper: the offline data).
        """
        from irlbench.baselines.learners.implicit_q import ImplicitQ
        from irlbench.baselines.learners.steps import steps_of
        from irlbench.baselines.objectives.ipl import ipl_loss, ipl_rewards
        from irlbench.baselines.objectives.masking import masked_mean

        config: IPLConfig = self.config
        learner = ImplicitQ(problem, functions, _settings(config), segments.present, run)
        shown = segments.steps()
        others = None
        if "offline_transitions" in problem.needs:
            others = steps_of(problem.resource("offline_transitions"), run.device)
        draws = run.generator("transitions")

        def loss_of(some: Segments) -> Tensor:
            rewards = ipl_rewards(learner.of_segments(some), discount=problem.discount)
            square = config.regulariser_weight
            loss = ipl_loss(
                rewards,
                some.mask,
                some.first_preferred,
                regulariser_weight=square if others is None else 0.5 * square,
                weight=some.weight,
            )
            if others is None:
                return loss
            values = learner.of_steps(others.drawn(config.transitions, draws))
            implied = ipl_rewards(values, discount=problem.discount)
            return loss + 0.5 * square * masked_mean(implied**2, values.mask)

        def follow() -> dict[str, float]:
            some = shown.drawn(config.transitions, draws)
            if others is not None:
                some = some.joined(others.drawn(config.transitions, draws))
            return learner.follow(some.observations, some.actions)

        train(learner.Q, functions, segments, loss_of, config, run, learner.policy, after=follow)
        return Solution(learner.policy(), learner.implied_reward())


def _settings(config: IPLConfig) -> ImplicitQSettings:
    from irlbench.baselines.learners.implicit_q import ImplicitQSettings

    return ImplicitQSettings(
        expectile=config.expectile,
        advantage_temperature=config.advantage_temperature,
        largest_weight=config.largest_weight,
        target_rate=config.target_rate,
        policy_learning_rate=config.policy_learning_rate,
        hidden=config.hidden,
    )
