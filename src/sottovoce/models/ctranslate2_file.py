"""Reads CTranslate2's model.bin and gives the Whisper stored in it transformers' parameter names."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from sottovoce.core.errors import UserError

BINARY_VERSION = 6
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_variables(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a CTranslate2 ``model.bin`` (binary version 6), by name.

    The layout, little endian: uint32 version; spec name (uint16 length with the closing zero, bytes); uint32 spec
    revision; uint32 number of variables; each: name, uint8 rank, uint32 dimensions, uint8 type, uint32 bytes, data.
    Aliases that follow the variables are not needed for Whisper and are not read.

    Raises:
        UserError: another version, an unknown type, or a file cut short.
    """
    with path.open("rb") as stream:
        try:
            (version,) = struct.unpack("<I", stream.read(4))
            if version != BINARY_VERSION:
                raise UserError(f"{path}: CTranslate2 binary version {version} is not {BINARY_VERSION}")
            _name(stream)
            _revision, num_variables = struct.unpack("<II", stream.read(8))
            return dict(_variable(stream, path) for _ in range(num_variables))
        except (struct.error, ValueError) as error:
            raise UserError(f"{path}: the file is cut short or damaged", "delete it and fetch it again") from error


def _name(stream: BinaryIO) -> str:
    (length,) = struct.unpack("<H", stream.read(2))
    return stream.read(length)[:-1].decode()


def _variable(stream: BinaryIO, path: Path) -> tuple[str, torch.Tensor]:
    name = _name(stream)
    (rank,) = struct.unpack("<B", stream.read(1))
    shape = struct.unpack(f"<{rank}I", stream.read(4 * rank))
    code, num_bytes = struct.unpack("<BI", stream.read(5))
    if code not in _DTYPES:
        raise UserError(f"{path}: {name} has the unknown data type {code}")
    values = np.frombuffer(stream.read(num_bytes), _DTYPES[code]).reshape(shape)
    return name, torch.from_numpy(values.copy())


def whisper_state(variables: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of transformers' ``WhisperModel``, float32.

    CTranslate2 stacks query, key and value of self-attention into one matrix, [3 * d_model, d_model], key and value of
    cross-attention into another, [2 * d_model, d_model], and stores a zero bias for the key, which Whisper lacks.
    """
    state = {
        "encoder.embed_positions.weight": variables["encoder/position_encodings/encodings"],
        "decoder.embed_positions.weight": variables["decoder/position_encodings/encodings"],
        "decoder.embed_tokens.weight": variables["decoder/embeddings/weight"],
    }
    for conv in ("conv1", "conv2"):
        state |= _renamed(variables, f"encoder/{conv}", f"encoder.{conv}")
    for part in ("encoder", "decoder"):
        state |= _renamed(variables, f"{part}/layer_norm", f"{part}.layer_norm")
        number = 0
        while f"{part}/layer_{number}/ffn/linear_0/weight" in variables:
            state |= _layer_state(variables, f"{part}/layer_{number}", f"{part}.layers.{number}")
            number += 1
    return {name: tensor.float() for name, tensor in state.items()}


def _layer_state(variables: dict[str, torch.Tensor], source: str, target: str) -> dict[str, torch.Tensor]:
    """One layer's; only a decoder's has cross-attention."""
    state = _attention(variables, f"{source}/self_attention", f"{target}.self_attn", [3])
    if f"{source}/attention/linear_0/weight" in variables:
        state |= _attention(variables, f"{source}/attention", f"{target}.encoder_attn", [1, 2])
    for linear, name in (("linear_0", "fc1"), ("linear_1", "fc2")):
        state |= _renamed(variables, f"{source}/ffn/{linear}", f"{target}.{name}")
    return state | _renamed(variables, f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")


def _attention(
    variables: dict[str, torch.Tensor], source: str, target: str, stacks: list[int]
) -> dict[str, torch.Tensor]:
    """One attention's; ``stacks`` is how many of query, key and value each matrix before the last one holds."""
    parts: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number, size in enumerate(stacks):
        weights, biases = (variables[f"{source}/linear_{number}/{kind}"].chunk(size) for kind in ("weight", "bias"))
        parts += zip(weights, biases, strict=True)
    state = {}
    for name, (weight, bias) in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
        state[f"{target}.{name}.weight"] = weight.clone()
        if name != "k_proj":
            state[f"{target}.{name}.bias"] = bias.clone()
    state |= _renamed(variables, f"{source}/linear_{len(stacks)}", f"{target}.out_proj")
    return state | _renamed(variables, f"{source}/layer_norm", f"{target}_layer_norm")


def _renamed(variables: dict[str, torch.Tensor], source: str, target: str) -> dict[str, torch.Tensor]:
    """Weight and bias of a linear layer, a convolution or a layer norm."""
    kinds = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
    found = {kind: variables.get(f"{source}/{kind}") for kind in kinds}
    return {f"{target}.{kinds[kind]}": tensor for kind, tensor in found.items() if tensor is not None}
