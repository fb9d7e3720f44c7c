"""Transcripts by the model that a run was trained from."""

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
    """A model that writes down what it hears, in a locale."""

    loaded: LoadedModel
    locale: str

    def transcribe_all(self, clips: Sequence[Samples]) -> list[str]:
        """The transcript of each recording (mono, 16 kHz), all computed at once; what is beyond the window is cut."""
        return transcribe_clips(self.loaded, clips, [self.locale] * len(clips))


def load_transcriber_of(run: Path, say: Callable[[str], None]) -> Transcriber:
    """The transcriber of a run folder: its model without the run's weights, which know frames alone.

    Raises:
        UserError: the folder is no run.
    """
    return Transcriber(load_for(recipe_of_run(run), say), locale_of_run(run))
