"""Any other model that transformers loads as audio and text to text, if it works like most families."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sottovoce.core.errors import UserError
from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.families.base import Family
from sottovoce.models.processor import FamilyProcessor, assembled

ADVICE = "docs/models.md lists the families that are"
TOLERANCE = 0.05  # of the logits' norm; a forward that needs more than embeddings differs by far more, even in bfloat16
_FAULTS = (TypeError, ValueError, RuntimeError, KeyError, IndexError, AttributeError)


@dataclass(frozen=True)
class WholeProcessor(FamilyProcessor):
    """Our processor plus the model's own from transformers, which computes the mel frames."""

    own: Any = None


@dataclass(frozen=True)
class Generic(Family):
    """An unregistered family: parts with the usual names, and a check on loading that injection works."""

    def load_model(self, source: str, **options: Any) -> Any:
        from transformers import AutoConfig, AutoModelForMultimodalLM, AutoModelForSeq2SeqLM

        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        for auto in (AutoModelForMultimodalLM, AutoModelForSeq2SeqLM):
            if type(config) in auto._model_mapping and getattr(config, "audio_token_id", None) is not None:
                return auto.from_pretrained(source, **options)
        raise UserError(f"models of type {self.model_type!r} are not supported: no audio in, text out", ADVICE)

    def load_processor(self, source: str, config: Any) -> Any:
        from transformers import AutoProcessor

        own = AutoProcessor.from_pretrained(source, trust_remote_code=False)
        extractor = getattr(own, "feature_extractor", None) or getattr(own, "audio_processor", None)
        if extractor is None:
            raise UserError(f"models of type {self.model_type!r} are not supported: no feature extractor", ADVICE)
        parts = assembled(source, own.tokenizer, extractor, self.audio_token_id(config), ("", ""), "")
        return WholeProcessor(**vars(parts), own=own)

    def max_seconds(self, processor: Any) -> float:
        return float(getattr(processor.feature_extractor, "chunk_length", None) or math.inf)

    def check(self, model: Any, processor: Any) -> None:
        super().check(model, processor)
        places = {"get_audio_features": getattr(model, "model", None), "language_model": getattr(model, "model", None)}
        lacking = [name for name, place in (places | {"lm_head": model}).items() if not hasattr(place, name)]
        if lacking:
            raise UserError(f"models of type {self.model_type!r} are not supported: no {', '.join(lacking)}", ADVICE)
        try:
            error = injection_error(self, model, processor)
        except _FAULTS as fault:  # anything an unknown model's forward may raise
            line = (str(fault) or type(fault).__name__).splitlines()[0]
            raise UserError(f"models of type {self.model_type!r} are not supported: {line}", ADVICE) from fault
        if not error < TOLERANCE:
            raise UserError(
                f"models of type {self.model_type!r} are not supported: with cached audio features the logits differ "
                f"from the model's own by {error:.0%}",
                ADVICE,
            )

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        return dict(processor.own(text=[processor.audio_token], audio=[clip], return_tensors="pt"))

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        wanted = inspect.signature(model.model.get_audio_features).parameters
        features = super().audio_features(model, {name: value for name, value in inputs.items() if name in wanted})
        placeholders = int((inputs["input_ids"] == self.audio_token_id(model.config)).sum())
        if placeholders != len(features):
            raise UserError(
                f"the processor of {self.model_type} writes {placeholders} placeholders for {len(features)} features",
                ADVICE,
            )
        return features


@torch.inference_mode()
def injection_error(family: Family, model: Any, processor: Any) -> float:
    """How far logits with injected features are from those of the model's own forward, on one second of noise.

    Returns:
        the norm of the difference relative to the norm of the model's own logits.
    """
    clip = np.random.default_rng(0).normal(0, 0.1, SAMPLING_RATE).astype(np.float32)
    prompt = processor.apply_chat_template([{"role": "user", "content": [{"type": "audio"}]}], True)
    own = processor.own(text=[prompt], audio=[clip], return_tensors="pt")
    inputs = {
        name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in own.items()
    }
    expected = model(**inputs).logits.float()
    (features,) = family.encode(model, processor, [clip], [""], 1)
    ids = inputs["input_ids"]
    placeholder = (ids == family.audio_token_id(model.config)).unsqueeze(-1)
    embeddings = family.token_embeddings(model, ids)
    embeddings = embeddings.masked_scatter(placeholder, features.to(embeddings.device, embeddings.dtype))
    found = family.logits(model, family.hidden_states(model, ids, embeddings)).float()
    return float((found - expected).norm() / expected.norm())
