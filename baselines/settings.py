"""Hyperparameters that several algorithms share. Light: listing reads them."""

from __future__ import annotations

from dataclasses import dataclass

from irlbench.algorithm import option

REPRESENTATIONS = ("table", "network")


@dataclass(frozen=True, kw_only=True)
class FunctionConfig:
    """Hyperparameters of how functions of the observation are represented and trained."""

    representation: str = option(
        "table", "Of states that are indices: a table, or a network over the task's features."
    )
    hidden: tuple[int, ...] = option((64, 64), "Widths of the hidden layers of networks.")
    learning_rate: float = option(0.05, "Step size of Adam for tables.")
    network_learning_rate: float = option(1e-3, "Step size of Adam for networks.")

    def __post_init__(self) -> None:
        if self.representation not in REPRESENTATIONS:
            raise ValueError(
                f"representation is one of {', '.join(REPRESENTATIONS)}, got {self.representation!r}"
            )
        for name in ("learning_rate", "network_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not all(width > 0 for width in self.hidden):
            raise ValueError(f"hidden layers have widths from 1 on, got {self.hidden}")


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
