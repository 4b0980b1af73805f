"""DPO: direct preference optimisation of a policy, over trajectories."""

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
from irlbench.errors import UnknownNameError
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from irlbench.baselines.learners.functions import Functions
    from irlbench.baselines.learners.policy_models import PolicyModel
    from irlbench.baselines.learners.segments import Segments

REFERENCES = ("uniform", "cloned")


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PreferenceConfig):
    """Hyperparameters of DPO."""

    beta: float = option(1.0, "Weight of the KL divergence from the reference policy.")
    reference: str = option(
        "cloned", "uniform, or cloned: behavioural cloning of all segments, judged well or not."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("beta")
        if self.reference not in REFERENCES:
            raise ValueError(str(UnknownNameError("reference", self.reference, REFERENCES)))


class DPO(PreferenceLearning):
    """The policy whose implicit reward, beta log(pi / pi_ref), explains the preferences."""

    id: ClassVar[str] = "dpo"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "DPO: a policy straight from preferences over trajectories"
    paper: ClassVar[str] = "Rafailov et al. (2023, 2024)"
    tracks: ClassVar[tuple[str, ...]] = ("preferences",)
    Config: ClassVar[type[Any]] = DPOConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"control": PREFERENCE_CONTROL}

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`.

        A cloned reference takes as many gradient steps as the policy, and of a budget half.
        """
        import copy

        import torch

        from irlbench.baselines.objectives.dpo import dpo_loss

        config: DPOConfig = self.config
        functions, segments = self.begin(problem, run)
        model = _model(problem, functions, segments, config, run)
        reference = None
        if config.reference == "cloned":
            self._clone(model, functions, segments, run)
            reference = copy.deepcopy(model)

        def loss_of(some: Segments) -> Tensor:
            log_pi = model.log_prob(some)
            with torch.no_grad():
                uniform = torch.full_like(log_pi, model.log_uniform)
                log_reference = uniform if reference is None else reference.log_prob(some)
            return dpo_loss(
                log_pi,
                log_reference,
                some.mask,
                some.first_preferred,
                beta=config.beta,
                weight=some.weight,
            )

        train(model.function, functions, segments, loss_of, config, run, model.policy)
        return Solution(model.policy(), model.implied(reference, config.beta))

    def _clone(
        self, model: PolicyModel, functions: Functions, segments: Segments, run: Run
    ) -> None:
        """Maximum likelihood of the actions of all segments."""
        from irlbench.baselines.objectives.behavioural_cloning import behavioural_cloning_loss

        def loss_of(some: Segments) -> Tensor:
            return behavioural_cloning_loss(model.log_prob(some), some.mask)

        steps, granted = self.config.gradient_steps, run.budget.gradient_steps
        if granted is not None:
            steps = min(steps, granted // 2)
        train(
            model.function,
            functions,
            segments,
            loss_of,
            self.config,
            run,
            steps=steps,
            told="cloning_loss",
        )


def _model(
    problem: Problem, functions: Functions, segments: Segments, config: DPOConfig, run: Run
) -> PolicyModel:
    from irlbench.baselines.learners.policy_models import GaussianModel, SoftmaxModel

    if functions.discrete:
        return SoftmaxModel(functions, segments.present, problem.discount)
    return GaussianModel(problem, config, segments.present, run)
