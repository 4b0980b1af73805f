"""Known dynamics of a finite environment, as the resource `dynamics` gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TabularDynamics:
    """Factored sparse transitions of S states and A actions: K successors each.

    Attributes:
        successors: State indices, int32 `[states, actions, K]`. Unused places repeat a state with
            probability 0.
        probabilities: float64 `[states, actions, K]`, sums to one over K.
        initial: Distribution of the first state, float64 `[states]`.
        terminal: bool `[states]`: entering such a state ends the episode; nothing is earned
            after.
        horizon: Steps after which evaluation ends an episode.
        discount: Of the return.
    """

    successors: NDArray[np.int32]
    probabilities: NDArray[np.float64]
    initial: NDArray[np.float64]
    terminal: NDArray[np.bool_]
    horizon: int
    discount: float

    @property
    def states(self) -> int:
        """Number of states S."""
        return int(self.successors.shape[0])

    @property
    def actions(self) -> int:
        """Number of actions A."""
        return int(self.successors.shape[1])

    def expect(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """E[values(s') | s, a], float64 `[states, actions]`; zero beyond a terminal state.

        Args:
            values: `[states]`.
        """
        alive = np.where(self.terminal, 0.0, values)
        return np.einsum("sak,sak->sa", self.probabilities, alive[self.successors])
