"""Audio states: a clip encoded by the frozen audio part, once, for use at every step."""

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
    """The audio states of each clip, as the family's own forward computes them.

    Args:
        model: a model of a supported family.
        processor: its processor; clips longer than its window are cut.
        clips: mono 16 kHz samples.
        batch_size: clips encoded together, if the family does so.
        locales: each clip's, for models that need the language; English if not given.

    Yields:
        one tensor per clip, (num_audio_tokens, width), on the CPU, where batches are assembled and a corpus fits: for
        Qwen2-Audio the audio tower's states, which the projector takes at every step; for the embedded model token ids,
        of width 1; for other families the language model's input. In the model's dtype, except for the ids.
    """
    locales = locales or [DEFAULT_LOCALE] * len(clips)
    yield from family_of(model.config.model_type).encode(model, processor, clips, locales, batch_size)
