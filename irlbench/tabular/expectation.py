"""E[values(s') | s, a], in few passes over small blocks of states.

In a gridworld the successors of four actions under slip are sixteen columns of indices, of which
four differ: each distinct column is gathered once. Actions stand before states, so that every
operation runs along the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Numbers [actions, states] in a block: its few working arrays stay in a core's cache.
_BLOCK = 2**15
# Columns are first compared at so many states.
_PROBES = 64


class ExpectationBlock:
    """Some of the states of an `Expectation`.

    Args:
        states: Which states.
        columns: Distinct successors, intp `[columns, states]`.
        rows: Of each place, which column is an action's successor, `[actions]`.
        weights: Of each place, its probability, `[actions, 1]` or `[actions, states]`.
        mixture: The weights of the columns, `[actions, columns]`, where no state has its own.
    """

    def __init__(
        self,
        states: slice,
        columns: NDArray[np.intp],
        rows: list[NDArray[np.intp]],
        weights: list[NDArray[Any]],
        mixture: NDArray[Any] | None,
    ) -> None:
        self.states = states
        self._columns, self._rows, self._weights, self._mixture = columns, rows, weights, mixture

    def ordered(self, values: NDArray[Any], out: NDArray[Any]) -> None:
        """Writes the expectation into `out`, its terms added in the order of the places.

        So it gives the same bits for one action as for another, and with every linear algebra
        library.

        Args:
            values: Of every state, `[all states]`.
            out: `[actions, states]`.
        """
        gathered = values.take(self._columns, mode="clip")
        np.multiply(gathered.take(self._rows[0], axis=0), self._weights[0], out=out)
        for rows, weights in zip(self._rows[1:], self._weights[1:], strict=True):
            term = gathered.take(rows, axis=0)
            term *= weights
            out += term

    def fast(self, values: NDArray[Any], factor: float, out: NDArray[Any]) -> None:
        """Writes a multiple of the expectation into `out`, if it can as one matrix product.

        Args:
            values: Of every state, `[all states]`.
            factor: What the expectation is multiplied by.
            out: `[actions, states]`.
        """
        if self._mixture is None:
            self.ordered(values, out)
            out *= factor
        else:
            gathered = values.take(self._columns, mode="clip")
            np.matmul(self._mixture * factor, gathered, out=out)

    def shares(self, mass: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Where mass on states and actions goes: parts of it, and the state that each goes to.

        Args:
            mass: `[actions, states]`.

        Returns:
            Successors and shares, both `[columns * states]`.
        """
        if self._mixture is not None:
            shares = self._mixture.T @ mass
        else:
            shares = np.zeros(self._columns.shape)
            for rows, weights in zip(self._rows, self._weights, strict=True):
                for row, part in zip(rows, weights * mass, strict=True):
                    shares[row] += part
        return self._columns.ravel(), shares.ravel()


class Expectation:
    """The transition probabilities as an operator on values; iterate over it for its blocks.

    Args:
        successors: `[states, actions, K]`, all within the states.
        probabilities: `[states, actions, K]`.
        dtype: What it computes in: that of the values it is given.
    """

    def __init__(
        self,
        successors: NDArray[np.int32],
        probabilities: NDArray[np.float64],
        dtype: type[np.floating[Any]],
    ) -> None:
        states, actions, width = successors.shape
        places = [place for place in range(width) if probabilities[:, :, place].any()]
        columns, rows = _distinct(successors, places)
        weights = [_weights(probabilities[:, :, place], dtype) for place in places]
        mixture = _mixture(rows, weights, len(columns))
        size = max(1, _BLOCK // actions)
        self.shape, self.dtype = (actions, states), dtype
        self._blocks = [
            ExpectationBlock(
                span,
                np.stack([column[span] for column in columns]).astype(np.intp),
                rows,
                [np.ascontiguousarray(w[:, span]) if w.shape[1] > 1 else w for w in weights],
                mixture,
            )
            for span in (slice(low, min(low + size, states)) for low in range(0, states, size))
        ]

    def __iter__(self) -> Iterator[ExpectationBlock]:
        return iter(self._blocks)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """E[values(s') | s, a] of all states, `[actions, states]`, its terms in order."""
        out = np.empty(self.shape, self.dtype)
        for block in self._blocks:
            block.ordered(values, out[:, block.states])
        return out

    def flow(self, mass: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where mass on states and actions goes: the adjoint of the expectation.

        Args:
            mass: `[actions, states]`.

        Returns:
            float64 `[states]`.
        """
        parts = [block.shares(mass[:, block.states]) for block in self._blocks]
        successors = np.concatenate([part[0] for part in parts])
        shares = np.concatenate([part[1] for part in parts])
        found = np.bincount(successors, weights=shares, minlength=self.shape[1])
        return np.asarray(found, dtype=np.float64)


def _distinct(
    successors: NDArray[np.int32], places: list[int]
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.intp]]]:
    """The columns `successors[:, a, k]` that differ, and which of them each (k, a) is."""
    probes = np.linspace(0, len(successors) - 1, _PROBES).astype(np.intp)
    columns: list[NDArray[np.int32]] = []
    alike: dict[bytes, list[int]] = {}
    rows = []
    for place in places:
        found = []
        for action in range(successors.shape[1]):
            column = successors[:, action, place]
            candidates = alike.setdefault(column[probes].tobytes(), [])
            same = [c for c in candidates if np.array_equal(columns[c], column)]
            if not same:
                same = [len(columns)]
                candidates.append(len(columns))
                columns.append(column)
            found.append(same[0])
        rows.append(np.array(found, dtype=np.intp))
    return columns, rows


def _weights(probabilities: NDArray[np.float64], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """`[actions, 1]` where the probabilities `[states, actions]` are the same in every state."""
    if (probabilities == probabilities[:1]).all():
        return probabilities[:1].T.astype(dtype)
    return probabilities.T.astype(dtype, order="C")


def _mixture(
    rows: list[NDArray[np.intp]], weights: list[NDArray[Any]], columns: int
) -> NDArray[Any] | None:
    """The weights as a matrix `[actions, columns]`, where they are the same in every state."""
    if any(weight.shape[1] > 1 for weight in weights):
        return None
    mixture = np.zeros((len(rows[0]), columns), weights[0].dtype)
    for row, weight in zip(rows, weights, strict=True):
        mixture[np.arange(len(row)), row] += weight[:, 0]
    return mixture
