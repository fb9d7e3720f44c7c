"""Prompts and mel frames; a prompt has one placeholder per recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import ProcessorMixin
from transformers.feature_extraction_utils import BatchFeature


class WhisperLMProcessor(ProcessorMixin):
    """
    Args:
        audio_tower_tokenizer: Whisper's, which the model needs besides the language model's.
        languages: Whisper's language tokens by code, such as "en".
    """

    def __init__(
        self,
        feature_extractor: Any = None,
        tokenizer: Any = None,
        audio_tower_tokenizer: Any = None,
        chat_template: str | None = None,
        audio_token: str = "<|AUDIO|>",
        languages: dict[str, int] | None = None,
    ) -> None:
        self.audio_token = audio_token
        self.audio_token_id = tokenizer.convert_tokens_to_ids(audio_token)
        self.languages = dict(languages or {})
        super().__init__(feature_extractor, tokenizer, audio_tower_tokenizer, chat_template=chat_template)

    def __call__(
        self,
        text: str | Sequence[str],
        audio: Any = None,
        language: str | Sequence[str] = "en",
        sampling_rate: int | None = None,
        return_tensors: str = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """
        Args:
            text: prompts, with one placeholder per recording.
            audio: mono clips at the feature extractor's sampling rate.
            language: of all clips, or one code for each; a locale such as "en-US" works too.

        Raises:
            ValueError: an unknown language, or the numbers of placeholders and clips differ.
        """
        rate = kwargs.pop("audio_kwargs", {}).get("sampling_rate", sampling_rate)
        texts = [text] if isinstance(text, str) else list(text)
        inputs = dict(self.tokenizer(texts, return_tensors=return_tensors, padding=True, add_special_tokens=False))
        if audio is not None:
            clips = list(audio) if isinstance(audio, (list, tuple)) else [audio]
            if (number := sum(each.count(self.audio_token) for each in texts)) != len(clips):
                raise ValueError(f"{number} placeholders for {len(clips)} recordings")
            languages = [language] * len(clips) if isinstance(language, str) else language
            inputs |= self.audio_inputs(clips, languages, rate)
        return BatchFeature(inputs)

    def audio_inputs(
        self, clips: Sequence[Any], languages: Sequence[str], sampling_rate: int | None
    ) -> dict[str, torch.Tensor]:
        """The model's input for clips: mel frames of the whole window, their mask, and the language tokens."""
        features = self.feature_extractor(
            clips, sampling_rate=sampling_rate, padding="max_length", return_attention_mask=True, return_tensors="pt"
        )
        return {
            "input_features": features["input_features"],
            "input_features_mask": features["attention_mask"],
            "language_ids": torch.tensor([self.language_id(each) for each in languages]),
        }

    def language_id(self, locale: str) -> int:
        """Whisper's token for the language of a locale such as "en-US" or "fr".

        Raises:
            ValueError: Whisper does not know it.
        """
        code = locale.replace("_", "-").partition("-")[0].lower()
        if code not in self.languages:
            raise ValueError(f"Whisper does not know the language of {locale!r}; it knows {', '.join(self.languages)}")
        return self.languages[code]

    @property
    def model_input_names(self) -> list[str]:
        return [*self.tokenizer.model_input_names, "input_features", "input_features_mask", "language_ids"]


WhisperLMProcessor.register_for_auto_class()
