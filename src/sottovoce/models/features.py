"""Frozen-audio features: what the frozen audio part makes of a clip, computed once and used at every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from sottovoce.data.audio import Samples
from sottovoce.models.families.registry import family_of

DEFAULT_LOCALE = "en"


def encode_clips(
    model: Any, processor: Any, clips: Sequence[Samples], batch_size: int = 8, locales: Sequence[str] = ()
) -> Iterator[torch.Tensor]:
    """What is kept of each clip, as the family's own forward computes it.

    Args:
        model: a model of a supported family.
        processor: its processor; clips longer than it hears are cut.
        clips: mono 16 kHz samples.
        batch_size: clips that are encoded together, where the family does so.
        locales: each clip's, for models that need the language; English where none are given.

    Yields:
        one tensor a clip, (num_audio_tokens, width), on the CPU, where batches are put together and a corpus finds
        room: in the model's dtype the states of Qwen2-Audio's audio tower, whose projector follows at every step, or
        for other families what enters the language model; for the embedded model token ids, of width 1.
    """
    locales = locales or [DEFAULT_LOCALE] * len(clips)
    yield from family_of(model.config.model_type).encode(model, processor, clips, locales, batch_size)
