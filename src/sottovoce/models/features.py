"""Frozen-audio features: the audio tower's output for a clip, computed once and fed to the projector at every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.masking_utils import create_bidirectional_mask

from sottovoce.data.audio import SAMPLING_RATE, Samples


@torch.inference_mode()
def encode_clips(model: Any, processor: Any, clips: Sequence[Samples], batch_size: int = 8) -> Iterator[torch.Tensor]:
    """The tower's states of each clip, as Qwen2-Audio's own forward computes them.

    Args:
        model: a ``Qwen2AudioForConditionalGeneration``.
        processor: its processor; clips longer than its window are cut by it.
        clips: mono 16 kHz samples.

    Yields:
        one tensor a clip, (num_audio_tokens, d_model), in the model's dtype, on the CPU, where batches are put together
        and a corpus finds room.
    """
    tower = model.model.audio_tower
    for start in range(0, len(clips), batch_size):
        inputs = processor.feature_extractor(
            list(clips[start : start + batch_size]),
            sampling_rate=SAMPLING_RATE,
            return_attention_mask=True,
            padding="max_length",
            return_tensors="pt",
        )
        mel = inputs["input_features"].to(tower.device, tower.dtype)
        num_frames, num_tokens = tower._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1))
        # The tower works on half the mel frames; padding beyond the clip is masked, as in Qwen2AudioModel.forward.
        mask = torch.arange(mel.shape[-1] // 2)[None, :] < num_frames[:, None]
        attention = create_bidirectional_mask(
            config=tower.config, inputs_embeds=mel.new_zeros(*mask.shape, 1), attention_mask=mask.long().to(mel.device)
        )
        states = tower(mel, attention_mask=attention).last_hidden_state
        for row, length in zip(states, num_tokens.tolist(), strict=True):
            yield row[:length].to("cpu", copy=True)
