"""Sums and means that padding has no part in, and the check of shapes that all objectives share."""

from __future__ import annotations

from torch import Tensor


def check_shapes(**tensors: Tensor) -> None:
    """Refuses tensors that would be broadcast against each other.

    Args:
        tensors: By the names that the error gives them.

    Raises:
        ValueError: If two shapes differ.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"these must have one shape, got {found}")


def without_padding(values: Tensor, mask: Tensor) -> Tensor:
    """Values with 0 in padding, where they may be infinite or NaN and get no gradient.

    Zeroing comes first, not last: a zero gradient times an infinite slope would be NaN.

    Args:
        values: Any shape.
        mask: 0 in padding; the shape of `values`.

    Returns:
        The same shape.
    """
    check_shapes(values=values, mask=mask)
    return values.masked_fill(mask == 0, 0.0)


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the last axis, weighted by a mask.

    Args:
        values: `[..., time]`; not read where the mask is 0.
        mask: 1 where a value counts, 0 in padding; any other number is a weight. `[..., time]`.

    Returns:
        `[...]`.
    """
    return (without_padding(values, mask) * mask).sum(dim=-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over everything that the mask counts, whatever the lengths of the sequences.

    Args:
        values: Any shape; not read where the mask is 0.
        mask: 1 where a value counts, 0 in padding; any other number is a weight (of an occupancy
            measure, say). The shape of `values`; not all zero.

    Returns:
        A scalar.
    """
    return (without_padding(values, mask) * mask).sum() / mask.sum()
