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
        self._low: tuple[Tensor, Tensor, Layers] | None = None
        self._kept: tuple[Tensor, Layers] | None = None

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of a vector of parameters: weight `[.., in, out]` and bias of each layer."""
        begins = [0, *self._ends]
        return [
            flat[begin:end].view(shape)
            for begin, end, shape in zip(begins, self._ends, self._shapes, strict=False)
        ]

    def lowered(self) -> Layers:
        """The parameters in the precision of the hidden layers; the head's in float32.

        Cast anew each time: a fused optimiser does not count up the version of what it changes, so
        that nothing tells a kept copy that it is old. Views of the copy are kept: there are so many
        of them that making them takes as long as some of the products.
        """
        flat = self.parameters_flat.detach()
        if self._low is None or self._low[0].data_ptr() != flat.data_ptr():
            low = flat.to(getattr(torch, self.precision))
            self._low = flat, low, Layers(self.split(low)[:-2] + self.split(flat)[-2:])
        _, low, layers = self._low
        if low.dtype != flat.dtype:
            low.copy_(flat)
        return layers

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
            x = inputs.to(layers.weight.dtype)
            joint = torch.relu_(torch.addmm(layers.bias, x, layers.weight))
            # Per network: the first layer's columns, then matrices of its own.
            passed = [[part] for part in joint.split(self.widths[1], dim=1)]
            for own, deeper in zip(passed, layers.deeper, strict=True):
                for weight, bias, _ in deeper:
                    own.append(torch.relu_(torch.addmm(bias, own[-1], weight)))
            last = [own[-1].float() for own in passed]
            head = [
                torch.addmm(bias, h, weight)
                for h, (weight, bias, _) in zip(last, layers.heads, strict=True)
            ]
            return torch.stack(head), Tape(layers, x, passed, last)

    def gradients(
        self,
        tape: Tape,
        slope: Tensor,
        *,
        inputs: bool = False,
        parameters: bool = True,
        reuse: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradient of sum(slope * outputs).

        Args:
            tape: From `evaluate`.
            slope: `[networks, batch, outputs]`.
            inputs: Whether that of the inputs is wanted.
            parameters: Whether that of the parameters is.
            reuse: Whether it may be written over the one that was given the last time.

        Returns:
            Those of the inputs, `[batch, inputs]`, and of the parameters, one vector; None where
            not wanted.
        """
        with torch.no_grad():
            layers, threshold = tape.layers, torch.ops.aten.threshold_backward
            flat, grads = None, None
            if parameters and reuse:
                self._kept = self._kept or self._room()
                flat, grads = self._kept
            elif parameters:
                flat, grads = self._room()
            dtype = layers.weight.dtype
            first = []
            for i, own in enumerate(tape.passed):
                if grads is not None:
                    weight, bias, _ = grads.heads[i]
                    torch.mm(tape.last[i].t(), slope[i], out=weight)
                    torch.sum(slope[i], 0, out=bias)
                back = torch.mm(slope[i], layers.heads[i][2]).to(dtype)
                back = threshold(back, own[-1], 0)
                for layer in range(len(own) - 2, -1, -1):
                    if grads is not None:
                        weight, bias, _ = grads.deeper[i][layer]
                        weight.copy_(torch.mm(own[layer].t(), back))
                        bias.copy_(back.sum(0))
                    back = torch.mm(back, layers.deeper[i][layer][2])
                    back = threshold(back, own[layer], 0)
                first.append(back)
            joint = first[0] if self.networks == 1 else torch.cat(first, dim=1)
            if grads is not None:
                grads.weight.copy_(torch.mm(tape.x.t(), joint))
                grads.bias.copy_(joint.sum(0))
            return torch.mm(joint, layers.weight.t()).float() if inputs else None, flat

    def _room(self) -> tuple[Tensor, Layers]:
        """A vector for a gradient, and its views."""
        flat = torch.empty_like(self.parameters_flat)
        return flat, Layers(self.split(flat))

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
        self._shared = self._low = self._kept = None  # views of these parameters
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


class Layers:
    """Parameters by network: views, made once.

    Args:
        arrays: From `SideBySide.split`.

    Attributes:
        weight: Of the first layer, for all networks, `[inputs, networks * width]`.
        bias: Likewise, `[networks * width]`.
        deeper: Per network, the other hidden layers: weight, bias, transposed weight.
        heads: Per network, weight, bias and transposed weight.
    """

    def __init__(self, arrays: list[Tensor]) -> None:
        self.weight, self.bias = arrays[:2]
        own = zip(*(array.unbind() for array in arrays[2:]), strict=True)
        parts = [
            [(w, b, w.t()) for w, b in zip(views[::2], views[1::2], strict=True)] for views in own
        ]
        self.deeper = [layers[:-1] for layers in parts]
        self.heads = [layers[-1] for layers in parts]


@dataclass(frozen=True, eq=False)
class Tape:
    """What one evaluation of `SideBySide` keeps for its gradient.

    Attributes:
        layers: The parameters that were used; they must not have changed when it is asked.
        x: The inputs, `[batch, inputs]`.
        passed: Per network, what each hidden layer gave, `[batch, width]`.
        last: The last of them in float32.
    """

    layers: Layers
    x: Tensor
    passed: list[list[Tensor]]
    last: list[Tensor]


class FlatAdam(torch.optim.Adam):
    """PyTorch's fused Adam on one vector, without what its `step` does around that.

    Args:
        flat: What is learnt.
        learning_rate: Step size.
    """

    def __init__(self, flat: Tensor, learning_rate: float) -> None:
        super().__init__([flat], lr=learning_rate, fused=True)
        self._flat = flat

    def step_fast(self) -> None:
        """What `step` does, bit for bit."""
        memory: Any = self.state[self._flat]
        if not memory:
            self.step()  # which makes the memory
            return
        (group,) = self.param_groups
        (beta1, beta2), gradient = group["betas"], self._flat.grad
        assert gradient is not None
        with torch.no_grad():
            memory["step"] += 1
            torch._fused_adam_(
                [self._flat],
                [gradient],
                [memory["exp_avg"]],
                [memory["exp_avg_sq"]],
                [],
                [memory["step"]],
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=0.0,
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )


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
