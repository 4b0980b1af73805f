"""Known dynamics of a finite environment, as the resource `dynamics` gives them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.tabular.expectation import Expectation

# Probabilities that were kept in float32 sum to one within this.
SUMS_TO_ONE = 1e-6

_TYPES: dict[str, type[np.generic]] = {
    "successors": np.int32,
    "probabilities": np.float64,
    "initial": np.float64,
    "terminal": np.bool_,
}


@dataclass(frozen=True, eq=False)
class TabularDynamics:
    """Factored sparse transitions of S states and A actions: K successors each.

    The arrays are checked, and read-only from then on.

    Attributes:
        successors: State indices, int32 `[states, actions, K]`. Unused places repeat a state with
            probability 0.
        probabilities: float64 `[states, actions, K]`, sums to one over K.
        initial: Distribution of the first state, float64 `[states]`.
        terminal: bool `[states]`: entering such a state ends the episode; nothing is earned
            after.
        horizon: Steps after which evaluation ends an episode.
        discount: Of the return, 0 to 1.

    Raises:
        UsageError: If shapes disagree, a successor is no state, or numbers are no distribution:
            with state, action and figure.
    """

    successors: NDArray[np.int32]
    probabilities: NDArray[np.float64]
    initial: NDArray[np.float64]
    terminal: NDArray[np.bool_]
    horizon: int
    discount: float

    def __post_init__(self) -> None:
        for name, dtype in _TYPES.items():
            array = np.asarray(getattr(self, name))
            if not np.can_cast(array.dtype, dtype, casting="same_kind"):
                raise UsageError(f"{name} must be of type {dtype.__name__}, got {array.dtype}")
            object.__setattr__(self, name, array)
        self._check_shapes()
        _check_successors(self.successors)
        _check_probabilities(self.probabilities)
        _check_initial(self.initial)
        if self.horizon < 1:
            raise UsageError(f"the horizon must be at least 1 step, got {self.horizon}")
        if not 0 <= self.discount <= 1:
            raise UsageError(f"the discount must lie between 0 and 1, got {self.discount}")
        for name, dtype in _TYPES.items():
            frozen = getattr(self, name).astype(dtype, copy=False).view()
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)

    @property
    def states(self) -> int:
        """Number of states S."""
        return int(self.successors.shape[0])

    @property
    def actions(self) -> int:
        """Number of actions A."""
        return int(self.successors.shape[1])

    @property
    def first(self) -> NDArray[np.float64]:
        """Distribution of the state from which the first action is taken, float64 `[states]`.

        It sums to less than one where an episode may begin in a terminal state.
        """
        return self.initial * np.where(self.terminal, 0.0, 1.0)

    def expect(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """E[values(s') | s, a], float64 `[states, actions]`; zero beyond a terminal state.

        Args:
            values: `[states]`.
        """
        alive = self.after(np.asarray(values, dtype=np.float64))
        return np.ascontiguousarray(self.expectation(np.float64)(alive).T)

    def after(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values of states that are entered: `values`, but zero in terminal states.

        Args:
            values: `[states]`.
        """
        return np.where(self.terminal, 0, values) if self._ends else values

    def expectation(self, dtype: type[np.floating[Any]]) -> Expectation:
        """The transition probabilities as an operator on values, made once for each type.

        Args:
            dtype: What it computes in.
        """
        if dtype not in self._expectations:
            self._expectations[dtype] = Expectation(self.successors, self.probabilities, dtype)
        return self._expectations[dtype]

    @cached_property
    def _expectations(self) -> dict[type[np.floating[Any]], Expectation]:
        return {}

    @cached_property
    def _ends(self) -> bool:
        return bool(self.terminal.any())

    def _check_shapes(self) -> None:
        shape = self.successors.shape
        if len(shape) != 3 or 0 in shape:
            raise UsageError(f"successors need axes [states, actions, K], got shape {shape}")
        for name, wanted in (
            ("probabilities", shape),
            ("initial", shape[:1]),
            ("terminal", shape[:1]),
        ):
            found = getattr(self, name).shape
            if found != wanted:
                raise UsageError(
                    f"{name} must have shape {wanted} beside successors of shape {shape}, "
                    f"got {found}"
                )


def _check_successors(successors: NDArray[Any]) -> None:
    states = len(successors)
    if successors.min() >= 0 and successors.max() < states:
        return
    state, action, place = np.argwhere((successors < 0) | (successors >= states))[0].tolist()
    raise UsageError(
        f"state {state}, action {action}: successor {successors[state, action, place]} "
        f"is none of the states 0 to {states - 1}"
    )


def _check_probabilities(probabilities: NDArray[Any]) -> None:
    # A table that repeats one row is checked once.
    once = tuple(slice(1) if stride == 0 else slice(None) for stride in probabilities.strides[:2])
    rows = probabilities[once]
    if not (rows.min() >= 0):  # also where one is NaN
        state, action, place = np.argwhere(~(rows >= 0))[0].tolist()
        raise UsageError(
            f"state {state}, action {action}: probability {rows[state, action, place]} "
            f"of the successor at place {place}"
        )
    sums = rows.sum(axis=2, dtype=np.float64)
    if not (np.abs(sums - 1).max() <= SUMS_TO_ONE):
        state, action = np.argwhere(~(np.abs(sums - 1) <= SUMS_TO_ONE))[0].tolist()
        raise UsageError(
            f"state {state}, action {action}: the probabilities of the successors sum to "
            f"{sums[state, action]:.9g}, not 1"
        )


def _check_initial(initial: NDArray[Any]) -> None:
    if not (initial.min() >= 0):
        state = int(np.argmin(initial >= 0))
        raise UsageError(f"state {state}: probability {initial[state]} of beginning there")
    total = float(initial.sum(dtype=np.float64))
    if abs(total - 1) > SUMS_TO_ONE:
        raise UsageError(f"the probabilities of the first state sum to {total:.9g}, not 1")
