"""Audio Flamingo 3 and Music Flamingo."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_parts import CHATML, LANGUAGE, WHISPER, Tiny, byte_tokenizer, save, whisper_mel
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    MusicFlamingoConfig,
    MusicFlamingoForConditionalGeneration,
    MusicFlamingoProcessor,
)

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

SPECIALS = ["<|im_start|>", "<|im_end|>", "<sound>", "<|sound_bos|>", "<|sound_eos|>"]
TEMPLATE = CHATML.replace("AUDIO", "<sound>")
AUDIO = WHISPER | {"max_source_positions": 100, "intermediate_size": 32}


def build_audio_flamingo(folder: Path) -> None:
    tokenizer = byte_tokenizer(SPECIALS)
    config = AudioFlamingo3Config(
        audio_config=AUDIO | {"model_type": "audioflamingo3_encoder"},
        text_config=LANGUAGE | {"vocab_size": len(tokenizer), "model_type": "qwen2"},
        audio_token_id=2,
    )
    save(folder, AudioFlamingo3ForConditionalGeneration(config), tokenizer, whisper_mel(), TEMPLATE)


def build_music_flamingo(folder: Path) -> None:
    tokenizer = byte_tokenizer(SPECIALS)
    config = MusicFlamingoConfig(
        audio_config=AUDIO | {"model_type": "audioflamingo3_encoder"},
        text_config=LANGUAGE | {"vocab_size": len(tokenizer), "model_type": "qwen2"},
        audio_token_id=2,
        audio_bos_token_id=3,
        audio_eos_token_id=4,
    )
    save(folder, MusicFlamingoForConditionalGeneration(config), tokenizer, whisper_mel(), TEMPLATE)


def audio_flamingo_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    parts = loaded.processor
    processor = AudioFlamingo3Processor(parts.feature_extractor, parts.tokenizer)
    return dict(processor(text=prompt, audio=[clip]))


def music_flamingo_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    parts = loaded.processor
    processor = MusicFlamingoProcessor(parts.feature_extractor, parts.tokenizer)
    bare = prompt.replace("<|sound_bos|>", "").replace("<|sound_eos|>", "")  # the processor adds them itself
    return dict(processor(text=bare, audio=[clip]))


AUDIO_FLAMINGO = Tiny("audioflamingo3", build_audio_flamingo, audio_flamingo_inputs, tokens=(12, 32))
MUSIC_FLAMINGO = Tiny("musicflamingo", build_music_flamingo, music_flamingo_inputs, tokens=(12, 32))
