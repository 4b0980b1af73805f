"""Transitions as tensors, and what a soft Q-function says of them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from irlbench.baselines.learners.functions import StateFunction, of_chosen
from irlbench.baselines.objectives.soft_values import SoftValues, soft_value
from irlbench.data.demonstrations import Transitions

F = TypeVar("F", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Steps:
    """Transitions (s, a, s').

    Attributes:
        observations: s, `[batch, ...]`: int64 indices, or float32 vectors.
        actions: int64 `[batch]`, or float32 `[batch, dimensions]` in the environment's units.
        next_observations: s', as `observations`.
        terminated: bool `[batch]`: whether s' ended the episode.
        weight: How much each counts, float64 `[batch]`: 1, or its probability.
    """

    observations: Tensor
    actions: Tensor
    next_observations: Tensor
    terminated: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.actions)

    def __getitem__(self, rows: Tensor) -> Steps:
        return Steps(
            self.observations[rows],
            self.actions[rows],
            self.next_observations[rows],
            self.terminated[rows],
            self.weight[rows],
        )

    def drawn(self, size: int, generator: np.random.Generator) -> Steps:
        """Transitions drawn with replacement."""
        rows = generator.integers(len(self), size=size)
        return self[torch.as_tensor(rows, device=self.weight.device)]

    def joined(self, other: Steps) -> Steps:
        """These transitions and others behind them."""
        return Steps(*(torch.cat(pair) for pair in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[Tensor, ...]:
        return (
            self.observations,
            self.actions,
            self.next_observations,
            self.terminated,
            self.weight,
        )


def observed(values: NDArray[np.generic], device: str | torch.device) -> Tensor:
    """Observations or actions as a tensor: int64 where they are integers, else float32."""
    dtype = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float32
    return torch.as_tensor(np.array(values, dtype=dtype), device=device)


def steps_of(transitions: Transitions, device: str | torch.device) -> Steps:
    """Transitions of demonstrations, each of weight 1."""
    return Steps(
        observed(transitions.observations, device),
        observed(np.asarray(transitions.actions), device),
        observed(transitions.next_observations, device),
        torch.as_tensor(np.array(transitions.terminations), device=device),
        torch.ones(len(transitions), dtype=torch.float64, device=device),
    )


class ActedQ(ABC):
    """A soft Q-function with an actor beside it, for actions that cannot be enumerated."""

    @abstractmethod
    def act(self, observations: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Draws actions `[rows, ...]` for observations `[rows, ...]`."""

    @abstractmethod
    def soft_values(self, steps: Steps, *, slow: bool) -> SoftValues:
        """What Q says of transitions, V by actions that the actor draws.

        Args:
            steps: The transitions.
            slow: Whether V' is taken from the slow copies, without gradient.
        """

    @abstractmethod
    def value(self, observations: Tensor) -> Tensor:
        """V of observations, float64 `[batch]`, with gradient."""


def soft_values_of(
    Q: StateFunction | ActedQ,
    steps: Steps,
    temperature: float,
    target: StateFunction | ActedQ | None = None,
) -> SoftValues:
    """What Q says of transitions.

    Args:
        Q: One output per action, or with an actor.
        steps: The transitions.
        temperature: tau; one with an actor has its own.
        target: What V' is taken from, without gradient; None: from Q, with gradient. Of one with an
            actor the slow copies are taken.
    """
    if isinstance(Q, ActedQ):
        return Q.soft_values(steps, slow=target is not None)
    assert not isinstance(target, ActedQ)
    values = Q(steps.observations)
    if target is None:
        following = soft_value(Q(steps.next_observations), temperature)
    else:
        with torch.no_grad():
            following = soft_value(target(steps.next_observations), temperature)
    return SoftValues(
        Q=of_chosen(values, steps.actions),
        V=soft_value(values, temperature),
        V_next=following,
        terminated=steps.terminated,
        mask=steps.weight,
    )


def value_of(Q: StateFunction | ActedQ, observations: Tensor, temperature: float) -> Tensor:
    """V of observations, `[batch]`, with gradient.

    Args:
        Q: One output per action, or with an actor.
        observations: `[batch, ...]`.
        temperature: tau; one with an actor has its own.
    """
    if isinstance(Q, ActedQ):
        return Q.value(observations)
    return soft_value(Q(observations), temperature)


class SlowCopy(Generic[F]):
    """A copy of a function that follows it slowly: bootstrapping from it keeps learning stable.

    Args:
        function: What is followed.
        rate: Share of the way that each `follow` goes; 1 is an exact copy.
    """

    def __init__(self, function: F, rate: float) -> None:
        self._source, self._rate = function, rate
        self.function = copy.deepcopy(function)
        for parameter in self.function.parameters():
            parameter.requires_grad_(False)

    def follow(self) -> None:
        """Goes a step towards the function as it is now."""
        with torch.no_grad():
            for own, other in zip(
                _parameters(self.function), _parameters(self._source), strict=True
            ):
                own.lerp_(other, self._rate)


def _parameters(function: nn.Module) -> list[nn.Parameter]:
    return list(function.parameters())
