"""Transcripts by the base model of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sottovoce.data.audio import Samples
from sottovoce.decode.transcribe import transcribe_clips
from sottovoce.models.load import LoadedModel
from sottovoce.study.runs import load_for, locale_of_run, recipe_of_run


@dataclass(frozen=True)
class Transcriber:
    """A model that transcribes recordings of a locale."""

    loaded: LoadedModel
    locale: str

    def transcribe_all(self, clips: Sequence[Samples]) -> list[str]:
        """The transcript of each recording (mono, 16 kHz), computed together; recordings are cut at the window."""
        return transcribe_clips(self.loaded, clips, [self.locale] * len(clips))


def load_transcriber_of(run: Path, say: Callable[[str], None]) -> Transcriber:
    """The transcriber of a run folder: its model without the run's weights, which only produce frames.

    Raises:
        UserError: the folder is not a run.
    """
    return Transcriber(load_for(recipe_of_run(run), say), locale_of_run(run))
