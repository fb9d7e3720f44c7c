"""Rows without padding: one long sequence for everything that works token by token, separate rows only for attention.

A language model's linear layers take most of the time and treat each token by itself, so padding is removed before the
first layer and restored after the last. Attention is causal within each row; the result is that of the padded rows,
except for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.nn.functional import dropout as dropped
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

PACKED = "sottovoce_packed"
TOKEN_STEP = 16  # limits the number of lengths: a CPU compiles its matrix products anew for each


@dataclass(frozen=True)
class Packing:
    """Maps padded rows to one sequence, and back.

    Args:
        shape: of the padded rows, (batch, length).
        taken: for each place in the sequence, which of the batch * length positions it holds, (num_places,). The last
            places fill the sequence up to a multiple of ``TOKEN_STEP``, unless that is longer than the padded rows, and
            repeat the first position.
        places: for each of the batch * length positions, its place in the sequence; for padding, the first place.
        within_row: for each place in the sequence, how many tokens precede it in its row, (num_places,).
    """

    shape: tuple[int, int]
    taken: torch.Tensor
    places: torch.Tensor
    within_row: torch.Tensor

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """(batch, length, width) to (1, num_places, width)."""
        return padded.flatten(0, 1).index_select(0, self.taken).unsqueeze(0)

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """(1, num_places, width) to (batch, length, width); values at padding are meaningless."""
        return packed[0].index_select(0, self.places).view(*self.shape, packed.shape[-1])

    def unpack_heads(self, packed: torch.Tensor) -> torch.Tensor:
        """(1, heads, num_places, width) to (batch, heads, length, width), the layout of key-value caches."""
        (batch, length), (_, num_heads, _, width) = self.shape, packed.shape
        return packed[0].index_select(1, self.places).view(num_heads, batch, length, width).transpose(0, 1)


def packing_of(attention_mask: torch.Tensor) -> Packing:
    """How to pack rows that are padded on the right.

    Args:
        attention_mask: 1 for tokens, 0 for padding, (batch, length).
    """
    held = attention_mask.flatten().nonzero()[:, 0]
    num_fillers = num_places(len(held), attention_mask.numel()) - len(held)
    taken = torch.cat([held, held.new_zeros(num_fillers)])
    places = attention_mask.new_zeros(attention_mask.numel(), dtype=torch.long)
    places[held] = torch.arange(len(held), device=held.device)
    batch, length = attention_mask.shape
    return Packing((batch, length), taken, places, taken % length)


def num_places(num_tokens: int, num_positions: int) -> int:
    """The length of the sequence that packs ``num_tokens`` tokens of ``num_positions`` padded positions."""
    return min(-(-num_tokens // TOKEN_STEP) * TOKEN_STEP, num_positions)


def packed_attention(language_model: Any) -> AbstractContextManager[None]:
    """Makes the language model's forward, if given ``packing``, attend within each row."""
    return using_attention(PACKED, language_model)


@contextmanager
def using_attention(name: str, language_model: Any) -> Iterator[None]:
    """Makes the language model use the attention registered under this name, without transformers' masks."""
    before = language_model.config._attn_implementation
    language_model.config._attn_implementation = name
    try:
        yield
    finally:
        language_model.config._attn_implementation = before


def checkpoint_contexts(language_model: Any) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """A ``context_fn`` for ``torch.utils.checkpoint``: contexts for a layer's forward pass and for its recomputation in
    the backward pass, when :func:`packed_attention` is no longer active."""
    packed = language_model.config._attn_implementation == PACKED
    return nullcontext(), packed_attention(language_model) if packed else nullcontext()


def _attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    scaling: float | None = None, dropout: float = 0.0, *, packing: Packing, **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """As transformers calls an attention: query (1, heads, num_places, head_dim), key and value with fewer heads."""
    scale = scaling if scaling is not None else 1 / math.sqrt(query.shape[-1])
    # b batch, l length, k heads of keys, g heads of queries that share one, d width of a head
    num_keys, width = key.shape[1], key.shape[-1]
    query_blkgd, key_blkd, value_blkd = (
        states[0].transpose(0, 1).index_select(0, packing.places).view(*packing.shape, num_keys, *heads, width)
        for states, heads in ((query, (query.shape[1] // num_keys,)), (key, ()), (value, ()))
    )
    # On a CPU, only the backward pass of the fused kernels is slower.
    attend = _fused if query.is_cuda or not torch.is_grad_enabled() else _plain
    seen_blkgd = attend(query_blkgd, key_blkd, value_blkd, scale, dropout if module.training else 0.0)
    return seen_blkgd.flatten(2, 3).flatten(0, 1).index_select(0, packing.taken).unsqueeze(0), None


def _plain(
    query_blkgd: torch.Tensor, key_blkd: torch.Tensor, value_blkd: torch.Tensor, scale: float, dropout: float
) -> torch.Tensor:
    """Matrix products: on a CPU, the fastest backward pass for rows as short as a command."""
    (batch, length, num_keys, num_shared, width) = query_blkgd.shape
    query = query_blkgd.permute(0, 2, 3, 1, 4).reshape(batch * num_keys, num_shared * length, width)
    key, value = (states.transpose(1, 2).reshape(batch * num_keys, length, width) for states in (key_blkd, value_blkd))
    hidden = _hidden(length, num_shared, query.dtype, query.device)
    scores = torch.bmm(query, key.transpose(1, 2)) * scale + hidden
    weights = dropped(torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype), dropout)
    return torch.bmm(weights, value).view(batch, num_keys, num_shared, length, width).permute(0, 3, 1, 2, 4)


@lru_cache(maxsize=8)  # shared by all layers of a step; batches have few different lengths
def _hidden(length: int, num_shared: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The causal mask added to scores, (num_shared * length, length): minus infinity for later tokens."""
    return torch.full((length, length), -math.inf, dtype=dtype, device=device).triu(1).repeat(num_shared, 1)


def _fused(
    query_blkgd: torch.Tensor, key_blkd: torch.Tensor, value_blkd: torch.Tensor, scale: float, dropout: float
) -> torch.Tensor:
    """Torch's fused kernels."""
    query = query_blkgd.flatten(2, 3).transpose(1, 2)
    key, value = key_blkd.transpose(1, 2), value_blkd.transpose(1, 2)
    seen = scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=True
    )
    return seen.transpose(1, 2).reshape(query_blkgd.shape)


AttentionInterface.register(PACKED, _attention)
