"""Granite Speech: a conformer over pairs of mel frames, of any length, and an adapter in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from sottovoce.data.audio import Samples
from sottovoce.models.families.base import Family
from sottovoce.models.processor import assembled


@dataclass(frozen=True)
class GraniteSpeech(Family):
    """The checkpoint's own adapter, meant for prompts with speech, is merged on loading, so that training starts from
    one model for text and speech. We compute the mel frames, because transformers' extractor needs torchaudio.
    """

    def load_model(self, source: str, **options: Any) -> Any:
        model = super().load_model(source, **options)
        if getattr(model, "_hf_peft_config_loaded", False):
            merge_adapter(model)
        return model

    def load_processor(self, source: str, config: Any) -> Any:
        from transformers import AutoTokenizer, FeatureExtractionMixin

        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        settings, _ = FeatureExtractionMixin.get_feature_extractor_dict(source)
        extractor = SimpleNamespace(**MEL_DEFAULTS | settings | settings.get("melspec_kwargs", {}))
        return assembled(source, tokenizer, extractor, self.audio_token_id(config), self.wrap, self.chat_template)

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        return {"input_features": log_mel(clip, processor.feature_extractor)[None]}

    def token_embeddings(self, base: Any, input_ids: torch.Tensor) -> torch.Tensor:
        # The placeholder's id may be outside the language model's vocabulary.
        known = input_ids.masked_fill(input_ids == self.audio_token_id(base.config), 0)
        return super().token_embeddings(base, known)


MEL_DEFAULTS = {"sampling_rate": 16_000, "n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80}


def log_mel(clip: Samples, settings: Any) -> torch.Tensor:
    """Log-mel frames as ``GraniteSpeechFeatureExtractor`` computes them with torchaudio, two frames side by side.

    Args:
        settings: has ``sampling_rate`` (Hz), ``n_fft``, ``win_length`` and ``hop_length`` (samples), and ``n_mels``.

    Returns:
        (num_frames // 2, 2 * n_mels), float32.
    """
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        settings.n_fft // 2 + 1, settings.n_mels, 0.0, settings.sampling_rate / 2, settings.sampling_rate, None, "htk"
    )
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(clip)),
        settings.n_fft,
        settings.hop_length,
        settings.win_length,
        torch.hann_window(settings.win_length),
        pad_mode="reflect",
        return_complex=True,
    )
    mel = spectrum.abs().square().T @ torch.from_numpy(filters).float()
    log = mel.clamp(min=1e-10).log10()
    log = torch.maximum(log, log.max() - 8.0) / 4 + 1
    return log[: len(log) // 2 * 2].reshape(-1, 2 * settings.n_mels)


def merge_adapter(model: Any) -> None:
    """Merges the adapter that transformers loaded with the checkpoint into the weights, and removes it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    for name, module in adapted.items():
        module.merge()
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, module.get_base_layer())
    model._hf_peft_config_loaded = False
    del model.peft_config
