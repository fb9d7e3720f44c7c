"""The embedded model on the built-in corpus, with the quickstart's settings (recipes/quickstart.yaml)."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from sides import HeardRow, Job, num_places

from sottovoce.core.types import Example
from sottovoce.data.audio import SAMPLING_RATE, load_audio
from sottovoce.data.collate import tokenize
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import slu_example
from sottovoce.models.load import LoadedModel, load_model


@dataclass(frozen=True, kw_only=True)
class HomeJob(Job):
    """Training utterances of a language, drawn by the seed; ``share`` of them as speech, the others as text."""

    locale: str = "en-US"

    def loaded(self) -> LoadedModel:
        return load_model("embedded", self.bf16)

    def rows(self, loaded: LoadedModel) -> list[HeardRow]:
        train = [u for u in read_manifest(home_manifest(self.locale)) if u.split == "train" and u.audio is not None]
        drawn = random.Random(self.seed).sample(train, self.num_rows)
        return [self._row(slu_example(u, "speech" if self.spoken(n) else "text"), loaded) for n, u in enumerate(drawn)]

    def _row(self, example: Example, loaded: LoadedModel) -> HeardRow:
        if example.modality == "text":
            return tokenize(example, loaded.processor, None), None
        clip = load_audio(example.utterance.audio or Path(), example.utterance.where)
        clip = clip[: int(loaded.window_seconds * SAMPLING_RATE)]
        # Only how many placeholders the prompt has is needed to write them.
        row = tokenize(example, loaded.processor, torch.empty(num_places(loaded.family, len(clip)), 0))
        return replace(row, audio_states=None), clip
