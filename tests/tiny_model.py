"""A tiny random model of Qwen2-Audio's real classes, and a little spoken corpus, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from sottovoce.models.embedded import CHAT_TEMPLATE

WINDOW_SECONDS = 2
WIDTH, MEL_BINS, LAYERS = 64, 16, 2
AUDIO_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the chat tokens that SmolLM2 has."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(["<|im_start|>", "<|im_end|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )


def save_tiny_model(folder: Path, hidden_size: int = 48) -> Path:
    """Writes the tiny model and its processor as Hugging Face folders are written."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(AUDIO_TOKENS)})
    tokenizer.padding_side = "left"
    torch.manual_seed(0)
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder", "num_mel_bins": MEL_BINS, "d_model": WIDTH, "encoder_layers": LAYERS,
            "encoder_attention_heads": 1, "encoder_ffn_dim": 128, "max_source_positions": WINDOW_SECONDS * 50,
        },
        text_config={
            "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": hidden_size,
            "intermediate_size": 2 * hidden_size, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 1,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids(AUDIO_TOKENS[0]),
        tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2AudioForConditionalGeneration(config).float().eval()
    for name, parameter in model.model.audio_tower.named_parameters():
        if parameter.ndim > 1 and name != "embed_positions.weight":  # strong enough to tell one pitch from another
            parameter.data.normal_(std=1 / parameter[0].numel() ** 0.5)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = 1
    extractor = WhisperFeatureExtractor(feature_size=MEL_BINS, chunk_length=WINDOW_SECONDS)
    tokens = dict(zip(("audio_token", "audio_bos_token", "audio_eos_token"), AUDIO_TOKENS, strict=True))
    processor = Qwen2AudioProcessor(extractor, tokenizer, chat_template=CHAT_TEMPLATE, **tokens)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


INTENTS = (("light", "on", 300.0), ("light", "off", 600.0), ("music", "play", 1200.0))


def save_corpus(folder: Path, num_train: int = 18, num_test: int = 6) -> Path:
    """A manifest of short commands; every recording is a tone whose pitch tells the intent. Half of train is spoken."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    lines = []
    for split, count in (("train", num_train), ("test", num_test)):
        for number in range(count):
            scenario, action, pitch = INTENTS[number % len(INTENTS)]
            room = ("hall", "attic", "den")[number // 3 % 3]
            row = {
                "id": f"{split}-{number}",
                "locale": "en-US",
                "split": split,
                "transcript": f"{scenario} {action} {room} {split[0]}{number}",
                "scenario": scenario,
                "action": action,
                "entities": [{"type": "room", "filler": room}],
            }
            if split == "test" or number % 6 < 3:
                clip = f"audio/{split}-{number}.wav"
                seconds = 0.5 + 0.1 * (number % 3)
                wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(16_000 * seconds)) / 16_000)
                soundfile.write(folder / clip, wave.astype(np.float32), 16_000)
                row |= {"audio": clip, "speaker": "tone", "seconds": round(seconds, 2)}
            lines.append(json.dumps(row))
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
