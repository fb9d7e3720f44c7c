"""GLM-ASR."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_parts import LANGUAGE, WHISPER, Tiny, byte_tokenizer, save, whisper_mel
from transformers import GlmAsrConfig, GlmAsrForConditionalGeneration, GlmAsrProcessor

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

SPECIALS = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|begin_of_audio|>", "<|end_of_audio|>", "<|pad|>"]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|begin_of_audio|><|pad|><|end_of_audio|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def build(folder: Path) -> None:
    tokenizer = byte_tokenizer(SPECIALS, eos="<|endoftext|>")
    config = GlmAsrConfig(
        # four states make one audio token: intermediate_size is 4 * hidden_size
        audio_config=WHISPER
        | {"intermediate_size": 64, "max_position_embeddings": 100, "model_type": "glmasr_encoder"},
        text_config=LANGUAGE
        | {"vocab_size": len(tokenizer), "model_type": "llama", "eos_token_id": 0, "head_dim": 16, "pad_token_id": 0},
        audio_token_id=5,
    )
    save(folder, GlmAsrForConditionalGeneration(config), tokenizer, whisper_mel(), TEMPLATE)


def own_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    processor = GlmAsrProcessor(loaded.processor.feature_extractor, loaded.processor.tokenizer)
    return dict(processor(text=prompt, audio=[clip]))


GLM_ASR = Tiny("glmasr", build, own_inputs, tokens=(6, 16))
