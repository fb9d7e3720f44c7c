"""Audio states by recording: each clip goes through the frozen audio tower once, however often it is used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from rich.progress import Progress

from sottovoce.data.audio import load_audio
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel
from sottovoce.types import Utterance

BATCH_CLIPS = 16


class AudioStore:
    """Keeps the states of recordings in memory, in the model's dtype; the tower must stay frozen meanwhile."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._states: dict[Path, torch.Tensor] = {}

    def states(self, utterance: Utterance) -> torch.Tensor:
        """The states of an encoded recording, (num_audio_tokens, d_model). KeyError if it was not encoded."""
        assert utterance.audio is not None
        return self._states[utterance.audio]

    def encode(self, utterances: Iterable[Utterance], progress: Progress) -> None:
        """Encodes the recordings that are not encoded yet.

        Raises:
            UserError: a recording is missing or unreadable; the message names the manifest's file:line.
        """
        todo = list({u.audio: u for u in utterances if u.audio is not None and u.audio not in self._states}.values())
        if not todo:
            return
        task = progress.add_task(f"hearing {len(todo)} recordings", total=len(todo))
        for start in range(0, len(todo), BATCH_CLIPS):
            part: Sequence[Utterance] = todo[start : start + BATCH_CLIPS]
            clips = [load_audio(u.audio, u.where) for u in part if u.audio is not None]
            encoded = encode_clips(self._loaded.model, self._loaded.processor, clips, BATCH_CLIPS)
            for utterance, states in zip(part, encoded, strict=True):
                assert utterance.audio is not None
                self._states[utterance.audio] = states
            progress.advance(task, len(part))
