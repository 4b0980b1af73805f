"""Small networks with the weights' names of `irlbench.policies.mlp`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from irlbench.algorithm import Run
from irlbench.data.demonstrations import Transitions

#: A dimension that varies less than this is not blown up to unit variance.
_LEAST_STD = 1e-3


class Network(nn.Module):
    """tanh layers and one linear head, on observations scaled to zero mean and unit variance.

    Args:
        inputs: Observation dimensions.
        hidden: Widths of the hidden layers.
        outputs: Width of the head.
        head: Name of the head: "logits" or "mean".
        head_gain: Scale of the head's first weights.
        generator: Draws the first weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        inputs: int,
        hidden: Iterable[int],
        outputs: int,
        *,
        head: str,
        head_gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], outputs)
        self.head_name = head
        for layer in [*self.hidden, self.head]:
            gain = head_gain if layer is self.head else math.sqrt(2)
            nn.init.orthogonal_(layer.weight, gain, generator=generator)
            nn.init.zeros_(layer.bias)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))

    def scale_to(self, observations: Tensor) -> None:
        """Takes mean and standard deviation from observations `[steps, dimensions]`."""
        mean, std = moments(observations)
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, observations: Tensor) -> Tensor:
        """The head's output, `[batch, outputs]`, for observations `[batch, dimensions]`."""
        x = (observations - self.mean) / self.std
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.head(x)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Weights and scaling under the names that saved policies use; copies."""
        named: dict[str, Tensor] = {"observation_mean": self.mean, "observation_std": self.std}
        layers = {f"hidden.{i}": layer for i, layer in enumerate(self.hidden)}
        for name, layer in {**layers, self.head_name: self.head}.items():
            named.update({f"{name}.{key}": value for key, value in layer.named_parameters()})
        return {name: value.detach().cpu().numpy().copy() for name, value in named.items()}


def moments(observations: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation by which observations `[steps, dimensions]` are scaled."""
    std = observations.std(dim=0, unbiased=False).clamp_min(_LEAST_STD)
    return observations.mean(dim=0), std


def first_weights(run: Run) -> torch.Generator:
    """The generator of a trial's first weights, on the CPU: alike on every device."""
    seed = int(run.generator("first weights").integers(2**63 - 1))
    return torch.Generator().manual_seed(seed)


def flat_observations(transitions: Transitions, device: Any) -> Tensor:
    """Observations of transitions, float32 `[steps, dimensions]`."""
    rows = np.asarray(transitions.observations, dtype=np.float32).reshape(len(transitions), -1)
    return torch.as_tensor(rows.copy(), device=device)


def draw(size: int, rows: int, generator: np.random.Generator, device: Any) -> Tensor | None:
    """Indices of a batch drawn with replacement, or None where all rows fit into one."""
    if rows <= size:
        return None
    return torch.as_tensor(generator.integers(rows, size=size), device=device)
