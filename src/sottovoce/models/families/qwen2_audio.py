"""Qwen2-Audio: the audio tower's states are kept and projected at every step, so that the projector can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.masking_utils import create_bidirectional_mask

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.families.base import Family


@dataclass(frozen=True)
class Qwen2Audio(Family):
    """One window; clips are encoded in batches, with padding masked as in ``Qwen2AudioModel.forward``."""

    def load_processor(self, source: str, config: Any) -> Any:
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(source, trust_remote_code=False)

    @torch.inference_mode()
    def encode(
        self, model: Any, processor: Any, clips: Sequence[Samples], locales: Sequence[str], batch_size: int
    ) -> Iterator[torch.Tensor]:
        for start in range(0, len(clips), batch_size):
            yield from _encoded(model, *_mel(processor, clips[start : start + batch_size]))

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        num_heard = inputs["feature_attention_mask"].sum(-1)
        states, lengths = tower_states(model.model.audio_tower, inputs["input_features"], num_heard)
        return self.projected(model, states[0, : int(lengths[0])])

    def projected(self, base: Any, audio_states: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = base.model.multi_modal_projector(audio_states)
        return states


def _encoded(model: Any, mel: torch.Tensor, num_heard: torch.Tensor) -> list[torch.Tensor]:
    tower = model.model.audio_tower
    states, lengths = tower_states(tower, mel.to(tower.device, tower.dtype), num_heard)
    return [row[:length].to("cpu", copy=True) for row, length in zip(states, lengths.tolist(), strict=True)]


def _mel(processor: Any, clips: Sequence[Samples]) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = processor.feature_extractor(
        list(clips), sampling_rate=SAMPLING_RATE, return_attention_mask=True, padding="max_length", return_tensors="pt"
    )
    return inputs["input_features"], inputs["attention_mask"].sum(-1)


def tower_states(tower: Any, mel: torch.Tensor, num_heard: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The audio tower's states of clips, with padding masked as in ``Qwen2AudioModel.forward``.

    Args:
        mel: (batch, mel_bins, num_frames) of the tower's whole window.
        num_heard: frames of sound of each clip, (batch,).

    Returns:
        (batch, num_frames / 4, d_model), and the number of states of each clip, (batch,).
    """
    num_positions, num_states = tower._get_feat_extract_output_lengths(num_heard)
    length = mel.shape[-1] // 2  # the tower works on half the mel frames
    attention = create_bidirectional_mask(
        config=tower.config,
        inputs_embeds=mel.new_zeros(len(mel), length, 1, dtype=tower.dtype),
        attention_mask=(torch.arange(length)[None, :] < num_positions[:, None].cpu()).long().to(mel.device),
    )
    return tower(mel, attention_mask=attention).last_hidden_state, num_states
