"""The thinkers of Qwen2.5-Omni and Qwen3-Omni: they hear and write; what speaks (the talker) is not loaded."""

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

    A thinker keeps ``rope_deltas`` of the last prompt and adds them to the positions of the next one that comes as
    embeddings. Training calls its language model directly, below that state; ``generate`` sets it anew.
    """

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        extractor = processor.feature_extractor
        clip = clip[: extractor.n_samples]
        # The family's processor pads to the whole window, 300 s, and masks. Silence for the last frames to look into
        # is enough: the frames of the clip come out the same.
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
    """A thinker whose language model is a mixture of experts: LoRA sits on its attention."""

    def lora_targets(self, model: Any) -> list[str]:
        # For mixtures of experts PEFT 0.21 turns a regular expression into bare names, which hit the audio tower too.
        return [name for name, _ in model.named_modules() if re.fullmatch(self.language_model, name)]
