"""Phi-4-multimodal."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_parts import LANGUAGE, Tiny, byte_tokenizer, save
from transformers import Phi4MultimodalConfig, Phi4MultimodalFeatureExtractor, Phi4MultimodalForCausalLM

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

SPECIALS = ["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|audio|>", "<|image|>"]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build(folder: Path) -> None:
    tokenizer = byte_tokenizer(SPECIALS, eos="<|endoftext|>")
    config = Phi4MultimodalConfig(
        **LANGUAGE,
        vocab_size=len(tokenizer),
        audio_config={
            "hidden_size": 16, "intermediate_size": 16, "num_blocks": 1, "num_attention_heads": 2,
            "ext_pw_out_channel": 16, "depthwise_separable_out_channel": 16, "nemo_conv_channels": 4,
            "audio_token_id": 4, "bias_max_distance": 20,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 28, "crop_size": 28, "image_token_id": 5,
        },
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )  # fmt: skip
    save(folder, Phi4MultimodalForCausalLM(config), tokenizer, Phi4MultimodalFeatureExtractor(), TEMPLATE)


def own_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    # The processor as a whole needs an image processor, and with it torchvision.
    return dict(loaded.processor.feature_extractor(clip, sampling_rate=16_000, return_tensors="pt"))


PHI4_MULTIMODAL = Tiny(
    "phi4_multimodal", build, own_inputs, tokens=(6, 16), only_lora=("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
)
