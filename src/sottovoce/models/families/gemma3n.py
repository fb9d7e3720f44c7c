"""Gemma 3n: every clip takes the same number of tokens, and each layer of the language model reads the token ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.families.base import Family
from sottovoce.models.processor import assembled

WINDOW_SAMPLES = 480_000  # the feature extractor's default limit


@dataclass(frozen=True)
class Gemma3n(Family):
    """Tokens that a clip does not fill hold the last entry of the audio part's own vocabulary, as in
    ``Gemma3nModel.forward``; the image part is loaded but not used.
    """

    def load_processor(self, source: str, config: Any) -> Any:
        from transformers import AutoFeatureExtractor, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        extractor = AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
        wrap = (f"\n\n{tokenizer.boa_token}", f"{tokenizer.eoa_token}\n\n")  # as Gemma3nProcessor writes it
        return assembled(source, tokenizer, extractor, self.audio_token_id(config), wrap, self.chat_template)

    def max_seconds(self, processor: Any) -> float:
        return WINDOW_SAMPLES / SAMPLING_RATE

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        return dict(processor.feature_extractor(clip, max_length=WINDOW_SAMPLES, return_tensors="pt"))

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        base, embedder = model.model, model.model.embed_audio
        heard = base.get_audio_features(inputs["input_features"], ~inputs["input_features_mask"], return_dict=True)
        last = torch.tensor([[embedder.vocab_offset + embedder.vocab_size - 1]], device=heard.pooler_output.device)
        rest = embedder(input_ids=last)
        features = torch.where(heard.audio_mel_mask.unsqueeze(-1), rest, heard.pooler_output)[0]
        num_rest = model.config.audio_soft_tokens_per_image - len(features)
        return torch.cat([features, rest[0].expand(num_rest, -1)])

    def token_embeddings(self, base: Any, input_ids: torch.Tensor) -> torch.Tensor:
        # The tokens around images and clips have ids beyond the language model's vocabulary; these parts embed them.
        embeddings = super().token_embeddings(base, input_ids)
        for part in (base.model.embed_vision, base.model.embed_audio):
            places = input_ids - part.vocab_offset
            own = (places >= 0) & (places < part.vocab_size)
            theirs = part(input_ids=places.where(own, 0) + part.vocab_offset)
            embeddings = torch.where(own.unsqueeze(-1), theirs.to(embeddings.dtype), embeddings)
        return embeddings

    def language_inputs(self, base: Any, input_ids: torch.Tensor) -> dict[str, Any]:
        # Each layer also takes its own embedding of each token; audio has none and uses that of id 0.
        return {"per_layer_inputs": base.get_submodule(self.text_model).get_per_layer_inputs(input_ids)}

    @contextmanager
    def generating(self, base: Any, input_ids: torch.Tensor) -> Iterator[None]:
        # ``generate`` would pass them at every step, but the forward rejects them together with the ids of later steps.
        def add(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            of_prompt = {} if kwargs["per_layer_inputs"] is not None else self.language_inputs(base, input_ids)
            return args, kwargs | of_prompt

        hook = base.get_submodule(self.text_model).register_forward_pre_hook(add, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def logits(self, base: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        logits = super().logits(base, hidden_states)
        cap = base.config.get_text_config().final_logit_softcapping
        return logits if cap is None else (logits / cap).tanh() * cap
