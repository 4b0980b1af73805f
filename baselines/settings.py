"""Hyperparameters that several algorithms share. Light: listing reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from irlbench.algorithm import option

REPRESENTATIONS = ("table", "network")
PRECISIONS = ("float32", "bfloat16")


def require_positive(config: Any, *names: str) -> None:
    """Refuses numbers that are not above 0.

    Raises:
        ValueError: Naming the first.
    """
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Hyperparameters of networks."""

    hidden: tuple[int, ...] = option((64, 64), "Widths of the hidden layers of networks.")
    network_learning_rate: float = option(1e-3, "Step size of Adam for networks.")

    def __post_init__(self) -> None:
        require_positive(self, "network_learning_rate")
        if not all(width > 0 for width in self.hidden):
            raise ValueError(f"hidden layers have widths from 1 on, got {self.hidden}")


@dataclass(frozen=True, kw_only=True)
class FunctionConfig(NetworkConfig):
    """Hyperparameters of how functions of the observation are represented and trained."""

    representation: str = option(
        "table", "Of states that are indices: a table, or a network over the task's features."
    )
    learning_rate: float = option(0.05, "Step size of Adam for tables.")

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        if self.representation not in REPRESENTATIONS:
            raise ValueError(
                f"representation is one of {', '.join(REPRESENTATIONS)}, got {self.representation!r}"
            )
        require_positive(self, "learning_rate")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Hyperparameters of learning from samples; with known dynamics none is used."""

    batch_size: int = option(256, "Transitions per update, of the expert and of the policy each.")
    num_envs: int = option(40, "Environments that are stepped at once, one step per update.")
    buffer: int = option(100_000, "Transitions that are kept.")

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_envs", "buffer"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ImitationConfig(SamplingConfig):
    """Hyperparameters of learning from demonstrations beside samples."""

    random_steps: int = option(0, "Environment steps with random actions before the first update.")
    updates_per_step: int = option(1, "Updates of the policy for each step of the environments.")
    subsample: int = option(1, "Keep every k-th step of each demonstration; not with dynamics.")

    def __post_init__(self) -> None:
        SamplingConfig.__post_init__(self)
        require_positive(self, "subsample", "updates_per_step")
        if self.random_steps < 0:
            raise ValueError(f"random_steps must not be negative, got {self.random_steps}")


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig:
    """Hyperparameters of soft actor-critic, which learns where actions are continuous."""

    actor_critic_hidden: tuple[int, ...] = option(
        (256, 256), "Continuous actions: widths of the hidden layers of actor and critics."
    )
    actor_learning_rate: float = option(3e-4, "Step size of the actor's Adam.")
    critic_learning_rate: float = option(3e-4, "Step size of the critics' Adam.")
    critics: int = option(2, "Q-functions beside an actor; the least of them counts.")
    critic_target_rate: float = option(
        0.005, "Share of the way that the critics' slow copies go per update."
    )
    precision: str = option(
        "float32", "Of hidden layers of actor and critics: float32, or bfloat16 where it is faster."
    )

    def __post_init__(self) -> None:
        require_positive(self, "actor_learning_rate", "critic_learning_rate", "critics")
        if not self.actor_critic_hidden or not all(w > 0 for w in self.actor_critic_hidden):
            raise ValueError(
                f"actor and critics have hidden layers of widths from 1 on, got "
                f"{self.actor_critic_hidden}"
            )
        if not 0 < self.critic_target_rate <= 1:
            raise ValueError(
                f"critic_target_rate must lie in (0, 1], got {self.critic_target_rate}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {self.precision!r}")


@dataclass(frozen=True, kw_only=True)
class TemperatureConfig:
    """Hyperparameters of the temperature where actions are continuous."""

    learn_temperature: bool = option(
        True, "Continuous actions: tau follows the entropy wanted; else it stays as it is."
    )
    temperature_learning_rate: float = option(3e-4, "Step size of the temperature's Adam.")
    entropy_per_action: float = option(
        -1.0, "Entropy wanted, per action dimension, of actions scaled to [-1, 1]."
    )

    def __post_init__(self) -> None:
        require_positive(self, "temperature_learning_rate")
