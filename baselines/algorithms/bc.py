"""Behavioural cloning in every world; on text it is supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.problem import Budget, Problem
from irlbench.randomness import generator_state, restore_generator

if TYPE_CHECKING:
    from irlbench.baselines.learners.base import Learner


@dataclass(frozen=True)
class BehaviouralCloningConfig:
    """Hyperparameters of behavioural cloning."""

    gradient_steps: int = option(2000, "Updates, unless the budget grants fewer.")
    batch_size: int = option(256, "Transitions per update; on text, episodes.")
    learning_rate: float = option(1e-3, "Step size of Adam at the start; decays along a cosine.")
    weight_decay: float = option(0.0, "Decoupled weight decay of Adam.")
    hidden: tuple[int, ...] = option((256, 256), "Widths of the hidden layers of a network.")
    gradient_clip: float = option(1.0, "Largest norm of a gradient; 0 for no limit.")
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")
    subsample: int = option(1, "Keep every k-th step of each demonstration (not on text).")

    def __post_init__(self) -> None:
        for name in ("gradient_steps", "batch_size", "saves", "subsample"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


class BehaviouralCloning(Algorithm):
    """Maximum likelihood of the demonstrated actions; its log pi is handed back as a reward.

    On text and for continuous actions no reward is.
    """

    id: ClassVar[str] = "bc"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "behavioural cloning: maximum likelihood of demonstrated actions"
    paper: ClassVar[str] = "Pomerleau (1991); on text, supervised fine-tuning"
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations",)
    resumable: ClassVar[bool] = True
    Config: ClassVar[type[Any]] = BehaviouralCloningConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gridworld": {"gradient_steps": 500, "learning_rate": 0.1, "batch_size": 100_000},
        "control": {"gradient_steps": 2000, "learning_rate": 3e-3, "batch_size": 256},
        "text": {"gradient_steps": 100, "learning_rate": 3e-4, "batch_size": 16},
    }

    @classmethod
    def needs_for(cls, world: str, track: str) -> frozenset[str]:
        """On text it starts from the reference model."""
        return cls.needs | {"reference_model"} if world == "text" else cls.needs

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        from irlbench.baselines.learners.base import LearnerSettings, learner_for
        from irlbench.baselines.objectives.behavioural_cloning import behavioural_cloning_loss

        config: BehaviouralCloningConfig = self.config
        steps = config.gradient_steps
        if budget.gradient_steps is not None:
            steps = min(steps, budget.gradient_steps)
        settings = LearnerSettings(
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            hidden=config.hidden,
            gradient_clip=config.gradient_clip,
            total_steps=steps,
        )
        learner = learner_for(problem, settings, run)
        learner.load(problem.demonstrations, subsample=config.subsample)
        generator = run.generator("minibatches")
        points = {round(steps * i / config.saves) for i in range(1, config.saves + 1)}
        done = _go_on(run, learner, generator)
        for step in range(done + 1, steps + 1):
            if run.exhausted:
                break
            batch = learner.sample(config.batch_size, generator)
            loss = behavioural_cloning_loss(learner.log_prob(batch), batch.mask)
            run.spend(gradient_steps=1)
            learner.update(loss)
            if step in points:
                run.log(step, loss=float(loss.detach()))
                run.save(step, learner.policy())
            if run.checkpoint_due:
                run.checkpoint(_state(step, learner, generator))
        return Solution(policy=learner.policy(), reward=learner.reward(problem.discount))


def _state(step: int, learner: Learner, generator: np.random.Generator) -> dict[str, NDArray[Any]]:
    from irlbench.baselines.learners.state import under

    return {
        "step": np.array([step]),
        "minibatches": generator_state(generator),
        **under("learner", learner.state()),
    }


def _go_on(run: Run, learner: Learner, generator: np.random.Generator) -> int:
    """Takes up the last checkpoint, if there is one; gives the steps that are done."""
    from irlbench.baselines.learners.state import part, take

    kept = run.restored
    if kept is None:
        return 0
    learner.restore(part("learner", kept))
    restore_generator(generator, take(kept, "minibatches", generator_state(generator)))
    return int(take(kept, "step", np.array([0]))[0])
