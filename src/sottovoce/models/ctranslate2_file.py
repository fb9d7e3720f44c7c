"""Reads CTranslate2's model.bin and turns a Whisper encoder stored in it into transformers' parameter names."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from sottovoce.errors import UserError

BINARY_VERSION = 6
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_variables(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a CTranslate2 ``model.bin`` (binary version 6), by name.

    The layout, little endian: uint32 version; spec name (uint16 length with the closing zero, bytes); uint32 spec
    revision; uint32 number of variables; each: name, uint8 rank, uint32 dimensions, uint8 type, uint32 bytes, data.
    Aliases that follow the variables are not needed for an encoder and are not read.

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


def whisper_encoder_state(variables: dict[str, torch.Tensor], num_positions: int) -> dict[str, torch.Tensor]:
    """The encoder's state dict in transformers' names, float32, its sinusoidal positions cut to ``num_positions``.

    CTranslate2 stacks query, key and value into one matrix, [3 * d_model, d_model], and stores a zero bias for the
    key, which Whisper does not have.
    """

    def get(name: str) -> torch.Tensor:
        return variables[f"encoder/{name}"].float()

    state = {
        "embed_positions.weight": get("position_encodings/encodings")[:num_positions].clone(),
        "layer_norm.weight": get("layer_norm/gamma"),
        "layer_norm.bias": get("layer_norm/beta"),
    }
    for conv in ("conv1", "conv2"):
        state[f"{conv}.weight"], state[f"{conv}.bias"] = get(f"{conv}/weight"), get(f"{conv}/bias")
    layer = 0
    while f"encoder/layer_{layer}/ffn/linear_0/weight" in variables:
        state |= {f"layers.{layer}.{name}": tensor for name, tensor in _layer_state(get, f"layer_{layer}/").items()}
        layer += 1
    return state


def _layer_state(get, source: str) -> dict[str, torch.Tensor]:  # type: ignore[no-untyped-def]
    state: dict[str, torch.Tensor] = {}
    weights = get(source + "self_attention/linear_0/weight").chunk(3)
    biases = get(source + "self_attention/linear_0/bias").chunk(3)
    for projection, weight, bias in zip(("q_proj", "k_proj", "v_proj"), weights, biases, strict=True):
        state[f"self_attn.{projection}.weight"] = weight.clone()
        if projection != "k_proj":
            state[f"self_attn.{projection}.bias"] = bias.clone()
    linears = {"self_attn.out_proj": "self_attention/linear_1", "fc1": "ffn/linear_0", "fc2": "ffn/linear_1"}
    for name, linear in linears.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = get(f"{source}{linear}/weight"), get(f"{source}{linear}/bias")
    norms = {"self_attn_layer_norm": "self_attention/layer_norm", "final_layer_norm": "ffn/layer_norm"}
    for name, norm in norms.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = get(f"{source}{norm}/gamma"), get(f"{source}{norm}/beta")
    return state
