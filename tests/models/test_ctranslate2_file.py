from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperModel

from sottovoce.core.errors import UserError
from sottovoce.models.ctranslate2_file import read_variables, whisper_state

CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def named(name: str) -> bytes:
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def variable(name: str, values: np.ndarray, code: int | None = None) -> bytes:
    shape = struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
    kind = CODES[values.dtype.name] if code is None else code
    return named(name) + shape + struct.pack("<BI", kind, values.nbytes) + values.tobytes()


def binary(*variables: bytes, version: int = 6) -> bytes:
    aliases = struct.pack("<I", 0)
    return struct.pack("<I", version) + named("WhisperSpec") + struct.pack("<II", 3, len(variables)) + (
        b"".join(variables) + aliases
    )  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


@pytest.mark.parametrize("dtype", CODES)
def test_values_shape_and_type_come_back(file: Path, dtype: str) -> None:
    first, second = np.arange(6).reshape(2, 3).astype(dtype), np.array([7, -8]).astype(dtype)
    file.write_bytes(binary(variable("a/weight", first), variable("b", second)))
    found = read_variables(file)
    assert list(found) == ["a/weight", "b"]
    assert np.array_equal(found["a/weight"].numpy(), first) and found["a/weight"].numpy().dtype == first.dtype
    assert np.array_equal(found["b"].numpy(), second)


def test_scalars_are_read(file: Path) -> None:
    file.write_bytes(binary(variable("scale", np.array(2.5, np.float32)), variable("b", np.ones(1, np.float32))))
    found = read_variables(file)
    assert found["scale"].shape == () and found["scale"].item() == 2.5


def test_another_version_is_refused(file: Path) -> None:
    file.write_bytes(binary(version=5))
    with pytest.raises(UserError, match=r"model\.bin: CTranslate2 binary version 5 is not 6"):
        read_variables(file)


def test_an_unknown_type_is_refused_by_name(file: Path) -> None:
    file.write_bytes(binary(variable("odd", np.ones(2, np.float32), code=9)))
    with pytest.raises(UserError, match="odd has the unknown data type 9"):
        read_variables(file)


def test_a_file_cut_short_anywhere_is_refused(file: Path) -> None:
    whole = binary(variable("a", np.ones((2, 2), np.float32)), variable("b", np.ones(3, np.float32)))
    for length in range(len(whole) - 4):  # the last four bytes count the aliases, which are not read
        file.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut short"):
            read_variables(file)


def tiny_whisper() -> WhisperModel:
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=30, num_mel_bins=8, d_model=16, encoder_layers=2, decoder_layers=3, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_source_positions=20,
        max_target_positions=12, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    return WhisperModel(config)


def stored(whisper: WhisperModel) -> dict[str, torch.Tensor]:
    """The weights under CTranslate2's names."""
    found = {
        "encoder/position_encodings/encodings": whisper.encoder.embed_positions.weight,
        "decoder/position_encodings/encodings": whisper.decoder.embed_positions.weight,
        "decoder/embeddings/weight": whisper.decoder.embed_tokens.weight,
    }
    plain = {"encoder/conv1": whisper.encoder.conv1, "encoder/conv2": whisper.encoder.conv2}
    norms = {"encoder/layer_norm": whisper.encoder.layer_norm, "decoder/layer_norm": whisper.decoder.layer_norm}
    for part in ("encoder", "decoder"):
        for number, layer in enumerate(getattr(whisper, part).layers):
            prefix, own = f"{part}/layer_{number}", layer.self_attn
            projections = (own.q_proj.weight, own.k_proj.weight, own.v_proj.weight)
            found[f"{prefix}/self_attention/linear_0/weight"] = torch.cat(projections)
            biases = (own.q_proj.bias, torch.zeros(16), own.v_proj.bias)
            found[f"{prefix}/self_attention/linear_0/bias"] = torch.cat(biases)
            plain[f"{prefix}/self_attention/linear_1"] = own.out_proj
            norms[f"{prefix}/self_attention/layer_norm"] = layer.self_attn_layer_norm
            if part == "decoder":
                cross = layer.encoder_attn
                both = torch.cat([cross.k_proj.weight, cross.v_proj.weight])
                found[f"{prefix}/attention/linear_1/weight"] = both
                found[f"{prefix}/attention/linear_1/bias"] = torch.cat([torch.zeros(16), cross.v_proj.bias])
                plain |= {f"{prefix}/attention/linear_0": cross.q_proj, f"{prefix}/attention/linear_2": cross.out_proj}
                norms[f"{prefix}/attention/layer_norm"] = layer.encoder_attn_layer_norm
            plain |= {f"{prefix}/ffn/linear_0": layer.fc1, f"{prefix}/ffn/linear_1": layer.fc2}
            norms[f"{prefix}/ffn/layer_norm"] = layer.final_layer_norm
    for name, module in plain.items():
        found[f"{name}/weight"], found[f"{name}/bias"] = module.weight, module.bias
    for name, module in norms.items():
        found[f"{name}/gamma"], found[f"{name}/beta"] = module.weight, module.bias
    return found


def test_a_stored_whisper_becomes_the_same_transformers_whisper(file: Path) -> None:
    source = tiny_whisper()
    for parameter in source.parameters():
        parameter.data.normal_()
    file.write_bytes(binary(*(variable(name, tensor.detach().numpy()) for name, tensor in stored(source).items())))
    copy = tiny_whisper()
    copy.load_state_dict(whisper_state(read_variables(file)), strict=True)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, copy.state_dict()[name]), name


def test_half_precision_weights_come_out_in_float32() -> None:
    halves = {name: tensor.detach().half() for name, tensor in stored(tiny_whisper()).items()}
    assert {tensor.dtype for tensor in whisper_state(halves).values()} == {torch.float32}
