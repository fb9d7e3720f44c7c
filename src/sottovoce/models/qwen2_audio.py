"""Qwen2-Audio: the audio tower's states are kept, and projected at every step, so that the projector can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.masking_utils import create_bidirectional_mask

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.family import Family


@dataclass(frozen=True)
class Qwen2Audio(Family):
    """One window; clips are encoded in batches, padding beyond a clip is masked as in ``Qwen2AudioModel.forward``."""

    def load_processor(self, source: str, config: Any) -> Any:
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(source, trust_remote_code=False)

    @torch.inference_mode()
    def encode(self, model: Any, processor: Any, clips: Sequence[Samples], batch_size: int) -> Iterator[torch.Tensor]:
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
            # The tower works on half the mel frames.
            mask = torch.arange(mel.shape[-1] // 2)[None, :] < num_frames[:, None]
            attention = create_bidirectional_mask(
                config=tower.config,
                inputs_embeds=mel.new_zeros(*mask.shape, 1),
                attention_mask=mask.long().to(mel.device),
            )
            states = tower(mel, attention_mask=attention).last_hidden_state
            for row, length in zip(states, num_tokens.tolist(), strict=True):
                yield row[:length].to("cpu", copy=True)

    def projected(self, base: Any, audio_states: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = base.model.multi_modal_projector(audio_states)
        return states
