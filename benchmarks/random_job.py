"""Random rows and random weights at the real sizes of a family, or at tiny ones."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from real_sizes import Size
from sides import HeardRow, Job, num_places

from sottovoce.data.audio import SAMPLING_RATE
from sottovoce.data.collate import Row
from sottovoce.models.families.registry import family_of
from sottovoce.models.load import LoadedModel, attention
from sottovoce.study.resources.activations import RowSize
from sottovoce.study.resources.memory import Memory, forecast_memory

INSTRUCTION_TOKENS, ANSWER_TOKENS = 24, 48


@dataclass(frozen=True, kw_only=True)
class RandomJob(Job):
    """A job on a random model of some size; recordings are noise, of ``seconds`` on average.

    ``attention`` is transformers' name of the attention outside of packed rows, None for the one of ``load_model``.
    """

    size: Size
    seconds: float
    attention: str | None = None

    def rows(self, loaded: LoadedModel) -> list[HeardRow]:
        return self.random_rows()

    def random_rows(self) -> list[HeardRow]:
        """The rows, which no model is needed for."""
        rng, noise = random.Random(self.seed), np.random.default_rng(self.seed)
        family, config = family_of(self.size.model_type), self.size.config()
        placeholder, vocabulary = family.audio_token_id(config), min(config.get_text_config().vocab_size, 32_000)
        words = [number for number in range(1, vocabulary) if number != placeholder]
        rows = []
        for number in range(self.num_rows):
            clip, shown = None, rng.choices(words, k=rng.randint(6, 20))
            if self.spoken(number):
                seconds = min(self.size.window_seconds, rng.uniform(0.5, 1.5) * self.seconds)
                clip = noise.normal(0, 0.1, int(seconds * SAMPLING_RATE)).astype(np.float32)
                shown = [placeholder] * num_places(family, len(clip))
            prompt = shown + rng.choices(words, k=INSTRUCTION_TOKENS)
            rows.append((Row(prompt, rng.choices(words, k=ANSWER_TOKENS), None), clip))
        return rows

    def loaded(self) -> LoadedModel:
        """With random weights, the same at every call, on the device."""
        family, config = family_of(self.size.model_type), self.size.config()
        torch.manual_seed(self.seed)
        with self.device:
            model = family.class_of()._from_config(
                config,
                dtype=torch.bfloat16 if self.bf16 else torch.float32,
                attn_implementation=self.attention or attention(),
            )
        model.to(self.device)  # what a class makes on the CPU whatever it is asked for
        return LoadedModel(model.requires_grad_(False).eval(), self.processor(config), family, self.bf16)

    def processor(self, config: Any) -> Any:
        """What stands for the processor: a tokenizer without words, whose end of turn is never chosen."""
        tokenizer = SimpleNamespace(
            pad_token_id=0, eos_token_id=-1, unk_token_id=None, convert_tokens_to_ids=lambda token: None
        )
        placeholder = family_of(self.size.model_type).audio_token_id(config)
        extractor = self.size.extractor(config)
        return SimpleNamespace(feature_extractor=extractor, tokenizer=tokenizer, audio_token_id=placeholder)

    def forecast(self, kind: str) -> Memory:
        """What ``plan-memory`` says of a step of our side. Of speech it counts the longest row."""
        with tempfile.TemporaryDirectory() as folder:
            self.size.config().save_pretrained(folder)
            longest = max(len(row) for row, _ in self.random_rows())
            return forecast_memory(folder, self.settings(kind), RowSize(longest, ANSWER_TOKENS))
