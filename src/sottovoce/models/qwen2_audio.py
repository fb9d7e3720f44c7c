"""Qwen2-Audio: the audio tower's states are kept, and projected at every step, so that the projector can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask

from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.models.family import Family

FRAME_STEP = 100  # of mel frames, a second: few lengths, for each of which a CPU compiles its matrix products anew
LOOKAHEAD = 4  # mel frames


@dataclass(frozen=True)
class Qwen2Audio(Family):
    """One window; clips are encoded in batches, padding beyond a clip is masked as in ``Qwen2AudioModel.forward``."""

    def load_processor(self, source: str, config: Any) -> Any:
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(source, trust_remote_code=False)

    @torch.inference_mode()
    def encode(self, model: Any, processor: Any, clips: Sequence[Samples], batch_size: int) -> Iterator[torch.Tensor]:
        for start in range(0, len(clips), batch_size):
            yield from _encoded(model, *_mel(processor, clips[start : start + batch_size]))

    def audio_features(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        num_heard = inputs["feature_attention_mask"].sum(-1)
        states, lengths = tower_states(model.model.audio_tower, inputs["input_features"], num_heard)
        return self.projected(model, states[0, : int(lengths[0])])

    def projected(self, base: Any, audio_states: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = base.model.multi_modal_projector(audio_states)
        return states


def short_mel(processor: Any, clips: Sequence[Samples]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mel frames of clips without most of the padding that fills the processor's window, for :func:`tower_states`.

    The states are those of the whole window but for rounding, and cost a part of it where clips are short.

    Returns:
        (batch, mel_bins, num_frames), and the number of frames of sound of each clip, (batch,).
    """
    mel, num_heard = _mel(processor, clips)
    # The convolutions look a few frames ahead; beyond them padding is masked and changes nothing.
    return mel[:, :, : -(-(int(num_heard.max()) + LOOKAHEAD) // FRAME_STEP) * FRAME_STEP], num_heard


@torch.inference_mode()
def encode_short(model: Any, processor: Any, clips: Sequence[Samples], batch_size: int = 16) -> list[torch.Tensor]:
    """The audio tower's states of each clip, (num_states, d_model); clips of similar length are encoded together."""
    by_length = sorted(range(len(clips)), key=lambda place: len(clips[place]))
    encoded: dict[int, torch.Tensor] = {}
    for start in range(0, len(clips), batch_size):
        places = by_length[start : start + batch_size]
        mel, num_heard = short_mel(processor, [clips[place] for place in places])
        encoded |= zip(places, _encoded(model, mel, num_heard), strict=True)
    return [encoded[place] for place in range(len(clips))]


def _encoded(model: Any, mel: torch.Tensor, num_heard: torch.Tensor) -> list[torch.Tensor]:
    tower = model.model.audio_tower
    states, lengths = tower_states(tower, mel.to(tower.device, tower.dtype), num_heard)
    return [row[:length].to("cpu", copy=True) for row, length in zip(states, lengths.tolist(), strict=True)]


def _mel(processor: Any, clips: Sequence[Samples]) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = processor.feature_extractor(
        list(clips), sampling_rate=SAMPLING_RATE, return_attention_mask=True, padding="max_length", return_tensors="pt"
    )
    return inputs["input_features"], inputs["attention_mask"].sum(-1)


def tower_states(tower: Any, mel: torch.Tensor, num_heard: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The audio tower's states of clips; padding is masked as in ``Qwen2AudioModel.forward``.

    Args:
        mel: (batch, mel_bins, num_frames), any multiple of 4 frames up to the tower's window.
        num_heard: frames of sound of each clip, (batch,).

    Returns:
        (batch, num_frames / 4, d_model), and the number of states of each clip, (batch,).
    """
    num_positions, num_states = tower._get_feat_extract_output_lengths(num_heard)
    length = mel.shape[-1] // 2  # the tower works on half the mel frames
    attention = create_bidirectional_mask(
        config=tower.config,
        inputs_embeds=mel.new_zeros(len(mel), length, 1, dtype=tower.dtype),
        attention_mask=(torch.arange(length)[None, :] < num_positions[:, None].cpu()).long().to(mel.device),
    )
    with _window_of(tower, length):
        return tower(mel, attention_mask=attention).last_hidden_state, num_states


@contextmanager
def _window_of(tower: Any, num_positions: int) -> Iterator[None]:
    # The tower takes as many frames as it has positions: 30 s of them, however short a command is.
    whole = tower.embed_positions
    tower.embed_positions = nn.Embedding(
        num_positions, whole.embedding_dim, _weight=whole.weight[:num_positions], _freeze=True
    )
    tower.config.max_source_positions = num_positions
    try:
        yield
    finally:
        tower.embed_positions = whole
        tower.config.max_source_positions = len(whole.weight)
