"""The sizes of released models, as far as they are known without a hub, and a tiny one of each class.

Not here, since nothing at hand says their sizes: Audio Flamingo 3, Music Flamingo and Granite Speech (what transformers
takes by default are other models' sizes), Qwen3-Omni (the same; 30 billion weights in any case) and Gemma 3n
(whose picture part needs timm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import Phi4MultimodalFeatureExtractor, WhisperFeatureExtractor

from sottovoce.models.families.registry import family_of

BY_HAND = "written down by hand"
DEFAULTS = "the defaults of transformers"


def _whisper(config: Any) -> Any:
    audio = config.audio_config
    window = 2 * audio.max_source_positions // 100
    return WhisperFeatureExtractor(feature_size=audio.num_mel_bins, chunk_length=window)


def _whisper_30_s(config: Any) -> Any:
    return WhisperFeatureExtractor(feature_size=config.audio_config.num_mel_bins)


@dataclass(frozen=True)
class Size:
    """A model's class and sizes; what ``changes`` does not name is the default of its configuration class."""

    name: str
    model_type: str
    source: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    extractor: Callable[[Any], Any] = _whisper
    window_seconds: float = 30.0

    def config(self) -> Any:
        return family_of(self.model_type).class_of().config_class(**self.changes)


SEVEN_B = Size(
    "Qwen2-Audio-7B", "qwen2_audio", BY_HAND,
    {
        "audio_config": {"num_mel_bins": 128, "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20,
                         "encoder_ffn_dim": 5120, "max_source_positions": 1500},
        "text_config": {"model_type": "qwen2", "vocab_size": 156_032, "hidden_size": 4096, "intermediate_size": 11_008,
                        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32},
        "audio_token_index": 151_646,
    },
)  # fmt: skip
REAL = (
    SEVEN_B,
    Size("Voxtral-Mini-3B", "voxtral", DEFAULTS, {"audio_token_id": 24}),
    Size("GLM-ASR-Nano", "glmasr", DEFAULTS, extractor=_whisper_30_s),
    Size("Phi-4-multimodal", "phi4_multimodal", DEFAULTS, extractor=lambda _: Phi4MultimodalFeatureExtractor()),
    Size("Qwen2.5-Omni-7B, thinker", "qwen2_5_omni", DEFAULTS, extractor=_whisper_30_s),
)

_WORDS = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
TINY = Size(
    "tiny Qwen2-Audio", "qwen2_audio", BY_HAND,
    {
        "audio_config": {"num_mel_bins": 16, "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2,
                         "encoder_ffn_dim": 64, "max_source_positions": 100},
        "text_config": {"model_type": "qwen2"} | _WORDS,
        "audio_token_index": 511,
    },
    window_seconds=2.0,
)  # fmt: skip
_ENCODER = {"num_mel_bins": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32}
TINIES = (
    TINY,
    Size(
        "tiny Voxtral", "voxtral", BY_HAND,
        {
            "audio_config": _ENCODER | {"max_source_positions": 100, "intermediate_size": 128},
            "text_config": {"model_type": "llama", "head_dim": 16} | _WORDS,
            "audio_token_id": 24,
        },
        window_seconds=2.0,
    ),
    Size(
        "tiny GLM-ASR", "glmasr", BY_HAND,
        {
            "audio_config": _ENCODER | {"intermediate_size": 128},
            "text_config": {"model_type": "llama", "head_dim": 16} | _WORDS,
            "audio_token_id": 24,
        },
        extractor=_whisper_30_s,
    ),
)  # fmt: skip
