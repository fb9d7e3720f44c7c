"""The thinkers of Qwen2.5-Omni and Qwen3-Omni."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_parts import CHATML, LANGUAGE, MEL_BINS, Tiny, byte_tokenizer, save, whisper_mel
from transformers import (
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
)

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

SPECIALS = [
    "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|IMAGE|>", "<|VIDEO|>",
    "<|vision_bos|>",
]  # fmt: skip
TEMPLATE = CHATML.replace("AUDIO", "<|audio_bos|><|AUDIO|><|audio_eos|>")
IDS = {"audio_start_token_id": 3, "vision_start_token_id": 7, "user_token_id": 60}
AUDIO = {
    "num_mel_bins": MEL_BINS, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 16,
    "max_source_positions": 200, "output_dim": 32,
}  # fmt: skip
VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}


def thinker_config() -> Qwen2_5OmniThinkerConfig:
    return Qwen2_5OmniThinkerConfig(
        audio_config=AUDIO | {"n_window": 25},
        vision_config=VISION | {"fullatt_block_indexes": [0]},
        text_config=LANGUAGE
        | {"vocab_size": 256 + len(SPECIALS), "rope_parameters": ROPE, "tie_word_embeddings": False},
        **IDS,
        audio_token_index=2,
        image_token_index=5,
        video_token_index=6,
        audio_end_token_id=4,
    )


def build(folder: Path) -> None:
    model = Qwen2_5OmniThinkerForConditionalGeneration(thinker_config())
    save(folder, model, byte_tokenizer(SPECIALS), whisper_mel(chunk_length=6), TEMPLATE)


def build_3(folder: Path) -> None:
    config = Qwen3OmniMoeThinkerConfig(
        audio_config=AUDIO
        | {"n_window": 50, "n_window_infer": 200, "downsample_hidden_size": 4, "max_source_positions": 400},
        vision_config=VISION | {"deepstack_visual_indexes": [0], "num_position_embeddings": 16},
        text_config=LANGUAGE
        | {
            "vocab_size": 256 + len(SPECIALS), "rope_parameters": ROPE, "num_experts": 4, "num_experts_per_tok": 2,
            "moe_intermediate_size": 16, "head_dim": 16,
        },
        **IDS,
        audio_token_id=2,
        image_token_id=5,
        video_token_id=6,
    )  # fmt: skip
    model = Qwen3OmniMoeThinkerForConditionalGeneration(config)
    save(folder, model, byte_tokenizer(SPECIALS), whisper_mel(chunk_length=6), TEMPLATE)


def own_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    # As in Qwen2_5OmniProcessor._process_audio; the processor as a whole needs torchvision.
    features = loaded.processor.feature_extractor(
        [clip], sampling_rate=16_000, padding="max_length", return_attention_mask=True, return_tensors="pt"
    )
    return {"input_features": features["input_features"], "feature_attention_mask": features["attention_mask"]}


QWEN2_5_OMNI = Tiny("qwen2_5_omni", build, own_inputs, tokens=(12, 32))
QWEN3_OMNI = Tiny(
    "qwen3_omni_moe", build_3, own_inputs, tokens=(7, 17), only_lora=("q_proj", "k_proj", "v_proj", "o_proj")
)
