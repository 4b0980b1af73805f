"""`imitation/bc`: behavioural cloning."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, ClassVar

from irlbench.algorithm import Run, Solution, option
from irlbench.baselines.peers.imitation.peer import (
    Ended,
    ImitationPeer,
    logged,
    require_positive,
    seeded,
    silent_logger,
    transitions_of,
)
from irlbench.problem import Budget, Problem

_LOG_EVERY = 100
_LOGGED = {
    "bc/loss": "loss",
    "bc/neglogp": "negative_log_likelihood",
    "bc/prob_true_act": "probability_of_expert_actions",
}


@dataclass(frozen=True, kw_only=True)
class ImitationBCConfig:
    """Hyperparameters: the package's defaults, but for its length, which it leaves to the caller."""

    gradient_steps: int = option(2000, "Updates, unless the budget grants fewer; as many as `bc`.")
    batch_size: int = option(32, "Transitions per update, or all there are if fewer.")
    learning_rate: float = option(1e-3, "Step size of Adam.")
    entropy: float = option(1e-3, "Weight of the entropy bonus.")
    l2: float = option(0.0, "Weight of half the squared norm of the parameters.")
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        require_positive(self, "gradient_steps", "batch_size", "learning_rate", "saves")


class ImitationBC(ImitationPeer):
    """`imitation.algorithms.bc.BC` with its own policy, two tanh layers of 32 units."""

    id: ClassVar[str] = "imitation/bc"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "behavioural cloning of the package imitation"
    paper: ClassVar[str] = "Pomerleau (1991); Gleave et al. (2022)"
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations",)
    Config: ClassVar[type[Any]] = ImitationBCConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        from imitation.algorithms.bc import BC

        from irlbench.baselines.peers.imitation.watching import LastWritten
        from irlbench.baselines.solvers.ppo import policy_from_actor_critic

        config: ImitationBCConfig = self.config
        updates = config.gradient_steps
        if budget.gradient_steps is not None:
            updates = min(updates, budget.gradient_steps)
        seeded(run)
        demonstrations, written = transitions_of(problem), LastWritten()
        trainer = BC(
            observation_space=problem.observation_space,
            action_space=problem.action_space,
            rng=run.generator("bc"),
            demonstrations=demonstrations,
            batch_size=min(config.batch_size, len(demonstrations)),
            optimizer_kwargs={"lr": config.learning_rate},
            ent_weight=config.entropy,
            l2_weight=config.l2,
            device=run.device,
            custom_logger=silent_logger(writers=[written]),
        )
        points = {round(updates * i / config.saves) for i in range(1, config.saves + 1)}

        def after_update() -> None:
            run.spend(gradient_steps=1)
            done = run.gradient_steps
            if told := logged(written.values, _LOGGED):
                run.log(done, **told)
            written.values = {}
            if done in points:
                run.save(done, policy_from_actor_critic(trainer.policy))
            if run.exhausted:
                raise Ended

        if updates:
            with contextlib.suppress(Ended):
                trainer.train(
                    n_batches=updates,
                    on_batch_end=after_update,
                    log_interval=_LOG_EVERY,
                    progress_bar=False,
                )
        return Solution(policy_from_actor_critic(trainer.policy))
