"""What is being trained as arrays, for checkpoints, and back: no bit is lost either way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irlbench.errors import DataError

State = Mapping[str, NDArray[Any]]


def take(state: State, name: str, like: NDArray[Any]) -> NDArray[Any]:
    """One array of a checkpoint.

    Args:
        state: From `run.restored`.
        name: The array's name.
        like: An array of the shape and type that are needed.

    Raises:
        DataError: If it is missing, or of another shape or type.
    """
    found = state.get(name)
    if found is None:
        raise _misfit(name, "is missing")
    if found.shape != like.shape or found.dtype != like.dtype:
        raise _misfit(
            name, f"is {found.dtype} {found.shape}, but {like.dtype} {like.shape} is needed"
        )
    return found


def under(name: str, state: State) -> dict[str, NDArray[Any]]:
    """Arrays under names that begin with `name.`, so that several parts fit one checkpoint."""
    return {f"{name}.{key}": array for key, array in state.items()}


def part(name: str, state: State) -> dict[str, NDArray[Any]]:
    """What `under` put under a name."""
    return {
        key.removeprefix(f"{name}."): array
        for key, array in state.items()
        if key.startswith(f"{name}.")
    }


def to_array(tensor: Tensor) -> NDArray[Any]:
    """A copy, of one dimension at least; bfloat16, which NumPy lacks, as the bits in uint16."""
    plain = tensor.detach().cpu()
    if plain.dtype == torch.bfloat16:
        plain = plain.view(torch.uint16)
    return np.atleast_1d(plain.numpy().copy())


def put_back(tensor: Tensor, state: State, name: str) -> None:
    """Writes an array that `to_array` made into a tensor, which stays the same object.

    Args:
        tensor: What is overwritten, on any device. Tensors that share its memory see it too.
        state: From `run.restored`.
        name: The array's name.

    Raises:
        DataError: If the array is missing, or of another shape or type than the tensor.
    """
    found = torch.tensor(take(state, name, to_array(tensor)))
    if tensor.dtype == torch.bfloat16:
        found = found.view(torch.bfloat16)
    with torch.no_grad():
        tensor.copy_(found.reshape(tensor.shape))


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """An optimiser's parameters and what it remembers of each (of Adam: moments, step count).

    A parameter that never had a gradient has no memory. Step sizes are not in it: they follow
    from the number of updates.

    Args:
        optimiser: Of one or more groups.

    Returns:
        `parameter.<i>` and `memory.<i>.<name>`, in the order of the parameters.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for i, parameter in enumerate(_parameters(optimiser)):
        arrays[f"parameter.{i}"] = to_array(parameter)
        for key, value in optimiser.state.get(parameter, {}).items():
            arrays[f"memory.{i}.{key}"] = to_array(value)
    return arrays


def restore_optimiser(optimiser: torch.optim.Optimizer, state: State) -> None:
    """Puts back what `optimiser_state` gave, into the parameters themselves too.

    Raises:
        DataError: If parameters differ in number, shape or type from those of the state.
    """
    parameters = _parameters(optimiser)
    known = {f"parameter.{i}" for i in range(len(parameters))}
    optimiser.state.clear()
    for i, parameter in enumerate(parameters):
        put_back(parameter, state, f"parameter.{i}")
        for key in part(f"memory.{i}", state):
            # Adam counts steps in a float32 on the CPU; all else has its parameter's shape.
            value = torch.zeros(()) if key == "step" else torch.zeros_like(parameter)
            put_back(value, state, f"memory.{i}.{key}")
            optimiser.state[parameter][key] = value
            known.add(f"memory.{i}.{key}")
    for name in state:
        if name not in known:
            raise _misfit(name, "has no place here")


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _misfit(name: str, what: str) -> DataError:
    return DataError(
        f"{what}: the checkpoint is one of another configuration or version; delete it to begin "
        "anew",
        field=name,
    )
