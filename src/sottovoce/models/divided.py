"""A language model split in two: frozen lower layers, computed once per row, and trained upper layers.

The lower layers' states of a row are the same in every epoch, stage and scheme. So they are kept (see
``lower_states``), and training computes only the upper layers, forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from sottovoce.core.errors import UserError
from sottovoce.models.families.base import Family


def require_divisible(family: Family, model: Any, first_layer: int) -> None:
    """Raises UserError if a language model cannot be split into its layers, or has no layer of that number."""
    language = model.get_submodule(family.text_model)
    config, layers = language.config, getattr(language, "layers", ())
    advice = "set train.lora.first_layer: 0"
    if not family.packs or not hasattr(language, "norm"):
        raise UserError(f"the layers of {family.model_type} cannot be computed separately", advice)
    if not set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}:
        raise UserError(f"the layers of this {family.model_type} use different kinds of attention", advice)
    if getattr(config, "embedding_multiplier", 1.0) != 1.0:
        raise UserError(f"{family.model_type} scales the input of its first layer", advice)
    if first_layer >= len(layers):
        raise UserError(f"train.lora.first_layer is {first_layer}, but there are only {len(layers)} layers", advice)


def upper_hidden_states(
    family: Family, base: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, lower_states: torch.Tensor,
    first_layer: int,
) -> torch.Tensor:  # fmt: skip
    """The language model's last hidden states, (batch, length, hidden_size), for rows padded on the right.

    Args:
        lower_states: the input of layer number ``first_layer``, without padding, (num_tokens, hidden_size).
    """
    padded = lower_states.new_zeros(*attention_mask.shape, lower_states.shape[-1])
    padded[attention_mask.bool()] = lower_states
    with _only(base.get_submodule(family.text_model), slice(first_layer, None)):
        return family.hidden_states(base, input_ids, padded, attention_mask)


def lower_hidden_states(
    family: Family, base: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, embeddings: torch.Tensor,
    first_layer: int,
) -> torch.Tensor:  # fmt: skip
    """The input of layer number ``first_layer``, (batch, length, hidden_size), for rows padded on the right."""
    language = base.get_submodule(family.text_model)
    norm = language.norm
    with _only(language, slice(first_layer)):
        language.norm = nn.Identity()
        try:
            return family.hidden_states(base, input_ids, embeddings, attention_mask)
        finally:
            language.norm = norm


@contextmanager
def _only(language: Any, part: slice) -> Iterator[None]:
    """Temporarily leaves the language model only these layers."""
    layers = language.layers
    language.layers = nn.ModuleList(list(layers)[part])
    try:
        yield
    finally:
        language.layers = layers
