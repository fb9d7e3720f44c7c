"""Random rows and random weights of Qwen2-Audio's classes, at any size."""

from __future__ import annotations

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sides import HeardRow, Job, num_places
from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

from sottovoce.data.audio import SAMPLING_RATE
from sottovoce.data.collate import Row
from sottovoce.models.families.registry import family_of
from sottovoce.models.load import LoadedModel, attention

# Of Qwen/Qwen2-Audio-7B-Instruct, written down by hand; what is not here is the default of its configuration.
SEVEN_B = {
    "audio_config": {"num_mel_bins": 128, "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20,
                     "encoder_ffn_dim": 5120, "max_source_positions": 1500},
    "text_config": {"model_type": "qwen2", "vocab_size": 156_032, "hidden_size": 4096, "intermediate_size": 11_008,
                    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32},
    "audio_token_index": 151_646,
}  # fmt: skip
TINY = {
    "audio_config": {"num_mel_bins": 16, "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2,
                     "encoder_ffn_dim": 64, "max_source_positions": 100},
    "text_config": {"model_type": "qwen2", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 96,
                    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
    "audio_token_index": 511,
}  # fmt: skip
INSTRUCTION_TOKENS, ANSWER_TOKENS = 24, 48


@dataclass(frozen=True, kw_only=True)
class RandomJob(Job):
    """A job on a random model of ``config``'s sizes; recordings are noise, of ``seconds`` on average."""

    config: dict[str, Any]
    seconds: float

    def rows(self, loaded: LoadedModel) -> list[HeardRow]:
        return self.random_rows()

    def random_rows(self) -> list[HeardRow]:
        """The rows, which no model is needed for."""
        rng, noise = random.Random(self.seed), np.random.default_rng(self.seed)
        placeholder, vocabulary = self.config["audio_token_index"], self.config["text_config"]["vocab_size"] - 8
        window = 2 * self.config["audio_config"]["max_source_positions"] / 100
        rows = []
        for number in range(self.num_rows):
            clip, shown = None, [rng.randrange(1, vocabulary) for _ in range(rng.randint(6, 20))]
            if self.spoken(number):
                seconds = min(window, rng.uniform(0.5, 1.5) * self.seconds)
                clip = noise.normal(0, 0.1, int(seconds * SAMPLING_RATE)).astype(np.float32)
                shown = [placeholder] * num_places(family_of("qwen2_audio"), len(clip))
            prompt = shown + [rng.randrange(1, vocabulary) for _ in range(INSTRUCTION_TOKENS)]
            rows.append((Row(prompt, [rng.randrange(1, vocabulary) for _ in range(ANSWER_TOKENS)], None), clip))
        return rows

    def loaded(self) -> LoadedModel:
        """With random weights, the same at every call, on the device."""
        config = Qwen2AudioConfig(**self.config)
        torch.manual_seed(self.seed)
        with self.device:
            dtype = torch.bfloat16 if self.bf16 else torch.float32
            model = Qwen2AudioForConditionalGeneration._from_config(
                config, dtype=dtype, attn_implementation=attention()
            )
        window = 2 * config.audio_config.max_source_positions // 100
        extractor = WhisperFeatureExtractor(feature_size=config.audio_config.num_mel_bins, chunk_length=window)
        processor = SimpleNamespace(feature_extractor=extractor, tokenizer=SimpleNamespace(pad_token_id=0))
        return LoadedModel(model.requires_grad_(False).eval(), processor, family_of("qwen2_audio"), self.bf16)
