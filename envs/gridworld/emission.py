"""What is seen of a hidden state: a noisy vector that still tells which state it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from irlbench.randomness import row_keys, uniforms

if TYPE_CHECKING:
    from irlbench.policies.mlp import CategoricalMLPPolicy

#: The stream of a row's seed that noise is drawn from: 0 moves the world, 1 is the policies'.
NOISE_STREAM = 2


@dataclass(frozen=True, eq=False)
class Emission:
    """o = R (code of the state + noise), R a rotation: the emission of a Block MDP.

    R is the Hadamard matrix of order D over sqrt(D). The noise is uniform in [-noise, noise] per
    coordinate, and no observation belongs to two states (Du et al., 2019, "Provably efficient RL
    with rich observations via latent state decoding"). Only additions are made, in one order: a
    row's numbers do not depend on the batch that it is in.

    Attributes:
        codes: One vector per state, float64 `[states, D]`, D a power of two.
        noise: Largest noise per coordinate.
    """

    codes: NDArray[np.float64]
    noise: float

    def __post_init__(self) -> None:
        if self.dimension & (self.dimension - 1):
            raise ValueError(f"a Hadamard matrix needs a power of two, got {self.dimension}")
        if not (self.noise >= 0 and (self._thresholds()[1] > 0).all()):
            raise ValueError(
                f"noise must be from 0 on and small enough to tell every state, got {self.noise}"
            )
        self.codes.flags.writeable = False

    @property
    def dimension(self) -> int:
        """Length D of an observation."""
        return int(self.codes.shape[1])

    @property
    def bound(self) -> float:
        """The largest number that an observation can hold."""
        largest = float(np.abs(self.codes).sum(axis=1).max())
        return (largest + self.dimension * self.noise) / sqrt(self.dimension)

    def observe(
        self, states: NDArray[np.int64], keys: NDArray[np.uint64], counters: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Observations of states.

        Args:
            states: `[rows]`.
            keys: Of each row, from stream `NOISE_STREAM` of its seed, `[rows]`.
            counters: How many observations each row has had before, `[rows]`.

        Returns:
            float32 `[rows, D]`.
        """
        places = counters[:, None] * self.dimension + np.arange(self.dimension)
        noise = self.noise * (2.0 * uniforms(keys[:, None], places) - 1.0)
        return rotate(self.codes[states] + noise).astype(np.float32)

    def network(self, log_probabilities: NDArray[np.float64]) -> CategoricalMLPPolicy:
        """A table over states as a network over observations, right for whatever the noise.

        The first layer holds a unit per state, above zero for observations of that state alone;
        the next two cut it off at one; the head holds the table.

        Args:
            log_probabilities: Of the actions in each state, `[states, actions]`.
        """
        from irlbench.policies.mlp import CategoricalMLPPolicy

        states = len(self.codes)
        thresholds, margins = self._thresholds()
        unit, none = np.eye(states), np.zeros(states)
        return CategoricalMLPPolicy(
            {
                "hidden.0.weight": rotate(self.codes) / margins[:, None],
                "hidden.0.bias": -thresholds / margins,
                # min(x, 1) = relu(x) - relu(x - 1)
                "hidden.1.weight": np.concatenate([unit, unit]),
                "hidden.1.bias": np.concatenate([none, none - 1]),
                "hidden.2.weight": np.concatenate([unit, -unit], axis=1),
                "hidden.2.bias": none,
                "logits.weight": log_probabilities.T,
                "logits.bias": np.zeros(log_probabilities.shape[1]),
            },
            "relu",
        )

    def _thresholds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What tells each state: code . (code + noise) is above a threshold in that state alone.

        Returns:
            Thresholds, and by how much they are missed at least on either side, `[states]` each.
        """
        products = self.codes @ self.codes.T
        own = np.diag(products).copy()
        np.fill_diagonal(products, -np.inf)
        nearest = products.max(axis=1)
        return (own + nearest) / 2, (own - nearest) / 2 - self.noise * np.abs(self.codes).sum(
            axis=1
        )


def observations_of(emission: Emission, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """One observation of each state per seed, float32 `[seeds, states, D]`.

    Args:
        emission: How states are seen.
        seeds: Of the noise, `[seeds]`.
    """
    states = len(emission.codes)
    every = np.tile(np.arange(states), len(seeds))
    keys = row_keys(seeds, NOISE_STREAM).repeat(states)
    return emission.observe(every, keys, every).reshape(len(seeds), states, -1)


def rotate(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiplies by the Hadamard matrix over sqrt(D), by the fast transform; its own inverse.

    Args:
        vectors: `[rows, D]`, D a power of two.

    Returns:
        float64 `[rows, D]`.
    """
    rows, dimension = vectors.shape
    half = 1
    while half < dimension:
        pairs = vectors.reshape(rows, -1, 2, half)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        vectors = np.stack([first + second, first - second], axis=2).reshape(rows, dimension)
        half *= 2
    return vectors / sqrt(dimension)
