"""Music Flamingo: Audio Flamingo 3 with rotary time embeddings of the audio tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sottovoce.models.families.base import Family


@dataclass(frozen=True)
class MusicFlamingo(Family):
    """The times are computed from where a clip's placeholders start and end in the prompt."""

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        mask = inputs["input_features_mask"]
        num_tokens = int(model.model.audio_tower._get_feat_extract_output_lengths(mask.sum(-1).long())[1].sum())
        # A clip's times start at its first placeholder: a prompt of only placeholders gives them.
        placeholders = torch.full((1, num_tokens), model.config.audio_token_id, device=mask.device)
        return super().audio_features(model, {**inputs, "input_ids": placeholders})
