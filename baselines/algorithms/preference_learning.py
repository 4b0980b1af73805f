"""What learning from preferences shares: one function, trained on pairs of segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import Algorithm, Run, option
from irlbench.baselines.settings import FunctionConfig
from irlbench.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor, nn

    from irlbench.baselines.learners.functions import Functions
    from irlbench.baselines.learners.segments import Segments
    from irlbench.policy import Policy

_LOG_EVERY = 50

#: What all take on control unless told otherwise: pairs may be of whole episodes.
PREFERENCE_CONTROL: Mapping[str, Any] = {"gradient_steps": 2000, "batch_size": 32}


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(FunctionConfig):
    """Hyperparameters of learning from preferences."""

    gradient_steps: int = option(1000, "Updates, unless a budget grants fewer.")
    batch_size: int = option(128, "Pairs per update.")
    l2: float = option(
        1.0, "Precision of a Gaussian prior on a table's entries; it weighs 1 / (number of pairs)."
    )
    weight_decay: float = option(
        1e-4, "Squared norm of a network's parameters in the loss, over 2."
    )
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gradient_steps", "batch_size", "saves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("l2", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def require_positive(self, *names: str) -> None:
        """Refuses numbers that are not above 0.

        Raises:
            ValueError: Naming the first.
        """
        for name in names:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class PreferenceLearning(Algorithm):
    """An algorithm on pairs of segments. Nothing is kept for a kill: a fit takes seconds."""

    worlds: ClassVar[tuple[str, ...]] = ("gridworld", "control")
    actions: ClassVar[tuple[str, ...]] = ("discrete", "continuous")
    optional: ClassVar[frozenset[str]] = frozenset({"features"})

    def begin(self, problem: Problem, run: Run) -> tuple[Functions, Segments]:
        """What makes functions, and the pairs as tensors.

        Args:
            problem: With preferences.
            run: Seed and device.
        """
        from irlbench.baselines.learners.functions import Functions
        from irlbench.baselines.learners.segments import segments_of

        functions = Functions(problem, self.config, run)
        pairs = problem.preferences.pairs()
        actions = functions.actions if functions.discrete else None
        return functions, segments_of(pairs, actions, run.device)


def train(
    function: nn.Module,
    functions: Functions,
    segments: Segments,
    loss_of: Callable[[Segments], Tensor],
    config: PreferenceConfig,
    run: Run,
    policy: Callable[[], Policy] | None = None,
    *,
    prior: bool = True,
    steps: int | None = None,
    told: str = "loss",
    after: Callable[[], dict[str, float]] | None = None,
) -> None:
    """Minimises a loss of pairs by Adam.

    Args:
        function: What is trained.
        functions: Makes its optimiser.
        segments: The pairs.
        loss_of: The loss of some pairs, a scalar.
        config: Sizes and steps.
        run: Budget, seed, and where the curve goes.
        policy: What is handed in along the way; None: nothing.
        prior: Whether a table's entries have the Gaussian prior.
        steps: How many updates; None: `config.gradient_steps`.
        told: What the loss is called in the log.
        after: Comes after each update, and tells what happened, by name.
    """
    from irlbench.baselines.learners.progress import require_finite

    decay = config.weight_decay
    if functions.tabular:
        decay = config.l2 / len(segments) if prior else 0.0
    optimiser = functions.optimiser(function, weight_decay=decay)
    draws = run.generator("minibatches")
    steps = config.gradient_steps if steps is None else steps
    points = _points(steps, config.saves)
    for step in range(1, steps + 1):
        if run.exhausted:
            break
        loss = loss_of(segments.drawn(config.batch_size, draws))
        run.spend(gradient_steps=1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        more = {} if after is None else after()
        due = policy is not None and step in points
        if step % _LOG_EVERY == 0 or due:
            scalars = {told: loss.item(), **more}
            require_finite(scalars, step)
        if step % _LOG_EVERY == 0:
            run.log(step, **scalars)
        if policy is not None and due:
            run.save(step, policy())


def _points(steps: int, saves: int) -> Sequence[int]:
    return [round(steps * i / saves) for i in range(1, saves + 1)]
