"""The embedded model's class, from a tiny random Whisper and a tiny random language model."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_parts import LANGUAGE, MEL_BINS, WINDOW_SECONDS, Tiny, byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperModel

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.embedded import Parts, build
from sottovoce.models.load import LoadedModel
from sottovoce.models.whisper_lm.modeling_whisper_lm import WhisperLMForConditionalGeneration
from sottovoce.models.whisper_lm.processing_whisper_lm import WhisperLMProcessor

TOWER_SPECIALS = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|fr|>", "<|translate|>", "<|transcribe|>", "<|nospeech|>",
    "<|notimestamps|>",
]  # fmt: skip


def tiny_parts(seed: int = 0) -> Parts:
    """Both parts with lively random weights."""
    tower_tokenizer = byte_tokenizer(last=TOWER_SPECIALS, eos="<|endoftext|>")
    tokenizer = byte_tokenizer(["<|im_start|>", "<|im_end|>"])
    torch.manual_seed(seed)
    sizes = {f"{part}_{name}": size for part in ("encoder", "decoder")
             for name, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
    tower = WhisperModel(
        WhisperConfig(
            vocab_size=len(tower_tokenizer), d_model=16, num_mel_bins=MEL_BINS, max_source_positions=1500,
            max_target_positions=64, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0, **sizes,
        )
    )  # fmt: skip
    config = LlamaConfig(
        **LANGUAGE, vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True
    )
    language = LlamaForCausalLM(config)
    for part in (tower, language):
        for name, parameter in part.named_parameters():
            if parameter.ndim > 1:  # cross-attention strong enough to tell one pitch from another
                strength = 6.0 if "encoder_attn.out_proj" in name else 1.5
                parameter.data.normal_(std=strength / parameter[0].numel() ** 0.5)
    parts_of_letters = [token for token in range(len(tower_tokenizer)) if "\ufffd" in tower_tokenizer.decode([token])]
    tower.decoder.embed_tokens.weight.data[parts_of_letters] = 0.0  # hardly ever the likeliest
    return Parts(tower.eval(), tower_tokenizer, language.eval(), tokenizer)


def tiny_whisper_lm() -> tuple[WhisperLMForConditionalGeneration, WhisperLMProcessor]:
    """It hears words in any noise."""
    model, processor = build(tiny_parts(), WINDOW_SECONDS)
    model.config.no_speech_threshold = 1.0
    return model, processor


def save_tiny_whisper_lm(folder: Path) -> None:
    model, processor = tiny_whisper_lm()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def own_inputs(loaded: LoadedModel, prompt: str, clip: Samples) -> dict[str, torch.Tensor]:
    inputs = dict(loaded.processor(text=prompt, audio=clip, sampling_rate=SAMPLING_RATE))
    del inputs["input_ids"], inputs["attention_mask"]  # they grow only in the model
    return inputs


WHISPER_LM = Tiny("whisper_lm", save_tiny_whisper_lm, own_inputs, tokens=(12, 19))
