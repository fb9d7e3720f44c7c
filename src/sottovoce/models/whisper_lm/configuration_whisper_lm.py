"""The sizes of Whisper and of the language model, and how a clip is transcribed."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig, WhisperConfig


class WhisperLMConfig(PreTrainedConfig):
    """
    Args:
        audio_config, text_config: of Whisper and of the language model.
        audio_token_id: the placeholder, once per recording.
        spoken_words_only: suppress numerals and punctuation, so that numbers are written out as spoken.
        no_speech_threshold: a clip has no words if Whisper's probability of "no speech" is higher than this; 0.6 as in
            Whisper's own code, which makes an exception for words of high probability. We do not: on digital silence,
            "you" is one.
    """

    model_type = "whisper_lm"
    sub_configs: ClassVar[dict[str, Any]] = {"audio_config": WhisperConfig, "text_config": AutoConfig}

    def __init__(
        self,
        audio_config: Any = None,
        text_config: Any = None,
        audio_token_id: int = 0,
        spoken_words_only: bool = True,
        no_speech_threshold: float = 0.6,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        if not isinstance(audio_config, PreTrainedConfig):
            audio_config = WhisperConfig(**(audio_config or {}))
        if not isinstance(text_config, PreTrainedConfig):
            text_config = AutoConfig.for_model(**{"model_type": "llama", **(text_config or {})})
        self.audio_config, self.text_config = audio_config, text_config
        self.audio_token_id, self.spoken_words_only = audio_token_id, spoken_words_only
        self.no_speech_threshold = no_speech_threshold
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


WhisperLMConfig.register_for_auto_class()
