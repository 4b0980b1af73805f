"""Learning with known finite dynamics: expectations and occupancy measures instead of samples."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irlbench.baselines.learners.functions import IndexedFunction
from irlbench.baselines.learners.steps import Steps
from irlbench.baselines.objectives.soft_values import SoftValues, soft_value
from irlbench.tabular.chain import MarkovChain
from irlbench.tabular.demonstrations import unexplained_flow
from irlbench.tabular.dynamics import TabularDynamics


class KnownDynamics:
    """The dynamics as tensors, beside the expert's occupancy measure.

    A policy's occupancy is taken from where the expert's begins: its unexplained flow, which is the
    initial distribution where the measure is exact, and makes up for what demonstrations leave out
    where they were cut. So the two can be compared.

    Args:
        dynamics: S states, A actions, K successors; the discount below 1.
        expert: The expert's discounted occupancy, `[states, actions]`; None: only expectations are
            asked for.
        device: Where tensors live.
    """

    def __init__(
        self,
        dynamics: TabularDynamics,
        expert: NDArray[np.float64] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.dynamics = dynamics
        probabilities = torch.from_numpy(np.array(dynamics.probabilities))
        self._successors = torch.from_numpy(dynamics.successors.astype(np.int64)).to(device)
        self._probabilities = probabilities.to(device)
        self._terminal = torch.from_numpy(np.array(dynamics.terminal)).to(device)
        # An episode that ends earns nothing any more.
        self._continuing = self._probabilities * ~self._terminal[self._successors]
        self._never = torch.zeros(dynamics.states, dynamics.actions, dtype=torch.bool).to(device)
        self._device = device
        if expert is not None:
            self.expert = torch.from_numpy(np.array(expert)).to(device)
            self._source = unexplained_flow(dynamics, expert)

    @property
    def source(self) -> Tensor:
        """Where the expert's occupancy begins, float64 `[states]`: exact, (1 - gamma) P(s_0)."""
        return torch.from_numpy(self._source).to(self._device)

    def expect(self, values: Tensor) -> Tensor:
        """E[values(s') | s, a], zero where s' is terminal; differentiable.

        Args:
            values: `[states]`.

        Returns:
            `[states, actions]`.
        """
        return (self._continuing * values[self._successors]).sum(dim=2)

    def soft_values(
        self,
        Q: IndexedFunction,
        occupancy: Tensor,
        temperature: float,
        target: IndexedFunction | None = None,
    ) -> SoftValues:
        """What Q says of every state and action, with the expectation of V' for V'.

        Args:
            Q: One output per action.
            occupancy: How much each counts, `[states, actions]`.
            temperature: tau.
            target: What V' is taken from, without gradient; None: from Q, with gradient.
        """
        values = Q.table()
        V = soft_value(values, temperature)
        following = V
        if target is not None:
            with torch.no_grad():
                following = soft_value(target.table(), temperature)
        return SoftValues(
            Q=values,
            V=V[:, None].expand_as(values),
            V_next=self.expect(following),
            terminated=self._never,
            mask=occupancy,
        )

    def occupancy(
        self, policy: NDArray[np.float64], chain: MarkovChain | None = None
    ) -> NDArray[np.float64]:
        """A policy's discounted occupancy, of the expert's total.

        Args:
            policy: pi(a|s), `[states, actions]`.
            chain: Of that policy, where it is at hand.

        Returns:
            float64 `[states, actions]`; nowhere below zero.
        """
        visits = (chain or MarkovChain(self.dynamics, policy)).visits(self._source)
        return np.maximum(visits, 0.0)[:, None] * policy

    def steps(self, occupancy: Tensor) -> Steps:
        """Every transition that an occupancy makes, weighted by how often it does.

        Args:
            occupancy: `[states, actions]`.

        Returns:
            As many as there are with a weight.
        """
        weight = (occupancy[:, :, None] * self._probabilities).flatten()
        kept = torch.nonzero(weight)[:, 0]
        shape = self._successors.shape
        state = torch.arange(shape[0], device=self._device)[:, None, None].expand(shape).flatten()
        action = torch.arange(shape[1], device=self._device)[:, None].expand(shape).flatten()
        following = self._successors.flatten()[kept]
        return Steps(state[kept], action[kept], following, self._terminal[following], weight[kept])
