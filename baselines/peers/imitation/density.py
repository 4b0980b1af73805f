"""`imitation/density`: paid for the density of the demonstrations."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, ClassVar

from irlbench.algorithm import Run, Solution, option
from irlbench.baselines.peers.imitation.peer import (
    ImitationPeer,
    PPOConfig,
    Rounds,
    logged,
    policy_of,
    ppo_learner,
    require_positive,
    seeded,
    silent_logger,
    transitions_of,
)
from irlbench.errors import UnknownNameError
from irlbench.problem import Budget, Problem

#: What the density is of, and the package's name for it.
DENSITIES = {
    "state": "STATE_DENSITY",
    "state-action": "STATE_ACTION_DENSITY",
    "transition": "STATE_STATE_DENSITY",
}
KERNELS = ("gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine")
_LOGGED = {
    "train/value_loss": "value_loss",
    "train/entropy_loss": "entropy_loss",
}


@dataclass(frozen=True, kw_only=True)
class ImitationDensityConfig(PPOConfig):
    """Hyperparameters: of the density the package's defaults, of PPO its command line's."""

    density: str = option(
        "state-action", "What the density is of: state, state-action, transition."
    )
    kernel: str = option("gaussian", "Kernel of the estimate, one of scikit-learn's.")
    bandwidth: float = option(0.5, "Its width, in standard deviations of what it is of.")
    standardise: bool = option(True, "Scale what the density is of by the demonstrations' moments.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "bandwidth")
        if self.density not in DENSITIES:
            raise ValueError(str(UnknownNameError("density", self.density, DENSITIES)))
        if self.kernel not in KERNELS:
            raise ValueError(str(UnknownNameError("kernel", self.kernel, KERNELS)))


class ImitationDensity(ImitationPeer):
    """`imitation.algorithms.density.DensityAlgorithm`, one density for all time steps."""

    id: ClassVar[str] = "imitation/density"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "reward: the demonstrations' log density, of the package imitation"
    paper: ClassVar[str] = "Gleave et al. (2022)"
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations", "interaction"})
    requires: ClassVar[tuple[str, ...]] = (*ImitationPeer.requires, "sklearn")
    Config: ClassVar[type[Any]] = ImitationDensityConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`. A density is of none of our forms of reward: none is handed back."""
        from imitation.algorithms.density import DensityAlgorithm, DensityType

        from irlbench.adapters import GymnasiumVecEnv

        config: ImitationDensityConfig = self.config
        rounds = Rounds(config, 0, problem, budget, run)
        demonstrations = transitions_of(problem)
        env = GymnasiumVecEnv(problem.make_environment(config.num_envs))
        with contextlib.closing(env):
            seed = seeded(run, config.num_envs)
            learner = ppo_learner(env, config, problem.discount, seed, run.device)
            trainer = DensityAlgorithm(
                demonstrations=demonstrations,
                venv=env,
                rng=run.generator("density"),
                density_type=DensityType[DENSITIES[config.density]],
                kernel=config.kernel,
                kernel_bandwidth=config.bandwidth,
                rl_algo=learner,
                standardise_inputs=config.standardise,
                custom_logger=silent_logger(),
                allow_variable_horizon=True,
            )
            trainer.train()
            for done in range(1, rounds.count + 1):
                trainer.train_policy(config.rollout)
                told = logged(learner.logger.name_to_value, _LOGGED)
                if paid := trainer.venv_wrapped.episode_rewards:  # the latest hundred
                    told["paid_per_episode"] = sum(paid) / len(paid)
                if not rounds.after(done, policy_of(learner), told):
                    break
            return Solution(policy_of(learner))
