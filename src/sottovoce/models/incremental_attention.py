"""Reads a few more tokens per row without copying keys and values: they have room to grow, and heads share them.

transformers copies all keys and values at every step, to append to them and again for each query head that shares them:
in small models this moves far more memory than the step itself.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, Cache
from transformers.cache_utils import DynamicLayer

from sottovoce.models.packed_attention import using_attention

STEPS = "sottovoce_steps"
ROOM = 32  # free positions kept at the end
FEW = 32  # tokens per row; for more, their scores would take too much memory


class PreallocatedCacheLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, (batch, heads, num_places, head_dim), in tensors with room at the end."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._key_room = self._value_room = torch.empty(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends, and returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self._key_room = _appended(self.keys, self._key_room, key_states)
        self.values, self._value_room = _appended(self.values, self._value_room, value_states)
        return self.keys, self.values


def _appended(held: torch.Tensor, room: torch.Tensor, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The old entries followed by the new ones, and the larger tensor that they are the start of."""
    length = held.shape[2] if held.numel() else 0
    end = length + new.shape[2]
    # After selecting or repeating rows, held is no longer the start of room.
    if not length or room.data_ptr() != held.data_ptr() or room.shape[2] < end:
        room = new.new_empty(*new.shape[:2], end + ROOM, new.shape[3])
        if length:
            room[:, :, :length] = held
    room[:, :, length:end] = new
    return room[:, :, :end], room


def preallocated_cache() -> Any:
    """An empty cache of keys and values."""
    return Cache(layer_class_to_replicate=PreallocatedCacheLayer)


def step_attention(language_model: Any) -> AbstractContextManager[None]:
    """Makes the language model's forward take ``bias``, (batch, num_new, num_places): it is added to each new token's
    attention score for each position; a very negative number masks the position.
    """
    return using_attention(STEPS, language_model)


def _attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    scaling: float | None = None, dropout: float = 0.0, *, bias: torch.Tensor, **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """As transformers calls an attention: query (batch, heads, num_new, head_dim), key and value with fewer heads."""
    scale = scaling if scaling is not None else 1 / math.sqrt(query.shape[-1])
    batch, num_queries, num_new, width = query.shape
    if num_new > FEW:
        seen = scaled_dot_product_attention(query, key, value, bias[:, None], scale=scale, enable_gqa=True)
        return seen.transpose(1, 2), None
    num_keys, num_places = key.shape[1:3]
    # b batch, k heads of keys, g heads of queries that share one, q new tokens, l places, d width of a head
    query_bk_gq_d = query.reshape(batch * num_keys, -1, width)
    scores = torch.bmm(query_bk_gq_d, key.flatten(0, 1).transpose(1, 2)) * scale
    scores_b_kg_q_l = scores.view(batch, num_queries, num_new, num_places) + bias[:, None]
    weights = torch.softmax(scores_b_kg_q_l, dim=-1, dtype=torch.float32).to(value.dtype)
    seen = torch.bmm(weights.view(batch * num_keys, -1, num_places), value.flatten(0, 1))
    return seen.view(batch, num_queries, num_new, width).transpose(1, 2), None


AttentionInterface.register(STEPS, _attention)
