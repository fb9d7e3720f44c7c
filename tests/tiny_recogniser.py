"""A tiny random speech recognition model of transformers' wav2vec 2.0 classes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)


def save_tiny_recogniser(folder: Path) -> Path:
    """Writes model and processor as Hugging Face folders are written; it writes letters of "ab " at random."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "b": 4}), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(vocabulary, pad_token="<pad>", unk_token="<unk>", bos_token=None, eos_token=None)
    torch.manual_seed(1)
    config = Wav2Vec2Config(
        vocab_size=5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8, 8), conv_kernel=(400, 3), conv_stride=(320, 2), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, pad_token_id=0,
        initializer_range=1.0, feat_extract_norm="layer",
    )  # fmt: skip
    model = Wav2Vec2ForCTC(config)
    torch.nn.init.normal_(model.lm_head.weight, std=3.0)
    model.lm_head.bias.data[:2] = -100.0  # it always writes something
    model.save_pretrained(folder)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder
