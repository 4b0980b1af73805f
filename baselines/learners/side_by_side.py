"""Several networks of one shape, evaluated and differentiated side by side.

Off-policy learning makes an update per step of the environment, on small networks: what PyTorch
does around the matrix products then costs as much as the products. Here an evaluation is one node
of the graph, the first layers of all networks are one product, and all parameters are one vector,
so that the optimiser and the slow copy make one call each.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from irlbench.baselines.settings import PRECISIONS


class SideBySide(nn.Module):
    """Networks of relu layers and a linear head, all of one shape.

    Their parameters are one vector, in float32. Hidden layers may be computed in bfloat16; inputs
    and outputs are float32, and so is the head.

    Args:
        inputs: Input dimensions.
        hidden: Widths of the hidden layers, at least one.
        outputs: Width of the head.
        networks: How many.
        generator: Draws the first weights: uniform, within 1 / sqrt(inputs of the layer).
        precision: One of `PRECISIONS`.

    Raises:
        ValueError: If there is no hidden layer, or no such precision.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Iterable[int],
        outputs: int,
        networks: int,
        *,
        generator: torch.Generator,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.widths = (inputs, *hidden, outputs)
        if len(self.widths) < 3:
            raise ValueError("at least one hidden layer is needed")
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
        self.networks, self.precision = networks, precision
        shapes: list[tuple[int, ...]] = []
        for i, (rows, columns) in enumerate(pairwise(self.widths)):
            # The first layer reads the same inputs for all: one matrix.
            first = i == 0
            shapes.append((rows, networks * columns) if first else (networks, rows, columns))
            shapes.append((networks * columns,) if first else (networks, columns))
        self._shapes = shapes
        sizes = [math.prod(shape) for shape in shapes]
        self._ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        self.parameters_flat = nn.Parameter(torch.empty(self._ends[-1]))
        with torch.no_grad():
            for i, array in enumerate(self.split(self.parameters_flat)):
                bound = 1 / math.sqrt(self.widths[i // 2])
                array.uniform_(-bound, bound, generator=generator)
        self._shared: list[NDArray[np.float32]] | None = None

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of a vector of parameters: weight `[.., in, out]` and bias of each layer."""
        begins = [0, *self._ends]
        return [
            flat[begin:end].view(shape)
            for begin, end, shape in zip(begins, self._ends, self._shapes, strict=False)
        ]

    def lowered(self) -> list[Tensor]:
        """The parameters in the precision of the hidden layers; the head's in float32.

        Cast anew each time: a fused optimiser does not count up the version of what it changes, so
        that nothing tells a kept copy that it is old.
        """
        flat = self.parameters_flat.detach()
        low = flat.to(getattr(torch, self.precision))
        return [*self.split(low)[:-2], *self.split(flat)[-2:]]

    def forward(self, inputs: Tensor, *, frozen: bool = False) -> Tensor:
        """Outputs `[networks, batch, outputs]` for inputs `[batch, inputs]`, differentiable.

        Args:
            inputs: float32.
            frozen: Whether only the inputs get a gradient.
        """
        flat = self.parameters_flat
        out: Tensor = _Evaluation.apply(inputs, flat.detach() if frozen else flat, self)
        return out

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tape]:
        """The outputs, and what `gradients` needs; nothing for autograd.

        Args:
            inputs: float32 `[batch, inputs]`.

        Returns:
            `[networks, batch, outputs]`, and the tape.
        """
        with torch.no_grad():
            layers = self.lowered()
            x = inputs.to(layers[0].dtype)
            joint = torch.relu_(torch.addmm(layers[1], x, layers[0]))
            width = self.widths[1]
            # Per network: the first layer's columns, then matrices of its own.
            passed = [[joint[:, i * width : (i + 1) * width]] for i in range(self.networks)]
            for weight, bias in zip(layers[2:-2:2], layers[3:-2:2], strict=True):
                for i, own in enumerate(passed):
                    own.append(torch.relu_(torch.addmm(bias[i], own[-1], weight[i])))
            last = [own[-1].float() for own in passed]
            head = [torch.addmm(layers[-1][i], h, layers[-2][i]) for i, h in enumerate(last)]
            return torch.stack(head), Tape(layers, x, passed, last)

    def gradients(
        self, tape: Tape, slope: Tensor, *, inputs: bool = False, parameters: bool = True
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradient of sum(slope * outputs).

        Args:
            tape: From `evaluate`.
            slope: `[networks, batch, outputs]`.
            inputs: Whether that of the inputs is wanted.
            parameters: Whether that of the parameters is.

        Returns:
            Those of the inputs, `[batch, inputs]`, and of the parameters, one vector; None where
            not wanted.
        """
        with torch.no_grad():
            layers, threshold = tape.layers, torch.ops.aten.threshold_backward
            flat = torch.empty_like(self.parameters_flat) if parameters else None
            grads = [] if flat is None else self.split(flat)
            dtype = layers[0].dtype
            first = []
            for i, own in enumerate(tape.passed):
                if flat is not None:
                    torch.mm(tape.last[i].t(), slope[i], out=grads[-2][i])
                    torch.sum(slope[i], 0, out=grads[-1][i])
                back = torch.mm(slope[i], layers[-2][i].t()).to(dtype)
                back = threshold(back, own[-1], 0)
                for layer in range(len(own) - 1, 0, -1):
                    if flat is not None:
                        grads[2 * layer][i].copy_(torch.mm(own[layer - 1].t(), back))
                        grads[2 * layer + 1][i].copy_(back.sum(0))
                    back = torch.mm(back, layers[2 * layer][i].t())
                    back = threshold(back, own[layer - 1], 0)
                first.append(back)
            joint = first[0] if self.networks == 1 else torch.cat(first, dim=1)
            if flat is not None:
                grads[0].copy_(torch.mm(tape.x.t(), joint))
                grads[1].copy_(joint.sum(0))
            return torch.mm(joint, layers[0].t()).float() if inputs else None, flat

    def rows(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The outputs of the first network for a few rows, float32 `[rows, outputs]`.

        In NumPy on the CPU, where PyTorch would take several times as long for a single row.

        Args:
            inputs: `[rows, inputs]`.
        """
        if self.parameters_flat.device.type != "cpu":
            given = torch.as_tensor(inputs, device=self.parameters_flat.device)
            return np.asarray(self.evaluate(given)[0][0].cpu().numpy())
        if self._shared is None:
            flat = self.parameters_flat.detach()  # updates are in place: the views stay current
            self._shared = [view.numpy() for view in self.split(flat)]
        weights, width = self._shared, self.widths[1]
        x = np.maximum(inputs @ weights[0][:, :width] + weights[1][:width], np.float32(0))
        for weight, bias in zip(weights[2:-2:2], weights[3:-2:2], strict=True):
            x = np.maximum(x @ weight[0] + bias[0], np.float32(0))
        return np.asarray(x @ weights[-2][0] + weights[-1][0])

    def slow_copy(self) -> SideBySide:
        """A copy without gradients, to be led on by `follow`."""
        self._shared = None  # views of these parameters
        other = copy.deepcopy(self)
        other.parameters_flat.requires_grad_(False)
        return other

    def follow(self, source: SideBySide, rate: float) -> None:
        """Goes a share of the way towards another's parameters."""
        with torch.no_grad():
            self.parameters_flat.lerp_(source.parameters_flat, rate)

    def arrays(self, network: int, heads: dict[str, slice]) -> dict[str, NDArray[np.float32]]:
        """One network's weights under the names of `irlbench.network`; copies.

        Args:
            network: Which.
            heads: Name of each head to its columns of the output.
        """
        arrays: dict[str, NDArray[np.float32]] = {}
        views = [view.detach().cpu().numpy() for view in self.split(self.parameters_flat)]
        width = self.widths[1]
        for layer, (weights, biases) in enumerate(zip(views[::2], views[1::2], strict=True)):
            if layer == 0:
                own = slice(network * width, (network + 1) * width)
                weight, bias = weights[:, own], biases[own]
            else:
                weight, bias = weights[network], biases[network]
            last = layer == len(self.widths) - 2
            named = heads if last else {f"hidden.{layer}": slice(None)}
            for name, columns in named.items():
                arrays[f"{name}.weight"] = np.ascontiguousarray(weight[:, columns].T)
                arrays[f"{name}.bias"] = bias[columns].copy()
        return arrays


@dataclass(frozen=True, eq=False)
class Tape:
    """What one evaluation of `SideBySide` keeps for its gradient.

    Attributes:
        layers: The parameters that were used.
        x: The inputs, `[batch, inputs]`.
        passed: Per network, what each hidden layer gave, `[batch, width]`.
        last: The last of them in float32.
    """

    layers: list[Tensor]
    x: Tensor
    passed: list[list[Tensor]]
    last: list[Tensor]


class _Evaluation(torch.autograd.Function):
    """One node of autograd's graph for a whole evaluation."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, flat: Tensor, net: SideBySide) -> Tensor:
        out, ctx.tape = net.evaluate(inputs)
        ctx.net = net
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        inputs, parameters, _ = ctx.needs_input_grad
        found = ctx.net.gradients(ctx.tape, slopes[0], inputs=inputs, parameters=parameters)
        return *found, None
