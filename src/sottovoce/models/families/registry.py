"""The model families that can be trained, by transformers' ``model_type``."""

from __future__ import annotations

from functools import cache

from sottovoce.models.families.base import Family
from sottovoce.models.families.gemma3n import Gemma3n
from sottovoce.models.families.generic import Generic
from sottovoce.models.families.granite_speech import GraniteSpeech
from sottovoce.models.families.music_flamingo import MusicFlamingo
from sottovoce.models.families.omni import ExpertThinker, Thinker
from sottovoce.models.families.phi4_multimodal import Phi4Multimodal
from sottovoce.models.families.qwen2_audio import Qwen2Audio
from sottovoce.models.families.voxtral import CHAT_TEMPLATE as VOXTRAL_TEMPLATE
from sottovoce.models.families.voxtral import Voxtral
from sottovoce.models.families.whisper_lm import WhisperLM

_REGISTERED: tuple[Family, ...] = (
    Qwen2Audio(
        "qwen2_audio",
        "Qwen2AudioForConditionalGeneration",
        tokens_per_second=25.0,
        mask_name="feature_attention_mask",
        projects_at_each_step=True,
        packs=True,
        released=("Qwen/Qwen2-Audio-7B-Instruct",),
    ),
    Voxtral(
        "voxtral",
        "VoxtralForConditionalGeneration",
        tokens_per_second=12.5,
        audio_token="[AUDIO]",
        chat_template=VOXTRAL_TEMPLATE,
        mask_name=None,
        max_windows=60,
        fills_windows=True,
        packs=True,
        released=("mistralai/Voxtral-Mini-3B-2507", "mistralai/Voxtral-Small-24B-2507"),
    ),
    Thinker(
        "qwen2_5_omni",
        "Qwen2_5OmniThinkerForConditionalGeneration",
        aliases=("qwen2_5_omni_thinker",),
        tokens_per_second=25.0,
        projector="model.audio_tower.proj",
        mask_name="feature_attention_mask",
        window_seconds=300.0,
        packs=True,
        released=("Qwen/Qwen2.5-Omni-3B", "Qwen/Qwen2.5-Omni-7B"),
    ),
    Family(
        "audioflamingo3",
        "AudioFlamingo3ForConditionalGeneration",
        tokens_per_second=25.0,
        audio_token="<sound>",
        max_windows=20,
        packs=True,
        released=("nvidia/audio-flamingo-3-hf",),
    ),
    GraniteSpeech(
        "granite_speech",
        "GraniteSpeechForConditionalGeneration",
        tokens_per_second=10.0,
        audio_tower="model.encoder",
        projector="model.projector",
        audio_token="<|audio|>",
        window_seconds=None,
        packs=True,
        released=("ibm-granite/granite-speech-3.3-2b", "ibm-granite/granite-speech-3.3-8b"),
    ),
    Family(
        "glmasr",
        "GlmAsrForConditionalGeneration",
        tokens_per_second=12.5,
        audio_token="<|pad|>",
        max_windows=21,
        packs=True,
        released=("zai-org/GLM-ASR-Nano-2512",),
    ),
    ExpertThinker(
        "qwen3_omni_moe",
        "Qwen3OmniMoeThinkerForConditionalGeneration",
        aliases=("qwen3_omni_moe_thinker",),
        tokens_per_second=13.0,
        language_model=r".*language_model\.layers\.\d+\.self_attn\.[qkvo]_proj",
        projector="model.audio_tower.proj2",
        audio_token="<|audio_pad|>",
        mask_name="feature_attention_mask",
        window_seconds=300.0,
        packs=True,
        released=("Qwen/Qwen3-Omni-30B-A3B-Instruct",),
    ),
    MusicFlamingo(
        "musicflamingo",
        "MusicFlamingoForConditionalGeneration",
        tokens_per_second=25.0,
        audio_token="<sound>",
        wrap=("<|sound_bos|>", "<|sound_eos|>"),
        max_windows=40,
        packs=True,
        released=("nvidia/music-flamingo-2601-hf",),
    ),
    Phi4Multimodal(
        "phi4_multimodal",
        "Phi4MultimodalForCausalLM",
        tokens_per_second=12.5,
        language_model=r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)",
        audio_tower="model.embed_tokens_extend.audio_embed.encoder",
        projector="model.embed_tokens_extend.audio_embed",
        text_model="model",
        audio_token="<|audio|>",
        window_seconds=None,
        released=("microsoft/Phi-4-multimodal-instruct",),
    ),
    Gemma3n(
        "gemma3n",
        "Gemma3nForConditionalGeneration",
        tokens_per_second=6.25,
        projector="model.embed_audio",
        audio_token="<audio_soft_token>",
        fills_windows=True,
        released=("google/gemma-3n-E2B-it", "google/gemma-3n-E4B-it"),
    ),
    WhisperLM(
        "whisper_lm",
        "WhisperLMForConditionalGeneration",
        tokens_per_second=4.0,
        window_seconds=12.0,
        packs=True,
        brings_code=True,
        hears_words=True,
    ),
)

FAMILIES: dict[str, Family] = {
    model_type: family for family in _REGISTERED for model_type in (family.model_type, *family.aliases)
}


@cache
def family_of(model_type: str) -> Family:
    """The family of that type; for an unknown type, a generic one that checks on loading whether it is supported."""
    return FAMILIES.get(model_type) or Generic(model_type, "", tokens_per_second=25.0, window_seconds=None)
