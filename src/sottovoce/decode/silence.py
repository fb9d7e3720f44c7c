"""Inputs that hold no words. No model is asked about them: it would name an intent."""

from __future__ import annotations

from pathlib import Path

from sottovoce.core.types import Example
from sottovoce.data.audio import is_silent_file
from sottovoce.models.audio_states import AudioStore


def holds_no_words(example: Example, store: AudioStore) -> bool:
    """Whether an example's transcript is empty, or its recording silent or, to a model that hears words, without any.

    Args:
        store: holds the states of examples of modality ``speech``.
    """
    utterance = example.utterance
    if example.modality == "text":
        return not utterance.transcript.strip()
    return store.transcript_of(utterance) == "" or is_silent_file(utterance.audio or Path(), utterance.where)
