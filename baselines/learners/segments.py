"""Pairs of segments as tensors, and what functions say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irlbench.baselines.learners.functions import (
    PairFunction,
    StateFunction,
    indexed,
    of_chosen,
)
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.baselines.learners.steps import Steps, observed
from irlbench.baselines.objectives.soft_values import SoftValues, soft_value
from irlbench.data.preferences import Pairs
from irlbench.errors import DataError


@dataclass(frozen=True, eq=False)
class Segments:
    """Pairs of segments, padded behind.

    Attributes:
        observations: `[pairs, 2, time + 1, ...]`; the last of a segment is what its last action
            led to.
        actions: int64 `[pairs, 2, time]`, or float32 `[pairs, 2, time, dimensions]`.
        terminated: bool `[pairs, 2, time]`.
        mask: 1 where there is a step, float64 `[pairs, 2, time]`.
        first_preferred: 1 where the first is preferred, 0 where the second is, 0.5 for ties;
            float64 `[pairs]`.
        weight: How much each pair counts, float64 `[pairs]`.
    """

    observations: Tensor
    actions: Tensor
    terminated: Tensor
    mask: Tensor
    first_preferred: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, rows: Tensor) -> Segments:
        return Segments(
            self.observations[rows],
            self.actions[rows],
            self.terminated[rows],
            self.mask[rows],
            self.first_preferred[rows],
            self.weight[rows],
        )

    def drawn(self, size: int, generator: np.random.Generator) -> Segments:
        """Pairs drawn with replacement, or all of them where there are no more than `size`."""
        if len(self) <= size:
            return self
        rows = generator.integers(len(self), size=size)
        return self[torch.as_tensor(rows, device=self.weight.device)]

    @property
    def present(self) -> Tensor:
        """The observations that steps are made from, `[steps, ...]`, padding left out."""
        return self.observations[:, :, :-1][self.mask > 0]

    @property
    def before(self) -> Tensor:
        """The observation before each step, padding included, `[pairs * 2 * time, ...]`."""
        return self.observations[:, :, :-1].flatten(0, 2)

    @property
    def after(self) -> Tensor:
        """The observation after each step, as `before`."""
        return self.observations[:, :, 1:].flatten(0, 2)

    @property
    def chosen(self) -> Tensor:
        """The actions of all steps, padding included, `[pairs * 2 * time, ...]`."""
        return self.actions.flatten(0, 2)

    def steps(self) -> Steps:
        """All steps as transitions of weight 1, padding left out."""
        there = self.mask.flatten() > 0
        return Steps(
            self.before[there],
            self.chosen[there],
            self.after[there],
            self.terminated.flatten()[there],
            torch.ones_like(self.mask.flatten()[there]),
        )

    def of_chosen(self, function: StateFunction | PairFunction) -> Tensor:
        """What a function says of each step's state and action, `[pairs, 2, time]`."""
        return function.of(self.before, self.chosen).reshape(self.mask.shape)

    def log_prob(self, logits: StateFunction) -> Tensor:
        """log pi(a|s) of softmax(logits), `[pairs, 2, time]`."""
        rows = torch.log_softmax(logits(self.before), dim=1)
        return of_chosen(rows, self.chosen).reshape(self.mask.shape)

    def soft_values(
        self,
        Q: StateFunction,
        temperature: float,
        target: StateFunction,
        known: KnownDynamics | None = None,
    ) -> SoftValues:
        """What a soft Q-function says of every step, `[pairs, 2, time]`.

        Args:
            Q: One output per action.
            temperature: tau.
            target: What V' is taken from, without gradient.
            known: Where V' is its expectation; None: V of the observation that came next.
        """
        shape = self.actions.shape
        values = Q(self.before)
        V = soft_value(values, temperature).reshape(shape)
        chosen = of_chosen(values, self.actions.flatten()).reshape(shape)
        if known is None:
            with torch.no_grad():
                rows = target(self.after)
            following = soft_value(rows, temperature).reshape(shape)
            return SoftValues(chosen, V, following, self.terminated, self.mask)
        with torch.no_grad():
            expected = known.expect(soft_value(indexed(target).table(), temperature))
        following = expected[self.observations[:, :, :-1], self.actions]
        never = torch.zeros_like(self.terminated)  # the expectation knows what ends
        return SoftValues(chosen, V, following, never, self.mask)


def segments_of(pairs: Pairs, actions: int | None, device: str | torch.device) -> Segments:
    """Pairs as tensors.

    Args:
        pairs: With actions.
        actions: How many discrete actions there are; None where they are continuous.
        device: Where tensors live.

    Raises:
        DataError: If an action is none of them.
    """
    chosen = np.asarray(pairs.actions)
    if actions is not None:
        _require_discrete(chosen, actions)
    numbers = (pairs.terminations, pairs.mask.astype(np.float64), pairs.first_preferred)
    return Segments(
        observed(pairs.observations, device),
        observed(chosen, device),
        *(torch.as_tensor(np.array(a), device=device) for a in (*numbers, pairs.weight)),
    )


def _require_discrete(chosen: NDArray[Any], actions: int) -> None:
    if chosen.ndim != 3 or chosen.dtype.kind not in "iu":
        raise DataError(
            f"one index per step is wanted, got {chosen.dtype} {chosen.shape}", field="actions"
        )
    wrong = np.argwhere((chosen < 0) | (chosen >= actions))
    if len(wrong):
        row = tuple(wrong[0].tolist())
        raise DataError(
            f"action {chosen[row]}, but actions are 0 to {actions - 1}", field="actions", row=row[0]
        )
