"""Transcripts by the model that a run was trained from, without the run's weights, which know frames alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sottovoce.data.audio import Samples
from sottovoce.data.collate import tokenize
from sottovoce.data.prompts import transcription_example
from sottovoce.evaluate.asr import MAX_NEW_TOKENS
from sottovoce.evaluate.decode import generate
from sottovoce.models.features import encode_clips
from sottovoce.models.load import LoadedModel
from sottovoce.study.trained import load_for, recipe_of_run
from sottovoce.types import Frame, Utterance


@dataclass(frozen=True)
class Transcriber:
    """A model that is asked to write down what it hears; :func:`load_transcriber_of` makes one."""

    loaded: LoadedModel

    def transcribe_all(self, clips: Sequence[Samples]) -> list[str]:
        """The transcript of each recording (mono, 16 kHz), all computed at once; what is beyond the window is cut."""
        states = encode_clips(self.loaded.model, self.loaded.processor, clips, len(clips))
        example = transcription_example(Utterance("", "", "", Frame("", ""), "test"))
        rows = [tokenize(example, self.loaded.processor, each) for each in states]
        return generate(self.loaded, self.loaded.model, rows, MAX_NEW_TOKENS)


def load_transcriber_of(run: Path, say: Callable[[str], None]) -> Transcriber:
    """The transcriber of a run folder. Raises UserError if the folder is no run."""
    return Transcriber(load_for(recipe_of_run(run), say))
