"""`imitation/gail` and `imitation/airl`: adversarial imitation on PPO."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from irlbench.algorithm import Run, Solution, option
from irlbench.baselines.peers.imitation.peer import (
    Ended,
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
from irlbench.problem import Budget, Problem

if TYPE_CHECKING:
    from imitation.algorithms.adversarial.common import AdversarialTrainer
    from imitation.rewards.reward_nets import RewardNet
    from stable_baselines3.common.vec_env import VecEnv

    from irlbench.reward import RewardFunction

_LOGGED = {
    "mean/disc/disc_loss": "discriminator_loss",
    "mean/disc/disc_acc_expert": "discriminator_accuracy_expert",
    "mean/disc/disc_acc_gen": "discriminator_accuracy_policy",
    "mean/gen/train/value_loss": "value_loss",
    "mean/gen/train/entropy_loss": "entropy_loss",
}


@dataclass(frozen=True, kw_only=True)
class ImitationAdversarialConfig(PPOConfig):
    """Hyperparameters: those of the package's command line, which are not its constructors'."""

    demo_batch_size: int = option(
        1024, "Expert transitions per update of the discriminator, or all there are if fewer."
    )
    discriminator_updates: int = option(4, "Updates of the discriminator per round.")
    discriminator_learning_rate: float = option(1e-3, "Step size of its Adam.")
    newest: int | None = option(
        None, "It draws from the latest so many of the policy's transitions; none: a rollout."
    )
    normalise_inputs: bool = option(True, "Scale the discriminator's inputs, by running moments.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            self, "demo_batch_size", "discriminator_updates", "discriminator_learning_rate"
        )
        if self.newest is not None and not (type(self.newest) is int and self.newest > 0):
            raise ValueError(f"newest must be a positive int or none, got {self.newest!r}")


class ImitationAdversarial(ImitationPeer):
    """What both share: PPO's rounds, and the discriminator's updates after each."""

    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations", "interaction"})
    requires: ClassVar[tuple[str, ...]] = (*ImitationPeer.requires, "tensorboard")

    @abstractmethod
    def _network(self, env: VecEnv, normalise: type[Any] | None, discount: float) -> RewardNet:
        """A new reward network."""

    @abstractmethod
    def _trainer(self, **given: Any) -> AdversarialTrainer:
        """The package's."""

    @abstractmethod
    def _recovered(self, network: Any, discount: float) -> RewardFunction:
        """The reward that a network holds."""

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`. Episodes may end early: the package's check of that is off."""
        import tqdm
        from imitation.util.networks import RunningNorm

        from irlbench.adapters import GymnasiumVecEnv

        config: ImitationAdversarialConfig = self.config
        rounds = Rounds(config, config.discriminator_updates, problem, budget, run)
        demonstrations = transitions_of(problem)
        env = GymnasiumVecEnv(problem.make_environment(config.num_envs))
        with contextlib.closing(env), tempfile.TemporaryDirectory() as folder:
            seed = seeded(run, config.num_envs)
            learner = ppo_learner(env, config, problem.discount, seed, run.device)
            normalise = RunningNorm if config.normalise_inputs else None
            network = self._network(env, normalise, problem.discount)
            trainer = self._trainer(
                demonstrations=demonstrations,
                demo_batch_size=min(config.demo_batch_size, len(demonstrations)),
                venv=env,
                gen_algo=learner,
                reward_net=network,
                gen_replay_buffer_capacity=config.newest,
                n_disc_updates_per_round=config.discriminator_updates,
                disc_opt_kwargs={"lr": config.discriminator_learning_rate},
                custom_logger=silent_logger(folder),
                allow_variable_horizon=True,
            )

            def after_round(index: int) -> None:
                told = logged(trainer.logger.default_logger.name_to_value, _LOGGED)
                if not rounds.after(index + 1, policy_of(learner), told):
                    raise Ended

            if rounds.count:
                # Its progress bar's own lock is a semaphore that outlives a trial's process.
                tqdm.tqdm.set_lock(threading.RLock())
                with contextlib.suppress(Ended):
                    trainer.train(rounds.count * config.rollout, after_round)
            return Solution(policy_of(learner), self._recovered(network, problem.discount))


@dataclass(frozen=True, kw_only=True)
class ImitationGAILConfig(ImitationAdversarialConfig):
    """Hyperparameters: those of the package's command line."""

    reward_hidden: tuple[int, ...] = option((32, 32), "Widths of the discriminator's layers.")


class ImitationGAIL(ImitationAdversarial):
    """`imitation.algorithms.adversarial.gail.GAIL`; the policy is paid -log(1-D)."""

    id: ClassVar[str] = "imitation/gail"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "GAIL of the package imitation, on PPO"
    paper: ClassVar[str] = "Ho and Ermon (2016); Gleave et al. (2022)"
    Config: ClassVar[type[Any]] = ImitationGAILConfig

    def _network(self, env: VecEnv, normalise: type[Any] | None, discount: float) -> RewardNet:
        from imitation.rewards.reward_nets import BasicRewardNet

        return BasicRewardNet(
            env.observation_space,
            env.action_space,
            hid_sizes=self.config.reward_hidden,
            normalize_input_layer=normalise,
        )

    def _trainer(self, **given: Any) -> AdversarialTrainer:
        from imitation.algorithms.adversarial.gail import GAIL

        return GAIL(**given)

    def _recovered(self, network: Any, discount: float) -> RewardFunction:
        """The logit, log D - log(1-D), as ours."""
        from irlbench.baselines.peers.imitation.rewards import reward_of_pairs

        return reward_of_pairs(network, discount)


@dataclass(frozen=True, kw_only=True)
class ImitationAIRLConfig(ImitationAdversarialConfig):
    """Hyperparameters: those of the package's command line."""

    reward_hidden: tuple[int, ...] = option((32,), "Widths of the layers of g(s, a).")
    potential_hidden: tuple[int, ...] = option((32, 32), "Widths of the layers of h(s).")
    normalise_reward: bool = option(True, "Scale what the policy is paid, by running moments.")


class ImitationAIRL(ImitationAdversarial):
    """`imitation.algorithms.adversarial.airl.AIRL`; the policy is paid f."""

    id: ClassVar[str] = "imitation/airl"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "AIRL of the package imitation, on PPO"
    paper: ClassVar[str] = "Fu, Luo and Levine (2018); Gleave et al. (2022)"
    Config: ClassVar[type[Any]] = ImitationAIRLConfig

    def _network(self, env: VecEnv, normalise: type[Any] | None, discount: float) -> RewardNet:
        from imitation.rewards.reward_nets import BasicShapedRewardNet

        return BasicShapedRewardNet(
            env.observation_space,
            env.action_space,
            reward_hid_sizes=self.config.reward_hidden,
            potential_hid_sizes=self.config.potential_hidden,
            discount_factor=discount,
            normalize_input_layer=normalise,
        )

    def _trainer(self, **given: Any) -> AdversarialTrainer:
        from imitation.algorithms.adversarial.airl import AIRL
        from imitation.rewards.reward_nets import NormalizedRewardNet
        from imitation.util.networks import RunningNorm

        if self.config.normalise_reward:
            given["reward_net"] = NormalizedRewardNet(given["reward_net"], RunningNorm)
        return AIRL(**given)

    def _recovered(self, network: Any, discount: float) -> RewardFunction:
        """f, whose `unshaped` is g."""
        from irlbench.baselines.peers.imitation.rewards import reward_of_pairs, reward_of_states
        from irlbench.rewards.composed import ShapedReward

        g = reward_of_pairs(network.base, discount, 1.0)
        h = reward_of_states(network.potential, discount, 1.0)
        return ShapedReward(g, h, discount, 1.0)
