"""Audio states by recording: each clip goes through the frozen audio tower once, however often it is used."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from rich.progress import Progress

from sottovoce.data.audio import Samples, load_audio
from sottovoce.data.collate import Row, tokenize
from sottovoce.data.perturb import perturb
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel
from sottovoce.progress import progress_bar
from sottovoce.types import Example, Utterance

BATCH_CLIPS = 16


Clip = tuple[Utterance, int]
"""A recording and which copy of it: 0 as it is, each other number perturbed in its own way."""


class AudioStore:
    """Keeps the states of recordings in memory, in the model's dtype; what computes them must stay frozen.

    Args:
        keeps_inputs: keep the recordings' mel frames, too, for an audio part that is trained and hears them anew.
    """

    def __init__(self, loaded: LoadedModel, keeps_inputs: bool = False) -> None:
        self._loaded, self.keeps_inputs = loaded, keeps_inputs
        self._states: dict[tuple[Path | None, int], torch.Tensor] = {}
        self._inputs: dict[tuple[Path | None, int], dict[str, torch.Tensor]] = {}

    @property
    def window_seconds(self) -> float:
        """The longest recording that its model hears whole."""
        return self._loaded.window_seconds

    def states_of(self, example: Example) -> torch.Tensor | None:
        """The states of an example's encoded recording, (num_audio_tokens, width); None if the example is text.

        Raises:
            KeyError: it was not encoded.
        """
        return self._states[example.utterance.audio, example.copy] if example.modality == "speech" else None

    def rows_of(self, examples: Sequence[Example]) -> list[Row]:
        """Tokenised examples; recordings that were not heard yet are heard first, with a progress bar."""
        spoken = [(example.utterance, example.copy) for example in examples if example.modality == "speech"]
        with progress_bar() as progress:
            self.encode(spoken, progress)
        return [
            tokenize(
                example,
                self._loaded.processor,
                self.states_of(example),
                self._inputs.get((example.utterance.audio, example.copy)) if example.modality == "speech" else None,
            )
            for example in examples
        ]

    def encode(self, clips: Iterable[Clip], progress: Progress) -> None:
        """Encodes the recordings that are not encoded yet.

        Raises:
            UserError: a recording is missing or unreadable; the message names the manifest's file:line.
        """
        new = {(u.audio, copy): u for u, copy in clips if u.audio is not None and (u.audio, copy) not in self._states}
        todo = list(new.items())
        if not todo:
            return
        task = progress.add_task(f"hearing {len(todo)} recordings", total=len(todo))
        for start in range(0, len(todo), BATCH_CLIPS):
            part = todo[start : start + BATCH_CLIPS]
            samples = [_heard(utterance, copy) for (_, copy), utterance in part]
            encoded = encode_clips(self._loaded.model, self._loaded.processor, samples, BATCH_CLIPS)
            for (key, _), states in zip(part, encoded, strict=True):
                self._states[key] = states
            if self.keeps_inputs:
                for (key, _), clip in zip(part, samples, strict=True):
                    self._inputs[key] = self._loaded.family.audio_inputs(self._loaded.processor, clip)
            progress.advance(task, len(part))


def _heard(utterance: Utterance, copy: int) -> Samples:
    samples = load_audio(utterance.audio or Path(), utterance.where)
    return perturb(samples, random.Random(f"{utterance.id}/{copy}")) if copy else samples
