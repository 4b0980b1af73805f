"""What the adapters share: the data, the generators, the learner and its rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Algorithm, Run, option
from irlbench.errors import UsageError
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imitation.data.types import Transitions
    from imitation.util.logger import HierarchicalLogger
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import KVWriter
    from stable_baselines3.common.vec_env import VecEnv

INSTALLATION = "`irlbench doctor` prints the commands that install imitation"


class ImitationPeer(Algorithm):
    """An algorithm of the package. A fit that was killed begins anew."""

    worlds: ClassVar[tuple[str, ...]] = ("control",)
    actions: ClassVar[tuple[str, ...]] = ("discrete", "continuous")
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations+interaction",)
    requires: ClassVar[tuple[str, ...]] = ("imitation", "tqdm")
    installation: ClassVar[str] = INSTALLATION


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Hyperparameters of the policy's learner: the package's command line's, on PPO."""

    steps: int = option(1_000_000, "Environment steps, unless the budget grants fewer.")
    num_envs: int = option(8, "Rows of the batch of environments.")
    rollout: int = option(2048, "Environment steps per round, over all rows.")
    batch_size: int = option(64, "Transitions per gradient step of PPO.")
    epochs: int = option(10, "Passes of PPO over each rollout.")
    learning_rate: float = option(3e-4, "Step size of PPO's Adam.")
    gae_lambda: float = option(0.95, "Lambda of generalised advantage estimation.")
    clip: float = option(0.2, "How far the probability ratio may move from 1.")
    entropy: float = option(0.0, "Weight of the entropy bonus.")
    value_weight: float = option(0.5, "Weight of the value loss.")
    gradient_clip: float = option(0.5, "Largest norm of a gradient.")
    hidden: tuple[int, ...] = option((32, 32), "Widths of the hidden layers, actor and critic.")
    normalise_observations: bool = option(
        False, "Scale what actor and critic see, by running moments."
    )
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        require_positive(
            self, "steps", "num_envs", "rollout", "batch_size", "epochs", "learning_rate", "saves"
        )
        if self.rollout % self.num_envs:
            raise ValueError(
                f"rollout {self.rollout} must be a multiple of num_envs {self.num_envs}"
            )
        if not all(width > 0 for width in self.hidden):
            raise ValueError(f"hidden layers have widths from 1 on, got {self.hidden}")


def require_positive(config: Any, *names: str) -> None:
    """Refuses fields that are not above zero.

    Raises:
        ValueError: With the field and its value.
    """
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")


def seeded(run: Run, num_envs: int = 1) -> int:
    """Seeds Python's, NumPy's and torch's global generators: the package draws from all three.

    Args:
        run: Its seed decides.
        num_envs: Rows of the batch, whose seeds begin with the one returned.
    """
    from stable_baselines3.common.utils import set_random_seed

    seed = int(run.generator("imitation").integers(2**30 - num_envs))
    set_random_seed(seed)
    return seed


def transitions_of(problem: Problem) -> Transitions:
    """The demonstrations in the package's words: an episode that was cut is done, too.

    Raises:
        DataError: If they hold no actions.
    """
    from imitation.data.types import Transitions

    steps = problem.demonstrations.transitions()
    dones = np.concatenate([e.terminations | e.truncations for e in problem.demonstrations])
    return Transitions(
        obs=steps.observations,
        acts=steps.actions,
        infos=np.array([{}] * len(steps)),
        next_obs=steps.next_observations,
        dones=dones,
    )


class Ended(Exception):
    """The time is up: raised where the package calls back, which is its only way out."""


def silent_logger(
    folder: str | None = None, writers: Sequence[KVWriter] = ()
) -> HierarchicalLogger:
    """Collects what the package logs, and writes no file.

    Args:
        folder: Where it makes empty folders for its means, where it takes means.
        writers: Given what is logged.
    """
    from imitation.util.logger import HierarchicalLogger
    from stable_baselines3.common.logger import Logger

    return HierarchicalLogger(Logger(folder, list(writers)), [])


