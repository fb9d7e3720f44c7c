"""A tiny random model of Qwen2-Audio's real classes, and a little spoken corpus, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sottovoce.models.embedded import build

WINDOW_SECONDS = 2
WIDTH, MEL_BINS, LAYERS = 64, 16, 2


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


def tiny_encoder_state() -> dict[str, torch.Tensor]:
    """Random weights of a Whisper encoder in transformers' names."""
    torch.manual_seed(0)

    def linear(out: int, inner: int) -> torch.Tensor:
        return torch.randn(out, inner) / inner**0.5

    state = {
        "embed_positions.weight": torch.randn(WINDOW_SECONDS * 50, WIDTH) * 0.02,
        "layer_norm.weight": torch.ones(WIDTH),
        "layer_norm.bias": torch.zeros(WIDTH),
        "conv1.weight": torch.randn(WIDTH, MEL_BINS, 3) * 0.1,
        "conv1.bias": torch.zeros(WIDTH),
        "conv2.weight": torch.randn(WIDTH, WIDTH, 3) * 0.1,
        "conv2.bias": torch.zeros(WIDTH),
    }
    for layer in range(LAYERS):
        prefix = f"layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state[f"{prefix}self_attn.{name}.weight"] = linear(WIDTH, WIDTH)
            if name != "k_proj":
                state[f"{prefix}self_attn.{name}.bias"] = torch.zeros(WIDTH)
        for name, shape in (("fc1", (128, WIDTH)), ("fc2", (WIDTH, 128))):
            state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"] = linear(*shape), torch.zeros(shape[0])
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"] = torch.ones(WIDTH), torch.zeros(WIDTH)
    return state


def save_tiny_model(folder: Path, hidden_size: int = 48) -> Path:
    """Writes the tiny model and its processor as Hugging Face folders are written."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden_size, intermediate_size=2 * hidden_size, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, pad_token_id=1, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model, processor = build(tiny_encoder_state(), LlamaForCausalLM(config), tokenizer)
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
