"""Qwen3-ASR, which has no entry of its own: it goes the generic way."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_parts import CHATML, LANGUAGE, MEL_BINS, Tiny, byte_tokenizer, save
from transformers import Qwen3ASRConfig, Qwen3ASRFeatureExtractor, Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

SPECIALS = ["<|im_start|>", "<|im_end|>", "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>"]
TEMPLATE = CHATML.replace("AUDIO", "<|audio_start|><|audio_pad|><|audio_end|>")


def build(folder: Path) -> None:
    tokenizer = byte_tokenizer(
        SPECIALS, audio_token="<|audio_pad|>", audio_bos_token="<|audio_start|>", audio_eos_token="<|audio_end|>"
    )
    config = Qwen3ASRConfig(
        audio_config={
            "model_type": "qwen3_asr_encoder", "num_mel_bins": MEL_BINS, "encoder_layers": 1,
            "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 16, "output_dim": 32,
            "n_window_infer": 200, "downsample_hidden_size": 4,
        },
        text_config=LANGUAGE
        | {"vocab_size": len(tokenizer), "model_type": "qwen3", "head_dim": 16, "pad_token_id": 1, "eos_token_id": 1},
        audio_token_id=2,
        timestamp_token_id=4,
        pad_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    extractor = Qwen3ASRFeatureExtractor(feature_size=MEL_BINS)
    model = Qwen3ASRForConditionalGeneration(config)
    save(folder, model, tokenizer, Qwen3ASRProcessor(extractor, tokenizer, chat_template=TEMPLATE), None)


def own_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    return dict(loaded.processor.own(text=[prompt], audio=[clip]))


QWEN3_ASR = Tiny("qwen3_asr", build, own_inputs, tokens=(7, 17))
