"""What both sides of the training benchmark are given: sizes, settings, random rows and random weights."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import (
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    TrainingArguments,
    WhisperFeatureExtractor,
)

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.data.collate import Row
from sottovoce.data.mixture import Part
from sottovoce.models.families import family_of
from sottovoce.models.load import LoadedModel, attention
from sottovoce.recipe import StageSettings, Train
from sottovoce.train.schemes import Stage
from sottovoce.train.stage import training_arguments

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
PAD_ID = 0
INSTRUCTION_TOKENS, ANSWER_TOKENS = 24, 48


@dataclass(frozen=True)
class Job:
    """What is measured: ``num_steps`` steps of ``batch`` rows, of which ``per_device`` are computed at once.

    ``share`` of the rows are speech, of ``seconds`` on average; text and speech alternate.
    """

    config: dict[str, Any]
    num_steps: int
    batch: int
    per_device: int
    share: float
    seconds: float
    bf16: bool
    learning_rate: float
    seed: int = 0

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def settings(self, kind: str) -> Train:
        return Train.model_validate(
            {
                "language_model": kind, "bf16": self.bf16, "per_device_train_batch_size": self.per_device,
                "gradient_accumulation_steps": self.batch // self.per_device, "logging_steps": 1,
            }
        )  # fmt: skip

    def arguments(self, kind: str, folder: str) -> TrainingArguments:
        """Those of a stage of ours, which both sides train with."""
        stage = Stage("benchmark", (Part("text", of="all"),), StageSettings(learning_rate=self.learning_rate))
        arguments = training_arguments(self.settings(kind), stage, Path(folder), self.seed, self.bf16)
        arguments.save_strategy, arguments.report_to = "no", []
        arguments.train_sampling_strategy, arguments.remove_unused_columns = "sequential", False
        return arguments


def rows_of(job: Job) -> list[tuple[Row, Samples | None]]:
    """Random rows in training order, text and speech by turns, with the clip of those that are heard."""
    rng, noise = random.Random(job.seed), np.random.default_rng(job.seed)
    placeholder, vocabulary = job.config["audio_token_index"], job.config["text_config"]["vocab_size"] - 8
    window = 2 * job.config["audio_config"]["max_source_positions"] / 100
    rows = []
    for number in range(job.num_steps * job.batch):
        clip, shown = None, [rng.randrange(1, vocabulary) for _ in range(rng.randint(6, 20))]
        if int((number + 1) * job.share) > int(number * job.share):
            seconds = min(window, rng.uniform(0.5, 1.5) * job.seconds)
            clip = noise.normal(0, 0.1, int(seconds * SAMPLING_RATE)).astype(np.float32)
            shown = [placeholder] * num_tokens(len(clip))
        prompt = shown + [rng.randrange(1, vocabulary) for _ in range(INSTRUCTION_TOKENS)]
        rows.append((Row(prompt, [rng.randrange(1, vocabulary) for _ in range(ANSWER_TOKENS)], None), clip))
    return rows


def num_tokens(num_samples: int) -> int:
    """Audio tokens of a clip, as Qwen2-Audio's processor counts them from mel frames of 10 ms."""
    num_frames = -(-num_samples // 160)
    return ((num_frames - 1) // 2 + 1 - 2) // 2 + 1


def model_of(job: Job) -> LoadedModel:
    """The model with random weights, the same for every call, on the device."""
    config = Qwen2AudioConfig(**job.config)
    torch.manual_seed(job.seed)
    with job.device:
        dtype = torch.bfloat16 if job.bf16 else torch.float32
        model = Qwen2AudioForConditionalGeneration._from_config(config, dtype=dtype, attn_implementation=attention())
    window = 2 * config.audio_config.max_source_positions // 100
    extractor = WhisperFeatureExtractor(feature_size=config.audio_config.num_mel_bins, chunk_length=window)
    processor = SimpleNamespace(feature_extractor=extractor, tokenizer=None)
    return LoadedModel(model.requires_grad_(False).eval(), processor, family_of("qwen2_audio"), job.bf16)
