"""LoRA with its scale on the small side: the product of rank r is scaled in place of the layer's whole output.

W x + s B (A x) = W x + B (s A x): the same, and with a scale that is a power of two the same bits, for fewer passes
over the outputs of all layers, which a small model's step notices.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import nn


def scale_small_side(layer: Any) -> None:
    """Has an adapted layer compute so, if it is plain LoRA on a plain linear layer; any other stays as it is."""
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
