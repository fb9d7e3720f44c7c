"""What the tiny models of all families share: a byte tokenizer, small language models, and how a folder is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

from sottovoce.data.audio import Samples
from sottovoce.models.load import LoadedModel

MEL_BINS, WINDOW_SECONDS = 8, 2
LANGUAGE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 1024,
}  # fmt: skip
WHISPER = {"num_mel_bins": MEL_BINS, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'audio' %}AUDIO{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Tiny:
    """A family's tiny model.

    Args:
        build: writes model, tokenizer, feature extractor and chat template into a folder.
        own_inputs: what transformers' own processor makes of a prompt (with one placeholder, as the chat template
            writes it) and a clip; without ``input_ids`` where that processor needs a package that tests do without.
        tokens: audio tokens of a clip of half a second and of one of 1.3 s.
    """

    model_type: str
    build: Callable[[Path], None]
    own_inputs: Callable[[LoadedModel, str, Samples], dict[str, torch.Tensor]]
    tokens: tuple[int, int]
    only_lora: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def audio_part_in_full(loaded: LoadedModel) -> dict[str, str]:
    """Training settings: the tower, and the projector if it has weights, but not the language model."""
    has_weights = any(True for _ in loaded.model.get_submodule(loaded.family.projector).parameters())
    projector = "full" if has_weights else "frozen"
    return {"language_model": "frozen", "projector": projector, "audio_tower": "full"}


def byte_tokenizer(
    first: Sequence[str] = (), eos: str = "<|im_end|>", pad: str | None = None, last: Sequence[str] = (), **named: str
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose special tokens have the first ids, in order, and some the last ones.

    Args:
        named: special tokens that the tokenizer has as attributes.
    """
    specials = [*first, *last]
    symbols = [*first, *sorted(pre_tokenizers.ByteLevel.alphabet()), *last]
    tokenizer = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, pad_token=pad or eos, extra_special_tokens=named
    )


def whisper_mel(**changes: Any) -> WhisperFeatureExtractor:
    """A Whisper feature extractor with a window of two seconds."""
    return WhisperFeatureExtractor(**({"feature_size": MEL_BINS, "chunk_length": WINDOW_SECONDS} | changes))


def save(folder: Path, model: Any, tokenizer: Any, extractor: Any, chat_template: str | None) -> None:
    """Writes a folder as those on the hub are, after drawing weights that make the model's answers lively."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=1.5 / parameter[0].numel() ** 0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    if chat_template:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
