"""Phi-4-multimodal: one class for language model and audio part, without ``get_audio_features``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import gelu

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.families.base import Family


@dataclass(frozen=True)
class Phi4Multimodal(Family):
    """The projector is the one for speech without images. The released speech adapter is not loaded."""

    def audio_token_id(self, config: Any) -> int:
        return int(config.audio_config.audio_token_id)

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        features = processor.feature_extractor(clip, sampling_rate=SAMPLING_RATE, return_tensors="pt")
        return {name: features[name] for name in ("audio_input_features", "audio_embed_sizes")}

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        part = model.get_submodule(self.projector)
        states = part.encoder(inputs["audio_input_features"], None)
        features: torch.Tensor = part.down_proj_for_speech(gelu(part.up_proj_for_speech(states)))
        return features[0, : int(inputs["audio_embed_sizes"])]

    def trained_parts(self, model: Any) -> list[Any]:
        language = model.model
        return [language.embed_tokens, language.layers, language.norm, model.lm_head]
