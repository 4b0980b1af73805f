"""Small networks that act in NumPy: categorical, Gaussian and tanh-squashed Gaussian.

Weights are named `hidden.<i>.weight` `[out, in]`, `hidden.<i>.bias` `[out]`, and for the heads
`logits.*` (categorical) or `mean.*` with `log_std.*` (a layer, or one vector `log_std`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.network import Network
from irlbench.policy import Arrays, Policy
from irlbench.randomness import RowGenerator, sample_categorical
from irlbench.serialisation import require_arrays

LOG_STD_BOUNDS = (-20.0, 2.0)
_LOG_2PI = float(np.log(2 * np.pi))


class _MLPPolicy(Network, Policy):
    """What the three network policies share."""

    def arrays(self) -> Arrays:
        """See `Policy.arrays`."""
        return dict(self._arrays)

    def settings(self) -> dict[str, Any]:
        """See `Policy.settings`."""
        return {"activation": self._activation}


class CategoricalMLPPolicy(_MLPPolicy):
    """softmax(network(s)) over discrete actions; see the module for the weights' names."""

    kind: ClassVar[str] = "categorical-mlp"

    def __init__(self, arrays: Mapping[str, NDArray[Any]], activation: str = "tanh") -> None:
        super().__init__(arrays, activation)
        self._head = self._layer("logits")
        self._finish(self._inputs(self._head[0]))

    def log_probabilities(self, observations: Any) -> NDArray[np.float64]:
        """log pi(a|s) for every action, float64 `[batch, actions]`."""
        logits = (self._features(observations) @ self._head[0] + self._head[1]).astype(np.float64)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`."""
        rows = self.log_probabilities(observations)
        if deterministic:
            return rows.argmax(axis=-1), None
        return sample_categorical(np.exp(rows), generator.uniform()[:, 0]), None

    def log_prob(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        """See `Policy.log_prob`."""
        rows = self.log_probabilities(observations)
        return rows[np.arange(len(rows)), np.asarray(actions, dtype=np.int64)]

    @classmethod
    def from_saved(cls, arrays: Arrays, settings: Mapping[str, Any]) -> CategoricalMLPPolicy:
        """See `Policy.from_saved`."""
        require_arrays(arrays, {name: (np.float32, a.ndim) for name, a in arrays.items()})
        return cls(arrays, settings["activation"])


class GaussianMLPPolicy(_MLPPolicy):
    """A diagonal Gaussian, clipped to the action bounds when it acts.

    Args:
        arrays: Weights; also `action_low` and `action_high`, `[action dimensions]`.
        activation: "relu" or "tanh".
    """

    kind: ClassVar[str] = "gaussian-mlp"

    def __init__(self, arrays: Mapping[str, NDArray[Any]], activation: str = "tanh") -> None:
        super().__init__(arrays, activation)
        self._mean = self._layer("mean")
        self._width, actions = self._mean[0].shape
        self._low = self._vector("action_low", actions)
        self._high = self._vector("action_high", actions)
        if (self._low >= self._high).any():
            raise ValueError("action_low must lie below action_high")
        self._log_std = None
        if "log_std" in self._arrays:
            self._vector("log_std", actions)
        else:
            self._log_std = self._layer("log_std")
            if len(self._log_std[1]) != actions:
                raise ValueError(f"log_std does not fit {actions} action dimensions")
        self._finish(self._inputs(self._mean[0]))

    @property
    def actions(self) -> int:
        """Action dimensions."""
        return len(self._low)

    @property
    def log_volume(self) -> float:
        """Logarithm of the volume that the action bounds enclose."""
        return float(np.log((self._high - self._low).astype(np.float64)).sum())

    def with_noise(
        self, observations: Any, noise: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The actions that given noise leads to in every state, with their log-density.

        Args:
            observations: `[batch, ...]`.
            noise: Standard normal, `[draws, action dimensions]`.

        Returns:
            Actions `[batch, draws, action dimensions]`, clipped to the bounds, and the log-density
            before clipping, `[batch, draws]`.
        """
        mean, log_std = (x[:, None, :] for x in self._distribution(observations))
        actions = mean + np.exp(log_std) * noise.astype(np.float32)
        return np.clip(actions, self._low, self._high), _normal(noise, log_std)

    def _distribution(self, observations: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        features = self._features(observations)
        mean = features @ self._mean[0] + self._mean[1]
        if self._log_std is None:
            log_std = np.broadcast_to(self._arrays["log_std"], mean.shape)
        else:
            log_std = features @ self._log_std[0] + self._log_std[1]
        return mean, np.clip(log_std, *LOG_STD_BOUNDS)

    def _sample(
        self, observations: Any, deterministic: bool, generator: RowGenerator
    ) -> NDArray[np.float32]:
        from scipy.special import ndtri

        mean, log_std = self._distribution(observations)
        if deterministic:
            return mean
        uniform = np.clip(generator.uniform(mean.shape[-1]), 1e-12, 1 - 1e-12)
        return mean + np.exp(log_std) * ndtri(uniform).astype(np.float32)

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`."""
        sample = self._sample(observations, deterministic, generator)
        return np.clip(sample, self._low, self._high), None

    def log_prob(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        """Log-density of the Gaussian before clipping, float64 `[batch]`."""
        mean, log_std = self._distribution(observations)
        z = (np.asarray(actions, dtype=np.float64) - mean) / np.exp(log_std.astype(np.float64))
        return _normal(z, log_std)

    @classmethod
    def from_saved(cls, arrays: Arrays, settings: Mapping[str, Any]) -> GaussianMLPPolicy:
        """See `Policy.from_saved`."""
        require_arrays(arrays, {name: (np.float32, a.ndim) for name, a in arrays.items()})
        return cls(arrays, settings["activation"])


class SquashedGaussianMLPPolicy(GaussianMLPPolicy):
    """tanh of a diagonal Gaussian, rescaled from [-1, 1] to the action bounds (as in SAC)."""

    kind: ClassVar[str] = "squashed-gaussian-mlp"

    def __init__(self, arrays: Mapping[str, NDArray[Any]], activation: str = "relu") -> None:
        super().__init__(arrays, activation)

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`."""
        squashed = np.tanh(self._sample(observations, deterministic, generator))
        return self._low + (squashed + 1) * 0.5 * (self._high - self._low), None

    def with_noise(
        self, observations: Any, noise: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See `GaussianMLPPolicy.with_noise`; the log-density is in the environment's units."""
        mean, log_std = (x[:, None, :] for x in self._distribution(observations))
        inner = mean + np.exp(log_std) * noise.astype(np.float32)
        half = 0.5 * (self._high - self._low)
        # log(1 - tanh(u)^2), which is finite where tanh(u) rounds to 1.
        slope = 2 * (np.log(2) - np.abs(inner, dtype=np.float64))
        slope -= 2 * np.log1p(np.exp(-2 * np.abs(inner, dtype=np.float64)))
        log_pi = _normal(noise, log_std) - (slope + np.log(half)).sum(axis=-1)
        return self._low + (np.tanh(inner) + 1) * half, log_pi

    def log_prob(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        """Log-density in the environment's action units, float64 `[batch]`.

        The change of variables takes off log(1 - tanh(u)^2) and the scale of each dimension.
        Actions at a bound are moved 1e-6 inside, where the density is finite.
        """
        half = 0.5 * (self._high - self._low).astype(np.float64)
        squashed = (np.asarray(actions, dtype=np.float64) - self._low) / half - 1
        squashed = np.clip(squashed, -1 + 1e-6, 1 - 1e-6)
        inner = super().log_prob(observations, np.arctanh(squashed))
        return np.asarray(inner - (np.log1p(-(squashed**2)) + np.log(half)).sum(axis=-1))


def _normal(
    z: NDArray[np.floating[Any]], log_std: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Log-density of a diagonal Gaussian at z standard deviations from its mean, `[...]`."""
    return np.asarray((-0.5 * (z.astype(np.float64) ** 2 + _LOG_2PI) - log_std).sum(axis=-1))
