"""Voxtral."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_parts import LANGUAGE, WHISPER, Tiny, byte_tokenizer, save, whisper_mel
from transformers import VoxtralConfig, VoxtralForConditionalGeneration, VoxtralProcessor

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

# The processor of transformers knows the placeholder by its id, 24.
SPECIALS = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", *(f"<SPECIAL_{n}>" for n in range(5, 24)), "[AUDIO]"]


def build(folder: Path) -> None:
    tokenizer = byte_tokenizer([*SPECIALS, "[BEGIN_AUDIO]"], eos="</s>", pad="<unk>")
    config = VoxtralConfig(
        audio_config=WHISPER | {"max_source_positions": 100, "intermediate_size": 64, "model_type": "voxtral_encoder"},
        text_config=LANGUAGE | {"vocab_size": len(tokenizer), "model_type": "llama", "head_dim": 16},
        audio_token_id=24,
    )
    save(folder, VoxtralForConditionalGeneration(config), tokenizer, whisper_mel(), None)


def own_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    # The processor's way from text to ids needs mistral-common, its way from clip to mel frames does not.
    processor = VoxtralProcessor(loaded.processor.feature_extractor, loaded.processor.tokenizer)
    settings = processor.audio_kwargs | {"pad_to_multiple_of": 32_000}
    settings.pop("max_source_positions")
    return {"input_features": processor._retrieve_input_features([clip], 200, **settings)}


VOXTRAL = Tiny("voxtral", build, own_inputs, tokens=(25, 25))
