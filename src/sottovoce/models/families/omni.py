"""The thinkers of Qwen2.5-Omni and Qwen3-Omni, which take audio and write text; the talker is not loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.families.base import Family


@dataclass(frozen=True)
class Thinker(Family):
    """The projector is the end of the audio tower.

    A thinker keeps the last prompt's ``rope_deltas`` and adds them to the positions of the next prompt given as
    embeddings. Training calls the language model directly, which avoids that state; ``generate`` resets it.
    """

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        extractor = processor.feature_extractor
        clip = clip[: extractor.n_samples]
        # The family's processor pads to the whole window, 300 s, and masks. Enough silence for the last frames gives
        # the same frames for the clip.
        length = -(-(len(clip) + 2 * extractor.n_fft) // extractor.hop_length) * extractor.hop_length
        return self.renamed(
            extractor(
                clip,
                sampling_rate=SAMPLING_RATE,
                padding="max_length",
                max_length=min(length, extractor.n_samples),
                return_attention_mask=True,
                return_tensors="pt",
            )
        )


@dataclass(frozen=True)
class ExpertThinker(Thinker):
    """A thinker whose language model is a mixture of experts: LoRA is applied to its attention."""

    def lora_targets(self, model: Any) -> list[str]:
        # For mixtures of experts PEFT 0.21 turns a regular expression into bare names, which match the audio tower too.
        return [name for name, _ in model.named_modules() if re.fullmatch(self.language_model, name)]