def ppo_learner(env: VecEnv, config: PPOConfig, discount: float, seed: int, device: str) -> PPO:
    """The learner of the package's command line."""
    import stable_baselines3
    from stable_baselines3.common.logger import Logger

    policy: dict[str, Any] = {"net_arch": list(config.hidden)}
    if config.normalise_observations:
        from imitation.policies.base import NormalizeFeaturesExtractor

        policy["features_extractor_class"] = NormalizeFeaturesExtractor
    model: PPO = stable_baselines3.PPO(
        "MlpPolicy",  # with these widths it is the package's FeedForward32Policy
        env,
        learning_rate=config.learning_rate,
        n_steps=config.rollout // config.num_envs,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gamma=discount,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip,
        ent_coef=config.entropy,
        vf_coef=config.value_weight,
        max_grad_norm=config.gradient_clip,
        policy_kwargs=policy,
        seed=seed,
        device=device,
    )
    model.set_logger(Logger(None, []))
    return model


def policy_of(model: PPO) -> Policy:
    """What a learner has learnt, the scaling of its observations included."""
    from irlbench.baselines.solvers.ppo import policy_from_actor_critic

    norm: Any = getattr(model.policy.features_extractor, "normalize", None)
    if norm is None:
        return policy_from_actor_critic(model.policy)
    mean, std = moments(norm)
    return policy_from_actor_critic(model.policy, observation_mean=mean, observation_std=std)


def moments(norm: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation by which a `BaseNorm` of the package scales, as copies."""
    mean, variance = (x.detach().cpu().numpy() for x in (norm.running_mean, norm.running_var))
    return mean.astype(np.float32), np.sqrt(variance + norm.eps).astype(np.float32)


def granted_steps(steps: int, problem: Problem, budget: Budget) -> int:
    """Environment steps: as many as asked for, or as the budget grants if those are fewer."""
    limits = [steps, budget.steps, problem.meter.left]
    return min(limit for limit in limits if limit is not None)


class Rounds:
    """How many rounds the budget holds, and what happens after each: billing and the curve.

    A round is one rollout and the updates on it. None is begun that the budget does not hold.

    Args:
        config: Lengths, and how many policies go to the curve.
        updates: Gradient steps per round beside PPO's.
        problem: Counts the steps.
        budget: What may be spent.
        run: Takes the curve.

    Attributes:
        count: Rounds; 0 where the gradient steps do not suffice for one.

    Raises:
        UsageError: If the steps do not suffice for one.
    """

    def __init__(
        self, config: PPOConfig, updates: int, problem: Problem, budget: Budget, run: Run
    ) -> None:
        steps = granted_steps(config.steps, problem, budget)
        self._updates = updates + config.epochs * math.ceil(config.rollout / config.batch_size)
        self._length, self._run = config.rollout, run
        self.count = steps // config.rollout
        if self.count < 1:
            raise UsageError(
                f"a round takes {config.rollout} environment steps, and {steps} are granted: "
                "raise the budget or lower rollout"
            )
        if budget.gradient_steps is not None:
            self.count = min(self.count, budget.gradient_steps // self._updates)
        rounds = [math.ceil(self.count * i / config.saves) for i in range(1, config.saves + 1)]
        self._points = frozenset(rounds)

    def after(self, done: int, policy: Policy, scalars: Mapping[str, float]) -> bool:
        """Bills a round, logs, and hands in a policy where it is time.

        Args:
            done: Rounds done so far.
            policy: As it is now.
            scalars: What to log.

        Returns:
            Whether there is time for another.
        """
        self._run.spend(gradient_steps=self._updates)
        self._run.log(done * self._length, **scalars)
        if done in self._points:
            self._run.save(done * self._length, policy)
        return not self._run.exhausted


def logged(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """Picks scalars from what a logger has collected.

    Args:
        values: What was collected, by the package's names.
        names: Those names to ours.
    """
    return {ours: float(values[theirs]) for theirs, ours in names.items() if theirs in values}
