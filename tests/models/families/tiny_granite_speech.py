"""Granite Speech."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tiny_parts import LANGUAGE, Tiny, byte_tokenizer, save
from transformers import GraniteSpeechConfig, GraniteSpeechForConditionalGeneration

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

SPECIALS = ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"]
# Content is one string, with the placeholder in it.
TEMPLATE = (
    "{% for message in messages %}<|start_of_role|>{{ message['role'] }}<|end_of_role|>{{ message['content'] }}"
    "<|end_of_text|>\n{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)


class Mel:
    """Writes what ``GraniteSpeechFeatureExtractor`` would write, without torchaudio."""

    def save_pretrained(self, folder: Path) -> None:
        settings: dict[str, Any] = {
            "feature_extractor_type": "GraniteSpeechFeatureExtractor",
            "sampling_rate": 16_000,
            "melspec_kwargs": {"hop_length": 160, "n_fft": 512, "n_mels": 8, "sample_rate": 16_000, "win_length": 400},
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def build(folder: Path) -> None:
    tokenizer = byte_tokenizer(SPECIALS, eos="<|end_of_text|>", last=["<|audio|>"])
    save(folder, GraniteSpeechForConditionalGeneration(config(len(tokenizer))), tokenizer, Mel(), TEMPLATE)


def config(vocab_size: int) -> GraniteSpeechConfig:
    return GraniteSpeechConfig(
        encoder_config={
            "input_dim": 16, "num_layers": 2, "hidden_dim": 16, "feedforward_mult": 2, "num_heads": 2, "dim_head": 8,
            "output_dim": 8, "context_size": 20, "max_pos_emb": 32, "conv_kernel_size": 3,
        },
        projector_config={
            "model_type": "blip_2_qformer", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "encoder_hidden_size": 16,
        },
        # The placeholder is the first token beyond the language model's vocabulary.
        text_config=LANGUAGE | {"vocab_size": vocab_size - 1, "model_type": "granite", "tie_word_embeddings": True},
        audio_token_index=vocab_size - 1,
        has_lora_adapter=False,
        initializer_range=0.02,
    )  # fmt: skip


def own_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    # transformers' extractor needs torchaudio; that the mel frames are its own is tested where that is installed.
    inputs = loaded.family.audio_inputs(loaded.processor, clip)
    encoder_length = (len(clip) // 160 + 1) // 2
    return inputs | {"input_features_mask": torch.ones(1, -(-encoder_length // 15) * 3, dtype=torch.bool)}


GRANITE_SPEECH = Tiny("granite_speech", build, own_inputs, tokens=(6, 15))
