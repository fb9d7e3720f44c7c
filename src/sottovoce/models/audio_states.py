"""Audio states by recording: the frozen audio tower encodes each clip only once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TaskID

from sottovoce.core.progress import progress_bar
from sottovoce.core.types import Example, Utterance
from sottovoce.data.audio import Samples, load_audio
from sottovoce.data.collate import Row, tokenize
from sottovoce.data.perturb import perturb
from sottovoce.models.audio_state_cache import AudioStateCache, state_key
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel

BATCH_CLIPS = 16
LOOKED_UP_AT_ONCE = 256  # recordings


ClipCopy = tuple[Utterance, int]
"""A recording and which copy of it: 0 is the original, each other number a different perturbation."""

MemoryKey = tuple[Path | None, str, str, int]
"""Identifies a clip in memory: its file and locale, for a perturbed copy also the utterance's id, and the copy's
number."""


class AudioStore:
    """Keeps the states of recordings in memory; the part of the model that computes them must stay frozen.

    Args:
        keeps_inputs: also keep the recordings' mel frames, for an audio part that is trained and encodes them anew.
        files: the cache on disk; None: everything is computed here.
    """

    def __init__(self, loaded: LoadedModel, keeps_inputs: bool = False, files: AudioStateCache | None = None) -> None:
        if keeps_inputs and files:
            raise ValueError("a trained audio part cannot share states")
        self._loaded, self.keeps_inputs, self._files = loaded, keeps_inputs, files
        self._states: dict[MemoryKey, torch.Tensor] = {}
        self._inputs: dict[MemoryKey, dict[str, torch.Tensor]] = {}

    @classmethod
    def shared(cls, loaded: LoadedModel, say: Callable[[str], None]) -> AudioStore:
        """A store that uses the cache in the user's cache folder (see :class:`AudioStateCache`)."""
        return cls(loaded, files=AudioStateCache(loaded, BATCH_CLIPS, say))

    @property
    def processor(self) -> Any:
        """Its model's processor."""
        return self._loaded.processor

    @property
    def window_seconds(self) -> float:
        """The longest recording that its model takes without cutting."""
        return self._loaded.window_seconds

    def missing(self, clips: Iterable[ClipCopy]) -> list[ClipCopy]:
        """The recordings that are neither in memory nor on disk, each once."""
        new = {_memory_key(u, copy): (u, copy) for u, copy in clips if u.audio is not None}
        todo = {state_key(*clip): clip for place, clip in new.items() if place not in self._states}
        wanted = self._files.missing(todo) if self._files else todo
        return [clip for key, clip in todo.items() if key in wanted]

    def states_of(self, example: Example) -> torch.Tensor | None:
        """The states of an example's encoded recording, (num_audio_tokens, width); None if the example is text.

        Raises:
            KeyError: the recording was not encoded.
        """
        return self._states[_memory_key(example.utterance, example.copy)] if example.modality == "speech" else None

    def transcript_of(self, utterance: Utterance) -> str | None:
        """The words of an encoded recording; None if the model's states are not words."""
        states = self._states[_memory_key(utterance, 0)]
        return self._loaded.family.transcript(self._loaded.processor, states)

    def rows_of(self, examples: Sequence[Example]) -> list[Row]:
        """Tokenised examples; their recordings are encoded first if necessary, with a progress bar."""
        spoken = [(example.utterance, example.copy) for example in examples if example.modality == "speech"]
        with progress_bar() as progress:
            self.encode(spoken, progress)
        inputs = (
            self._inputs.get(_memory_key(example.utterance, example.copy)) if example.modality == "speech" else None
            for example in examples
        )
        return [
            tokenize(example, self._loaded.processor, self.states_of(example), own)
            for example, own in zip(examples, inputs, strict=True)
        ]

    def encode(self, clips: Iterable[ClipCopy], progress: Progress) -> None:
        """Encodes recordings that are neither in memory nor on disk, and loads those on disk.

        Raises:
            UserError: a recording is missing or unreadable; the message names the manifest's file:line.
        """
        new = {_memory_key(u, copy): (u, copy) for u, copy in clips if u.audio is not None}
        todo = [clip for place, clip in new.items() if place not in self._states]
        if not todo:
            return
        task = progress.add_task(f"encoding {len(todo)} recordings", total=len(todo))
        parts = _cut(todo, BATCH_CLIPS)
        if self._files:
            todo = [clip for part in _cut(todo, LOOKED_UP_AT_ONCE) for clip in self._look_up(part, progress, task)]
            parts = _cut(todo, BATCH_CLIPS)
            # Processes with the same recordings start at different ones, and find what others have encoded meanwhile.
            first = random.SystemRandom().randrange(len(parts)) if parts else 0
            parts = parts[first:] + parts[:first]
        for part in parts:
            self._encode(self._look_up(part, progress, task), progress, task)

    def _look_up(self, clips: Sequence[ClipCopy], progress: Progress, task: TaskID) -> Sequence[ClipCopy]:
        """Loads what is on disk, and returns the rest."""
        if not self._files:
            return clips
        keys = [state_key(*clip) for clip in clips]
        kept = self._files.read(set(keys))
        self._states |= {_memory_key(*clip): kept[key] for clip, key in zip(clips, keys, strict=True) if key in kept}
        missing = [clip for clip, key in zip(clips, keys, strict=True) if key not in kept]
        progress.advance(task, len(clips) - len(missing))
        return missing

    def _encode(self, clips: Sequence[ClipCopy], progress: Progress, task: TaskID) -> None:
        if not clips:
            return
        samples = [_samples_of(*clip) for clip in clips]
        # Cached states must not depend on how many clips were left to encode: a matrix product's rounding may change
        # with its size (seen with one clip instead of several), though not with its other rows. So fill up the batch.
        locales, num_filling = [u.locale for u, _ in clips], BATCH_CLIPS - len(samples) if self._files else 0
        encoded = encode_clips(
            self._loaded.model,
            self._loaded.processor,
            samples + samples[-1:] * num_filling,
            BATCH_CLIPS,
            locales + locales[-1:] * num_filling,
        )
        # zip ignores the filling; families that encode clips one by one never reach it.
        self._states |= {_memory_key(*clip): states for clip, states in zip(clips, encoded, strict=False)}
        if self.keeps_inputs:
            inputs_of, parts = self._loaded.family.training_inputs, (self._loaded.model, self._loaded.processor)
            for clip, sound in zip(clips, samples, strict=True):
                self._inputs[_memory_key(*clip)] = inputs_of(*parts, sound, clip[0].locale)
        if self._files:
            self._files.write({state_key(*clip): self._states[_memory_key(*clip)] for clip in clips})
        progress.advance(task, len(clips))


def _cut(clips: Sequence[ClipCopy], size: int) -> list[Sequence[ClipCopy]]:
    return [clips[start : start + size] for start in range(0, len(clips), size)]


def _memory_key(utterance: Utterance, copy: int) -> MemoryKey:
    return utterance.audio, utterance.locale, utterance.id if copy else "", copy


def _samples_of(utterance: Utterance, copy: int) -> Samples:
    samples = load_audio(utterance.audio or Path(), utterance.where)
    return perturb(samples, random.Random(f"{utterance.id}/{copy}")) if copy else samples
