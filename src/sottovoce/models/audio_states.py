"""Audio states by recording: each clip goes through the frozen audio tower once, however often it is used."""

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
from sottovoce.models.audio_state_cache import FeatureFiles, state_key
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel

BATCH_CLIPS = 16
LOOKED_UP_AT_ONCE = 256  # recordings


Clip = tuple[Utterance, int]
"""A recording and which copy of it: 0 as it is, each other number perturbed in its own way."""

Place = tuple[Path | None, str, str, int]
"""Where a clip is kept in memory: its file, its locale, and for a perturbed copy the utterance that draws how, and its
number."""


class AudioStore:
    """Keeps the states of recordings in memory; what computes them must stay frozen.

    Args:
        keeps_inputs: keep the recordings' mel frames, too, for an audio part that is trained and hears them anew.
        files: where states are looked up and kept on disk; None: all that is asked for is computed here.
    """

    def __init__(self, loaded: LoadedModel, keeps_inputs: bool = False, files: FeatureFiles | None = None) -> None:
        if keeps_inputs and files:
            raise ValueError("an audio part that is trained shares no states")
        self._loaded, self.keeps_inputs, self._files = loaded, keeps_inputs, files
        self._states: dict[Place, torch.Tensor] = {}
        self._inputs: dict[Place, dict[str, torch.Tensor]] = {}

    @classmethod
    def shared(cls, loaded: LoadedModel, say: Callable[[str], None]) -> AudioStore:
        """One whose states are looked up and kept in the user's cache folder (see :class:`FeatureFiles`)."""
        return cls(loaded, files=FeatureFiles(loaded, BATCH_CLIPS, say))

    @property
    def processor(self) -> Any:
        """Its model's processor."""
        return self._loaded.processor

    @property
    def window_seconds(self) -> float:
        """The longest recording that its model hears whole."""
        return self._loaded.window_seconds

    def missing(self, clips: Iterable[Clip]) -> list[Clip]:
        """Those recordings, each once, that are neither in memory nor on disk."""
        new = {_place(u, copy): (u, copy) for u, copy in clips if u.audio is not None}
        todo = {state_key(*clip): clip for place, clip in new.items() if place not in self._states}
        wanted = self._files.missing(todo) if self._files else todo
        return [clip for key, clip in todo.items() if key in wanted]

    def states_of(self, example: Example) -> torch.Tensor | None:
        """The states of an example's encoded recording, (num_audio_tokens, width); None if the example is text.

        Raises:
            KeyError: it was not encoded.
        """
        return self._states[_place(example.utterance, example.copy)] if example.modality == "speech" else None

    def transcript_of(self, utterance: Utterance) -> str | None:
        """The words that were heard in an encoded recording; None of a model whose states are no words."""
        states = self._states[_place(utterance, 0)]
        return self._loaded.family.transcript(self._loaded.processor, states)

    def rows_of(self, examples: Sequence[Example]) -> list[Row]:
        """Tokenised examples; recordings that are not encoded yet are encoded first, with a progress bar."""
        spoken = [(example.utterance, example.copy) for example in examples if example.modality == "speech"]
        with progress_bar() as progress:
            self.encode(spoken, progress)
        return [
            tokenize(
                example,
                self._loaded.processor,
                self.states_of(example),
                self._inputs.get(_place(example.utterance, example.copy)) if example.modality == "speech" else None,
            )
            for example in examples
        ]

    def encode(self, clips: Iterable[Clip], progress: Progress) -> None:
        """Encodes the recordings that are not encoded yet, or finds them on disk.

        Raises:
            UserError: a recording is missing or unreadable; the message names the manifest's file:line.
        """
        new = {_place(u, copy): (u, copy) for u, copy in clips if u.audio is not None}
        todo = [clip for place, clip in new.items() if place not in self._states]
        if not todo:
            return
        task = progress.add_task(f"encoding {len(todo)} recordings", total=len(todo))
        parts = _cut(todo, BATCH_CLIPS)
        if self._files:
            todo = [clip for part in _cut(todo, LOOKED_UP_AT_ONCE) for clip in self._look_up(part, progress, task)]
            parts = _cut(todo, BATCH_CLIPS)
            # Processes that hear the same begin in different places, and find what the others have done meanwhile.
            first = random.SystemRandom().randrange(len(parts)) if parts else 0
            parts = parts[first:] + parts[:first]
        for part in parts:
            self._hear(self._look_up(part, progress, task), progress, task)

    def _look_up(self, clips: Sequence[Clip], progress: Progress, task: TaskID) -> Sequence[Clip]:
        """Takes what is on disk, and returns the rest."""
        if not self._files:
            return clips
        keys = [state_key(*clip) for clip in clips]
        kept = self._files.read(set(keys))
        self._states |= {_place(*clip): kept[key] for clip, key in zip(clips, keys, strict=True) if key in kept}
        missing = [clip for clip, key in zip(clips, keys, strict=True) if key not in kept]
        progress.advance(task, len(clips) - len(missing))
        return missing

    def _hear(self, clips: Sequence[Clip], progress: Progress, task: TaskID) -> None:
        if not clips:
            return
        samples = [_heard(*clip) for clip in clips]
        # What others will find must not depend on how many clips were left to hear: how a matrix product rounds may
        # change with its size (seen with one clip in place of several), though not with what else stands in it.
        locales, num_filling = [u.locale for u, _ in clips], BATCH_CLIPS - len(samples) if self._files else 0
        encoded = encode_clips(
            self._loaded.model,
            self._loaded.processor,
            samples + samples[-1:] * num_filling,
            BATCH_CLIPS,
            locales + locales[-1:] * num_filling,
        )
        # Only what is asked for: where clips go one by one the filling is never heard.
        self._states |= {_place(*clip): states for clip, states in zip(clips, encoded, strict=False)}
        if self.keeps_inputs:
            inputs_of, parts = self._loaded.family.training_inputs, (self._loaded.model, self._loaded.processor)
            for clip, sound in zip(clips, samples, strict=True):
                self._inputs[_place(*clip)] = inputs_of(*parts, sound, clip[0].locale)
        if self._files:
            self._files.write({state_key(*clip): self._states[_place(*clip)] for clip in clips})
        progress.advance(task, len(clips))


def _cut(clips: Sequence[Clip], size: int) -> list[Sequence[Clip]]:
    return [clips[start : start + size] for start in range(0, len(clips), size)]


def _place(utterance: Utterance, copy: int) -> Place:
    return utterance.audio, utterance.locale, utterance.id if copy else "", copy


def _heard(utterance: Utterance, copy: int) -> Samples:
    samples = load_audio(utterance.audio or Path(), utterance.where)
    return perturb(samples, random.Random(f"{utterance.id}/{copy}")) if copy else samples
