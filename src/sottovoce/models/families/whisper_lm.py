"""The embedded model's family: a clip's states are the tokens that the language model reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForMultimodalLM, AutoProcessor

from sottovoce.core.errors import UserError
from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.families.base import Family
from sottovoce.models.whisper_lm.configuration_whisper_lm import WhisperLMConfig
from sottovoce.models.whisper_lm.modeling_whisper_lm import WhisperLMForConditionalGeneration
from sottovoce.models.whisper_lm.processing_whisper_lm import WhisperLMProcessor

AutoConfig.register(WhisperLMConfig.model_type, WhisperLMConfig)
AutoModelForMultimodalLM.register(WhisperLMConfig, WhisperLMForConditionalGeneration)
AutoProcessor.register(WhisperLMConfig, WhisperLMProcessor)


@dataclass(frozen=True)
class WhisperLM(Family):
    """A clip's states are token ids, (num_tokens, 1), which the projector embeds as the language model embeds text.

    While the audio tower is trained, a clip keeps the words that the untrained tower recognised: rows keep their
    length, and the gradient reaches the tower through the expected embeddings of these words.
    """

    def class_of(self) -> Any:  # our own class, not in transformers
        return WhisperLMForConditionalGeneration

    def load_processor(self, source: str, config: Any) -> Any:
        return WhisperLMProcessor.from_pretrained(source, trust_remote_code=False)

    def training_inputs(self, model: Any, processor: Any, clip: Samples, locale: str) -> dict[str, torch.Tensor]:
        inputs = self._inputs(processor, [clip], [locale])
        with torch.inference_mode():
            (heard,) = model.model.hear(**_moved(inputs, model))
        return inputs | {"heard_ids": torch.tensor(heard, dtype=torch.long)}

    def audio_inputs(self, processor: Any, clip: Samples) -> dict[str, torch.Tensor]:
        raise UserError(f"a clip's number of tokens in {self.model_type} is known only after transcribing it")

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        heard = [inputs["heard_ids"].tolist()]
        (features,) = model.model.get_audio_features(**{**inputs, "heard_ids": heard})
        return features

    @torch.inference_mode()
    def encode(
        self, model: Any, processor: Any, clips: Sequence[Samples], locales: Sequence[str], batch_size: int
    ) -> Iterator[torch.Tensor]:
        for start in range(0, len(clips), batch_size):
            batch = slice(start, start + batch_size)
            inputs = self._inputs(processor, clips[batch], locales[batch])
            for heard in model.model.hear(**_moved(inputs, model)):
                yield torch.tensor(model.model.words.ids(heard), dtype=torch.int32).view(-1, 1)

    def projected(self, base: Any, audio_states: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = base.get_input_embeddings()(audio_states[:, 0])
        return embeddings

    def transcript(self, processor: Any, audio_states: torch.Tensor) -> str:
        return str(processor.tokenizer.decode(audio_states[:, 0].tolist()))

    def processor_options(self, locale: str) -> dict[str, Any]:
        return {"language": locale}

    def key_parts(self, processor: Any) -> dict[str, str]:
        return {"tokenizer": hashlib.sha256(processor.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()}

    def _inputs(self, processor: Any, clips: Sequence[Samples], locales: Sequence[str]) -> dict[str, torch.Tensor]:
        try:
            inputs: dict[str, torch.Tensor] = processor.audio_inputs(list(clips), list(locales), SAMPLING_RATE)
        except ValueError as error:
            raise UserError(str(error), "correct the manifest's locale, or use another model") from error
        return inputs


def _moved(inputs: dict[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    return {
        name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in inputs.items()
    }
