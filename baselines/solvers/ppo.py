"""Proximal policy optimisation (Schulman et al., 2017), by Stable-Baselines3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Run, Solver, option
from irlbench.errors import UsageError
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem
from irlbench.reward import RewardFunction

if TYPE_CHECKING:
    from stable_baselines3 import PPO as SB3PPO
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.running_mean_std import RunningMeanStd
    from stable_baselines3.common.vec_env import VecEnv

    from irlbench.policies.mlp import CategoricalMLPPolicy, GaussianMLPPolicy

#: How long all rows go between two points at which they begin anew together. Many, so that the
#: late part of episodes, which the last of them may miss, is not seen much less often.
HORIZONS_BETWEEN_RESTARTS = 10


@dataclass(frozen=True)
class PPOConfig:
    """Hyperparameters of PPO."""

    steps: int = option(100_000, "Environment steps, unless the budget grants fewer.")
    num_envs: int = option(8, "Rows of the batch of environments.")
    rollout: int = option(128, "Steps of each row between updates.")
    batch_size: int = option(128, "Transitions per gradient step.")
    epochs: int = option(10, "Passes over each rollout.")
    learning_rate: float = option(3e-4, "Step size of Adam at the start; decays to zero linearly.")
    gae_lambda: float = option(0.95, "Lambda of generalised advantage estimation.")
    clip: float = option(0.2, "How far the probability ratio may move from 1.")
    entropy: float = option(0.0, "Weight of the entropy bonus.")
    value_weight: float = option(0.5, "Weight of the value loss.")
    gradient_clip: float = option(0.5, "Largest norm of a gradient.")
    hidden: tuple[int, ...] = option((64, 64), "Widths of the hidden layers, actor and critic.")
    normalise: bool = option(True, "Scale observations and rewards by running statistics.")
    saves: int = option(5, "Policies handed in along the way, evenly spaced, for the curve.")

    def __post_init__(self) -> None:
        for name in ("steps", "num_envs", "rollout", "batch_size", "epochs", "saves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


class PPO(Solver):
    """Proximal policy optimisation. The discount is the problem's.

    A simulator's state cannot be saved in general. So every `HORIZONS_BETWEEN_RESTARTS` horizons
    all rows begin new episodes, and all random numbers a new stream, from seeds made of the run's
    seed and the step: a killed run goes on from there, and one that was never killed does the
    same. Values of the episodes cut off are bootstrapped, as at the end of any rollout.
    """

    id: ClassVar[str] = "ppo"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "proximal policy optimisation (Stable-Baselines3)"
    worlds: ClassVar[tuple[str, ...]] = ("control",)
    actions: ClassVar[tuple[str, ...]] = ("discrete", "continuous")
    needs: ClassVar[frozenset[str]] = frozenset({"interaction"})
    Config: ClassVar[type[Any]] = PPOConfig
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def solve(
        self, problem: Problem, reward: RewardFunction | None, budget: Budget, run: Run
    ) -> Policy:
        """See `Solver.solve`. Ends at the budget: the last rollout is as long as steps are left."""
        config: PPOConfig = self.config
        kept = run.restored
        steps = _granted(config, problem, budget, kept)
        env = _environment(problem, reward, config)
        try:
            model = _model(env, problem, config, run)
            if kept is not None:
                _restore(model, kept)
                _begin_anew(model, run)
            saves = {round(steps * i / config.saves) for i in range(1, config.saves + 1)}
            period = HORIZONS_BETWEEN_RESTARTS * problem.horizon * config.num_envs
            while steps - model.num_timesteps >= config.num_envs and not run.exhausted:
                before = model.num_timesteps
                if not _update(model, config, steps, run):
                    break
                now = model.num_timesteps
                run.log(now, **_scalars(model))
                if any(before < point <= now for point in saves):
                    run.save(now, policy_from_sb3(model))
                if before // period < now // period:
                    if run.checkpoint_due:
                        run.checkpoint(_state(model, steps))
                    _begin_anew(model, run)
            return policy_from_sb3(model)
        finally:
            env.close()


def _granted(
    config: PPOConfig, problem: Problem, budget: Budget, kept: Mapping[str, NDArray[Any]] | None
) -> int:
    """Environment steps in all; a run that goes on holds to what it was granted at first."""
    if kept is not None:
        from irlbench.baselines.learners.state import take

        return int(take(kept, "steps", np.array([0, 0]))[0])
    limits = [config.steps, budget.steps, problem.meter.left]
    steps = min(limit for limit in limits if limit is not None)
    if steps < config.num_envs:
        raise UsageError(
            f"ppo steps {config.num_envs} environments at once, and {steps} steps are granted: "
            "raise the budget or lower num_envs"
        )
    return steps


def _environment(problem: Problem, reward: RewardFunction | None, config: PPOConfig) -> VecEnv:
    from stable_baselines3.common.vec_env import VecNormalize

    from irlbench.adapters import GymnasiumVecEnv

    env = GymnasiumVecEnv(problem.make_environment(config.num_envs), reward)
    if not config.normalise:
        return env
    # Our policies do not clip their observations, so neither does the scaling.
    return VecNormalize(env, gamma=problem.discount, clip_obs=math.inf)


def _model(env: VecEnv, problem: Problem, config: PPOConfig, run: Run) -> SB3PPO:
    import stable_baselines3
    from stable_baselines3.common.logger import Logger
    from torch import nn

    model: SB3PPO = stable_baselines3.PPO(
        "MlpPolicy",
        env,
        learning_rate=config.learning_rate,
        n_steps=config.rollout,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gamma=problem.discount,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip,
        ent_coef=config.entropy,
        vf_coef=config.value_weight,
        max_grad_norm=config.gradient_clip,
        policy_kwargs={
            "net_arch": {"pi": list(config.hidden), "vf": list(config.hidden)},
            "activation_fn": nn.Tanh,
        },
        seed=int(run.generator("ppo").integers(2**30 - config.num_envs)),
        device=run.device,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _state(model: SB3PPO, granted: int) -> dict[str, NDArray[Any]]:
    """All that outlives `_begin_anew`."""
    from irlbench.baselines.learners.state import optimiser_state, under

    statistics = {name: _moments(moments) for name, moments in _scaling(model).items()}
    return {
        "steps": np.array([granted, model.num_timesteps]),
        **under("policy", optimiser_state(model.policy.optimizer)),
        **under("scaling", statistics),
    }


def _restore(model: SB3PPO, kept: Mapping[str, NDArray[Any]]) -> None:
    """Puts back what `_state` gave."""
    from irlbench.baselines.learners.state import part, restore_optimiser, take

    model.num_timesteps = int(take(kept, "steps", np.array([0, 0]))[1])
    restore_optimiser(model.policy.optimizer, part("policy", kept))
    for name, moments in _scaling(model).items():
        found = take(kept, f"scaling.{name}", _moments(moments))
        shape = np.shape(moments.mean)
        mean, var = np.split(found[:-1], 2)
        moments.mean, moments.var = mean.reshape(shape), var.reshape(shape)
        moments.count = float(found[-1])


def _scaling(model: SB3PPO) -> dict[str, RunningMeanStd]:
    """The running statistics of observations and of rewards, where they are scaled."""
    env: Any = model.get_vec_normalize_env()
    return {} if env is None else {"observations": env.obs_rms, "rewards": env.ret_rms}


def _moments(moments: RunningMeanStd) -> NDArray[np.float64]:
    """Mean, variance and count in one row."""
    return np.concatenate([np.ravel(moments.mean), np.ravel(moments.var), [moments.count]])


def _begin_anew(model: SB3PPO, run: Run) -> None:
    """Ends all episodes and random streams, so that `_state` is all there is."""
    draws = run.generator(f"ppo from step {model.num_timesteps}")
    # Seeds Python, NumPy, torch, and the environments' next reset.
    model.set_random_seed(int(draws.integers(2**30 - model.n_envs)))
    model._last_obs = None  # the next rollout begins with a reset


def _update(model: SB3PPO, config: PPOConfig, steps: int, run: Run) -> bool:
    """One rollout and its updates; False where the budget of gradient steps has no room."""
    from stable_baselines3.common.buffers import RolloutBuffer

    length = min(config.rollout, (steps - model.num_timesteps) // config.num_envs)
    gradient_steps = config.epochs * math.ceil(length * config.num_envs / config.batch_size)
    limit = run.budget.gradient_steps
    if limit is not None and run.gradient_steps + gradient_steps > limit:
        return False
    if length != model.n_steps:
        model.n_steps = length
        model.rollout_buffer = RolloutBuffer(
            length,
            model.observation_space,
            model.action_space,
            device=model.device,
            gae_lambda=model.gae_lambda,
            gamma=model.gamma,
            n_envs=config.num_envs,
        )
    run.spend(gradient_steps=gradient_steps)
    # `learn` is called once per rollout, so the decay comes from all steps, not from its own idea
    # of progress.
    rate = config.learning_rate * (1 - model.num_timesteps / steps)
    model.lr_schedule = lambda _: rate
    first = model.num_timesteps == 0
    # One iteration each: with an interval of 2 the logger is never emptied.
    model.learn(length * config.num_envs, reset_num_timesteps=first, log_interval=2)
    return True


def _scalars(model: SB3PPO) -> dict[str, float]:
    values = model.logger.name_to_value
    names = {"train/value_loss": "value_loss", "train/entropy_loss": "entropy_loss"}
    return {short: float(values[name]) for name, short in names.items() if name in values}


def policy_from_sb3(model: SB3PPO) -> Policy:
    """The actor of a Stable-Baselines3 model as a policy of ours: categorical or Gaussian.

    In deterministic mode it chooses the actions that `model.predict` chooses, on raw observations
    (where the model's environment scales them, the scaling becomes part of the policy).

    Args:
        model: With tanh layers and vector observations.
    """
    from stable_baselines3.common.vec_env import VecNormalize

    scaling = model.get_vec_normalize_env()
    if not isinstance(scaling, VecNormalize):
        return policy_from_actor_critic(model.policy)
    statistics: Any = scaling.obs_rms
    return policy_from_actor_critic(
        model.policy,
        observation_mean=statistics.mean.astype(np.float32),
        observation_std=np.sqrt(statistics.var + scaling.epsilon).astype(np.float32),
    )


def policy_from_actor_critic(
    policy: ActorCriticPolicy, **scaling: NDArray[np.float32]
) -> CategoricalMLPPolicy | GaussianMLPPolicy:
    """The actor of Stable-Baselines3's `ActorCriticPolicy` as a policy of ours.

    Args:
        policy: With tanh layers and vector observations.
        scaling: `observation_mean` and `observation_std`, where observations are scaled first.
    """
    from torch import nn

    from irlbench.policies.mlp import CategoricalMLPPolicy, GaussianMLPPolicy

    actor: Any = policy
    layers = [m for m in actor.mlp_extractor.policy_net if isinstance(m, nn.Linear)]
    named = {f"hidden.{i}": layer for i, layer in enumerate(layers)}
    discrete = hasattr(policy.action_space, "n")
    named["logits" if discrete else "mean"] = actor.action_net
    arrays: dict[str, NDArray[Any]] = dict(scaling)
    for name, layer in named.items():
        arrays[f"{name}.weight"] = layer.weight.detach().cpu().numpy().copy()
        arrays[f"{name}.bias"] = layer.bias.detach().cpu().numpy().copy()
    if discrete:
        return CategoricalMLPPolicy(arrays, "tanh")
    arrays["log_std"] = actor.log_std.detach().cpu().numpy().copy()
    bounds: Any = policy.action_space
    arrays["action_low"], arrays["action_high"] = bounds.low, bounds.high
    return GaussianMLPPolicy(arrays, "tanh")
