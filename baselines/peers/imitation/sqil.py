"""`imitation/sqil`: off-policy learning from rewards of 1 and 0."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Run, Solution, option
from irlbench.baselines.peers.imitation.peer import (
    ImitationPeer,
    granted_steps,
    require_positive,
    seeded,
    silent_logger,
    transitions_of,
)
from irlbench.errors import UsageError
from irlbench.policies.mlp import CategoricalMLPPolicy, SquashedGaussianMLPPolicy
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    from imitation.algorithms.sqil import SQILReplayBuffer
    from stable_baselines3.common.type_aliases import ReplayBufferSamples

_LOGS = 50
_LOGGED = {
    "train/loss": "loss",
    "train/critic_loss": "critic_loss",
    "train/actor_loss": "actor_loss",
    "train/ent_coef": "temperature",
}
#: Stable-Baselines3's defaults of its DQN and SAC where they differ.
DQN = {"learning_rate": 1e-4, "batch_size": 32, "train_every": 4, "hidden": (64, 64)}
SAC = {"learning_rate": 3e-4, "batch_size": 256, "train_every": 1, "hidden": (256, 256)}


@dataclass(frozen=True, kw_only=True)
class ImitationSQILConfig:
    """Hyperparameters: Stable-Baselines3's defaults, which the package takes; steps are its own."""

    steps: int = option(300_000, "Environment steps, unless the budget grants fewer.")
    learning_rate: float | None = option(
        None, "Step size of Adam; none: 1e-4 with DQN, 3e-4 with SAC."
    )
    batch_size: int | None = option(
        None, "Transitions per update, half of them the expert's; none: 32 with DQN, 256 with SAC."
    )
    train_every: int | None = option(
        None, "Environment steps per update; none: 4 with DQN, 1 with SAC."
    )
    hidden: tuple[int, ...] | None = option(
        None, "Widths of the hidden layers; none: 64 and 64 with DQN, 256 and 256 with SAC."
    )
    learning_starts: int = option(100, "Steps before the first update.")
    buffer: int = option(1_000_000, "Transitions of the policy that are kept.")
    target_update_interval: int = option(10_000, "DQN: steps between copies to its target network.")
    exploration_fraction: float = option(
        0.1, "DQN: share of the steps in which random actions become rarer."
    )
    exploration_final: float = option(0.05, "DQN: share of random actions from then on.")
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        require_positive(self, "steps", "buffer", "target_update_interval", "saves")
        for name, kind in (("learning_rate", float), ("batch_size", int), ("train_every", int)):
            value = getattr(self, name)
            if value is not None and not (type(value) is kind and value > 0):
                raise ValueError(
                    f"{name} must be a positive {kind.__name__} or none, got {value!r}"
                )
        if self.batch_size == 1:
            raise ValueError("batch_size must be at least 2: one transition from each side, got 1")
        widths = self.hidden
        if widths is not None and not (
            isinstance(widths, tuple | list) and all(type(w) is int and w > 0 for w in widths)
        ):
            raise ValueError(f"hidden layers have widths from 1 on, got {widths!r}")
        for name in ("exploration_fraction", "exploration_final"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")

    def chosen(self, name: str, discrete: bool) -> Any:
        """A field, or the learner's own default of it.

        Args:
            name: One of those that may be none.
            discrete: Whether the learner is DQN, else SAC.
        """
        value = getattr(self, name)
        return (DQN if discrete else SAC)[name] if value is None else value


class ImitationSQIL(ImitationPeer):
    """`imitation.algorithms.sqil.SQIL` on DQN for discrete actions, on SAC for continuous ones."""

    id: ClassVar[str] = "imitation/sqil"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "SQIL of the package imitation, on DQN or SAC"
    paper: ClassVar[str] = "Reddy, Dragan and Levine (2020); Gleave et al. (2022)"
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations", "interaction"})
    Config: ClassVar[type[Any]] = ImitationSQILConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`."""
        from imitation.algorithms.sqil import SQIL
        from stable_baselines3.common.logger import Logger

        from irlbench.adapters import GymnasiumVecEnv
        from irlbench.baselines.peers.imitation.watching import OffPolicyWatch

        config: ImitationSQILConfig = self.config
        discrete = hasattr(problem.action_space, "n")
        every = config.chosen("train_every", discrete)
        # Whole rollouts: the last one would step past the budget.
        steps = granted_steps(config.steps, problem, budget) // every * every
        if not steps:
            raise UsageError(f"there is an update every {every} steps, and fewer are granted")
        demonstrations = transitions_of(problem)
        if not discrete:
            demonstrations = dataclasses.replace(
                demonstrations, acts=_on_the_learners_scale(demonstrations.acts, problem)
            )
        env = GymnasiumVecEnv(problem.make_environment(1))
        with contextlib.closing(env):
            trainer = SQIL(
                venv=env,
                demonstrations=demonstrations,
                policy="MlpPolicy",
                custom_logger=silent_logger(),
                rl_algo_class=_learner(discrete),
                rl_kwargs=self._settings(discrete, steps, problem, run),
            )
            learner: Any = trainer.rl_algo
            learner.set_logger(Logger(None, []))
            learner.replay_buffer.sample = _tolerant(learner.replay_buffer)

            def policy() -> Policy:
                return greedy_policy(learner) if discrete else squashed_policy(learner)

            watch = OffPolicyWatch(
                run,
                1,
                saves=[round(steps * i / config.saves) for i in range(1, config.saves + 1)],
                logs=[round(steps * i / _LOGS) for i in range(1, _LOGS + 1)],
                names=_LOGGED,
                convert=policy,
            )
            trainer.train(total_timesteps=steps, callback=watch)
            return Solution(policy())

    def _settings(self, discrete: bool, steps: int, problem: Problem, run: Run) -> dict[str, Any]:
        """What the learner is made with."""
        config: ImitationSQILConfig = self.config
        common = {
            "learning_rate": config.chosen("learning_rate", discrete),
            "batch_size": config.chosen("batch_size", discrete),
            "train_freq": config.chosen("train_every", discrete),
            "policy_kwargs": {"net_arch": list(config.chosen("hidden", discrete))},
            "learning_starts": config.learning_starts,
            "buffer_size": min(config.buffer, steps),
            "gamma": problem.discount,
            "seed": seeded(run),
            "device": run.device,
        }
        if not discrete:
            return common
        return {
            **common,
            "target_update_interval": config.target_update_interval,
            "exploration_fraction": config.exploration_fraction,
            "exploration_final_eps": config.exploration_final,
        }


def _learner(discrete: bool) -> type[Any]:
    import stable_baselines3

    return stable_baselines3.DQN if discrete else stable_baselines3.SAC


def _on_the_learners_scale(actions: NDArray[Any], problem: Problem) -> NDArray[np.float32]:
    """From the bounds to [-1, 1]: SAC's buffer holds such, and the package mixes in the expert's."""
    bounds: Any = problem.action_space
    scaled = 2 * (actions - bounds.low) / (bounds.high - bounds.low) - 1
    return np.asarray(scaled, dtype=np.float32)


def _tolerant(buffer: SQILReplayBuffer) -> Callable[..., ReplayBufferSamples]:
    """`SQILReplayBuffer.sample`, where samples have fields that are none.

    Stable-Baselines3 has given them `discounts` since the release, none unless returns are of
    several steps; the package joins every field.
    """
    import torch
    from imitation.util.util import split_in_half
    from stable_baselines3.common.buffers import ReplayBuffer
    from stable_baselines3.common.type_aliases import ReplayBufferSamples

    def sample(batch_size: int, env: Any = None) -> ReplayBufferSamples:
        own, experts = split_in_half(batch_size)
        both: Any = zip(
            ReplayBuffer.sample(buffer, own, env),
            buffer.expert_buffer.sample(experts, env),
            strict=True,
        )
        joined: list[Any] = [None if a is None else torch.cat((a, b)) for a, b in both]
        return ReplayBufferSamples(*joined)

    return sample


def greedy_policy(learner: Any) -> CategoricalMLPPolicy:
    """A Stable-Baselines3 DQN as a policy whose logits are Q.

    In deterministic mode it chooses the actions that `predict` chooses; else softmax(Q).
    """
    return CategoricalMLPPolicy(_weights({"logits": learner.policy.q_net.q_net}), "relu")


def squashed_policy(learner: Any) -> SquashedGaussianMLPPolicy:
    """The actor of a Stable-Baselines3 SAC."""
    actor, bounds = learner.policy.actor, learner.action_space
    arrays = _weights({"mean": [*actor.latent_pi, actor.mu]})
    arrays |= _weights({"log_std": [actor.log_std]})
    arrays |= {"action_low": bounds.low, "action_high": bounds.high}
    return SquashedGaussianMLPPolicy(arrays, "relu")


def _weights(heads: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Copies of the weights of layers, the last of each chain under its head's name."""
    from torch import nn

    arrays: dict[str, NDArray[Any]] = {}
    for head, modules in heads.items():
        layers = [module for module in modules if isinstance(module, nn.Linear)]
        names = [f"hidden.{i}" for i in range(len(layers) - 1)] + [head]
        for name, layer in zip(names, layers, strict=True):
            arrays[f"{name}.weight"] = layer.weight.detach().cpu().numpy().copy()
            arrays[f"{name}.bias"] = layer.bias.detach().cpu().numpy().copy()
    return arrays
