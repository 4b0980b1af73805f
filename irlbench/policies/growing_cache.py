"""A key-value cache that grows by doubling: appending a token copies nothing but that token."""

from __future__ import annotations

from typing import Any

# Imported late, by the one policy that has a cache.
import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253
from transformers import DynamicCache  # noqa: TID253
from transformers.cache_utils import DynamicLayer  # noqa: TID253


class GrowingLayer(DynamicLayer):
    """Keys and values of one attention layer, `[batch, heads, slots, head dimension]`."""

    _stored: tuple[Tensor, Tensor] | None = None
    _slots = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Appends new slots.

        Args:
            key_states: `[batch, heads, new slots, head dimension]`.
            value_states: Of the same shape.
            args: Not used; what other kinds of cache are given.
            kwargs: Not used.

        Returns:
            All keys and all values; views of the storage.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        needed = self._slots + key_states.shape[-2]
        if self._stored is None or needed > self._stored[0].shape[-2]:
            self._stored = (
                self._grown(0, key_states, needed),
                self._grown(1, value_states, needed),
            )
        keys, values = self._stored
        keys[..., self._slots : needed, :] = key_states
        values[..., self._slots : needed, :] = value_states
        self._slots = needed
        self.keys, self.values = keys[..., :needed, :], values[..., :needed, :]
        return self.keys, self.values

    def _grown(self, which: int, like: Tensor, needed: int) -> Tensor:
        *shape, _, last = like.shape
        room = torch.empty(
            (*shape, max(2 * needed, 64), last), dtype=like.dtype, device=like.device
        )
        if self._stored is not None:
            room[..., : self._slots, :] = self._stored[which][..., : self._slots, :]
        return room


def growing_cache(config: Any) -> DynamicCache:
    """An empty cache for a model; layers that are not plain full attention stay as they are.

    Args:
        config: The model's configuration.
    """
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(x) is DynamicLayer else x for x in cache.layers]
    return cache
