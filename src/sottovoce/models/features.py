"""Frozen-audio features: what the frozen audio part makes of a clip, computed once and used at every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from sottovoce.data.audio import Samples
from sottovoce.models.families import family_of


def encode_clips(model: Any, processor: Any, clips: Sequence[Samples], batch_size: int = 8) -> Iterator[torch.Tensor]:
    """What is kept of each clip, as the family's own forward computes it.

    Args:
        model: a model of a supported family.
        processor: its processor; clips longer than it hears are cut.
        clips: mono 16 kHz samples.
        batch_size: clips that are encoded together, where the family does so.

    Yields:
        one tensor a clip, (num_audio_tokens, width), in the model's dtype, on the CPU, where batches are put together
        and a corpus finds room. The width is the audio tower's for Qwen2-Audio, whose projector follows at every step,
        and the language model's for the others.
    """
    yield from family_of(model.config.model_type).encode(model, processor, clips, batch_size)
