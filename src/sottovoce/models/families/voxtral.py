"""Voxtral: every 30 s window becomes the same number of audio tokens, even if little of it is speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.families.base import Family
from sottovoce.models.processor import assembled

# What mistral-common writes for an instruction; checkpoints have no template, and we avoid that package.
CHAT_TEMPLATE = (
    "<s>{% for message in messages %}[INST]"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}[BEGIN_AUDIO][AUDIO]{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}[/INST]{% endfor %}"
)


@dataclass(frozen=True)
class Voxtral(Family):
    """The tokenizer is read from ``tekken.json`` by transformers itself, not by mistral-common."""

    def load_processor(self, source: str, config: Any) -> Any:
        from transformers import AutoFeatureExtractor, TokenizersBackend

        tokenizer = TokenizersBackend.from_pretrained(source)
        if tokenizer.eos_token is None:  # tekken.json does not give the role of special tokens
            tokenizer.eos_token = "</s>"
        extractor = AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
        return assembled(source, tokenizer, extractor, self.audio_token_id(config), self.wrap, self.chat_template)

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        extractor = processor.feature_extractor
        mel = extractor(
            clip[: extractor.n_samples * self.max_windows],
            sampling_rate=SAMPLING_RATE,
            truncation=False,
            padding=True,
            pad_to_multiple_of=extractor.n_samples,
            return_tensors="pt",
        )["input_features"]
        # Mel frames are computed for the whole clip and then split into windows: (num_windows, mel_bins, frames).
        return {"input_features": mel.reshape(mel.shape[1], -1, extractor.nb_max_frames).transpose(0, 1)}
