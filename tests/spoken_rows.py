"""Utterances and rows for the tiny model: tones in place of speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from sottovoce.core.types import Entity, Frame, Utterance
from sottovoce.data.audio import Samples
from sottovoce.data.collate import Row, tokenize
from sottovoce.data.prompts import slu_example
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel

AUDIO_PARTS = ("audio_tower", "multi_modal_projector")


def tone(seconds: float, pitch: float = 440.0) -> Samples:
    """A clip of one pitch, (num_samples,)."""
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(int(16_000 * seconds)) / 16_000)).astype(np.float32)


def utterance(transcript: str, identity: str = "u1", room: str = "hall") -> Utterance:
    frame = Frame("light", "on", (Entity("room", room),))
    return Utterance(identity, "en-US", transcript, frame, "train", Path("u1.wav"), where="manifest.jsonl:7")


def text_row(loaded: LoadedModel, transcript: str) -> Row:
    return tokenize(slu_example(utterance(transcript), "text"), loaded.processor, None)


def speech_row(loaded: LoadedModel, seconds: float, pitch: float = 440.0) -> Row:
    (states,) = encode_clips(loaded.model, loaded.processor, [tone(seconds, pitch)])
    return tokenize(slu_example(utterance("not shown"), "speech"), loaded.processor, states)


def mixed_rows(loaded: LoadedModel) -> list[Row]:
    """Text and speech, all of different lengths."""
    return [
        text_row(loaded, "light on"),
        speech_row(loaded, 0.5),
        text_row(loaded, "please put the light on in the hall, would you"),
        speech_row(loaded, 1.3, 700.0),
    ]


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """A copy of all weights."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same_weights(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    """Whether the two hold the same names and bits."""
    return some.keys() == others.keys() and all(torch.equal(tensor, others[name]) for name, tensor in some.items())


def tensors(weights: Path) -> dict[str, torch.Tensor]:
    """What a folder of weights holds."""
    (file,) = weights.glob("*.safetensors")
    return dict(load_file(file))
