"""The states under a stationary policy as a Markov chain, and its discounted sums."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import ceil, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.tabular.dynamics import TabularDynamics

# Up to so many states matrices are dense: sparse ones would cost more to set up than to solve.
_DENSE = 200
# Up to so many the linear systems are solved by a sparse factorisation: where moves know no
# neighbourhood it fills up, and then takes a tenth of a second here.
_FACTORISED = 1000
# Error of the sums that are iterated instead, relative to their norm.
_TOLERANCE = 1e-13


class MarkovChain:
    """P(s, s') = sum_a pi(a|s) P(s'|s, a); an episode that enters a terminal state is gone.

    Args:
        dynamics: S states, A actions, K successors; the discount gamma.
        policy: pi(a|s), `[states, actions]`.

    Raises:
        UsageError: If the discount is not below 1.
    """

    def __init__(self, dynamics: TabularDynamics, policy: NDArray[np.float64]) -> None:
        if dynamics.discount >= 1:
            raise UsageError(
                f"an infinite horizon needs a discount below 1, got {dynamics.discount}: "
                "set finite_horizon"
            )
        states, successors = dynamics.states, dynamics.successors
        flow = policy[:, :, None] * dynamics.probabilities
        flow[dynamics.terminal[successors]] = 0
        self._discount, self._states = dynamics.discount, states
        if states <= _DENSE:
            cells = np.arange(states)[:, None, None] * states + successors
            total = np.bincount(cells.ravel(), flow.ravel(), minlength=states * states)
            self._transitions: Any = total.reshape(states, states)
            return
        from scipy import sparse

        origin, action, place = np.nonzero(flow)
        used = (origin, action, place)
        self._transitions = sparse.csr_array(
            (flow[used], (origin, successors[used])), shape=(states, states)
        )

    def values(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """The x of (I - gamma P) x = r: what is earned from each state on.

        Args:
            rewards: r, `[states]`.

        Returns:
            float64 `[states]`.
        """
        if self._states <= _DENSE:
            return self._solved(rewards, transposed=False)
        if self._states <= _FACTORISED:
            return self._factors.solve(rewards)
        return self._iterated(self._transitions, rewards, lambda x: float(np.abs(x).max()))

    def visits(self, first: NDArray[np.float64]) -> NDArray[np.float64]:
        """The x of (I - gamma P)' x = d: the discounted number of visits.

        Args:
            first: d, where it begins, `[states]`.

        Returns:
            float64 `[states]`.
        """
        if self._states <= _DENSE:
            return self._solved(first, transposed=True)
        if self._states <= _FACTORISED:
            return self._factors.solve(first, trans="T")
        return self._iterated(self._transitions.T.tocsr(), first, lambda x: float(np.abs(x).sum()))

    def _solved(self, right: NDArray[np.float64], *, transposed: bool) -> NDArray[np.float64]:
        from scipy.linalg import lu_solve

        found = lu_solve(self._dense_factors, right, trans=int(transposed), check_finite=False)
        return np.asarray(found, dtype=np.float64)

    @cached_property
    def _dense_factors(self) -> Any:
        from scipy.linalg import lu_factor

        system = np.eye(self._states) - self._discount * self._transitions
        return lu_factor(system, overwrite_a=True, check_finite=False)

    @cached_property
    def _factors(self) -> Any:
        from scipy import sparse
        from scipy.sparse.linalg import splu

        return splu((sparse.eye_array(self._states) - self._discount * self._transitions).tocsc())

    def _iterated(
        self,
        transitions: Any,
        source: NDArray[np.float64],
        norm: Callable[[NDArray[np.float64]], float],
    ) -> NDArray[np.float64]:
        """The sum of gamma^n P^n d over n, in a norm in which P does not enlarge."""
        gamma = self._discount
        total = source
        if gamma == 0:
            return total
        for _ in range(ceil(log(_TOLERANCE * (1 - gamma)) / log(gamma))):
            previous, total = total, source + gamma * (transitions @ total)
            if norm(total - previous) * gamma <= _TOLERANCE * (1 - gamma) * norm(total):
                break
        return total
