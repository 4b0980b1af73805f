"""Small networks in NumPy: what saved policies and rewards of that form compute.

Weights are named `hidden.<i>.weight` `[out, in]` and `hidden.<i>.bias` `[out]`, and alike for heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.serialisation import require_names


def _relu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(x, np.float32(0))


def _tanh(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.tanh(x))


_ACTIVATIONS = {"relu": _relu, "tanh": _tanh}


class Network:
    """Hidden layers on scaled observations, in NumPy; heads are layers that a subclass takes.

    Args:
        arrays: Weights by name, and optionally `observation_mean` and `observation_std`
            `[observation dimensions]`, by which observations are normalised first.
        activation: "relu" or "tanh".

    Attributes:
        inputs: Observation dimensions.
    """

    inputs: int

    def __init__(self, arrays: Mapping[str, NDArray[Any]], activation: str) -> None:
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation {activation!r}; known: {sorted(_ACTIVATIONS)}")
        self._arrays = {k: np.asarray(v, dtype=np.float32) for k, v in arrays.items()}
        self._activation = activation
        self._read: set[str] = set()
        self._width: int | None = None
        layers = sum(k.startswith("hidden.") and k.endswith(".weight") for k in self._arrays)
        self._hidden = []
        for i in range(layers):
            weight, bias = self._layer(f"hidden.{i}")
            self._hidden.append((weight, bias))
            self._width = len(bias)

    def _vector(self, name: str, length: int | None = None) -> NDArray[np.float32]:
        """An array with one axis, of a known length where one is given."""
        vector = self._arrays[name]
        if vector.ndim != 1 or (length is not None and len(vector) != length):
            raise ValueError(f"{name} has shape {vector.shape}, wanted is {(length or 'any',)}")
        self._read.add(name)
        return vector

    def _layer(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A layer that fits on those before it: weight `[in, out]` and bias `[out]`."""
        weight, bias = self._arrays[f"{name}.weight"], self._vector(f"{name}.bias")
        wanted = (len(bias), self._width)
        if weight.ndim != 2 or not weight.size or wanted not in (weight.shape, (len(weight), None)):
            inputs = "" if self._width is None else f" and {self._width} inputs"
            raise ValueError(
                f"{name}: weight {weight.shape} does not fit bias {bias.shape}{inputs}"
            )
        self._read.add(f"{name}.weight")
        return np.ascontiguousarray(weight.T), bias

    def _finish(self, inputs: int) -> None:
        """Checks what normalises the observations, and that every array is one that is used.

        Args:
            inputs: Observation dimensions.
        """
        if "observation_mean" in self._arrays or "observation_std" in self._arrays:
            self._vector("observation_mean", inputs)
            if (self._vector("observation_std", inputs) <= 0).any():
                raise ValueError("observation_std must be positive")
        require_names(self._arrays, self._read)
        self.inputs = inputs

    def _inputs(self, head: NDArray[np.float32]) -> int:
        """Observation dimensions; the head, `[in, out]`, tells them where nothing is hidden."""
        return len(self._hidden[0][0] if self._hidden else head)

    def _features(self, observations: Any) -> NDArray[np.float32]:
        x = np.asarray(observations, dtype=np.float32)
        x = x.reshape(len(x), -1)
        if "observation_mean" in self._arrays:
            x = (x - self._arrays["observation_mean"]) / self._arrays["observation_std"]
        activate = _ACTIVATIONS[self._activation]
        for weight, bias in self._hidden:
            x = activate(x @ weight + bias)
        return x

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array by its name."""
        return dict(self._arrays)
