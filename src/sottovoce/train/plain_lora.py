"""LoRA that applies its scale to the rank-r product instead of the layer's whole output.

W x + s B (A x) = W x + B (s A x): the same, and bit for bit if the scale is a power of two, with fewer passes over the
outputs of all layers, which speeds up a small model's step noticeably.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import nn


def scale_small_side(layer: Any) -> None:
    """Makes an adapted layer scale the small product, if it is plain LoRA on a plain linear layer."""
    plain = type(layer) is Linear and type(layer.base_layer) is nn.Linear and not layer.lora_variant
    if plain and all(isinstance(dropout, nn.Identity) for dropout in layer.lora_dropout.values()):
        layer.forward = MethodType(_forward, layer)


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    if layer.disable_adapters or layer.merged or args or kwargs or len(layer.active_adapters) != 1:
        found: torch.Tensor = Linear.forward(layer, x, *args, **kwargs)
        return found
    (name,) = layer.active_adapters
    result: torch.Tensor = layer.base_layer(x)
    small = layer.lora_A[name](layer._cast_input_dtype(x, layer.lora_A[name].weight.dtype)) * layer.scaling[name]
    adapted: torch.Tensor = result + layer.lora_B[name](small)
    return adapted.to(result.dtype)
