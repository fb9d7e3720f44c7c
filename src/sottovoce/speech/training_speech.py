"""Synthetic recordings of a corpus's training utterances, for schemes that learn from synthetic speech first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sottovoce.core.errors import UserError
from sottovoce.data.manifest import read_manifest, row_of
from sottovoce.speech.synthesis import speak_manifest
from sottovoce.speech.voices import CAST_LOCALES, voice_named


def speak_training(manifest: Path, out: Path, voices: list[str], seed: int, workers: int) -> Iterator[int]:
    """Speaks the transcripts of a manifest's training utterances into ``out/audio``; yields the clips so far.

    Args:
        voices: ``ENGINE:NAME`` each; none: the Kokoro voices that test speech does not use.

    Raises:
        UserError: no train utterance has a transcript, a voice is unknown, or an engine is not installed.
    """
    listed = read_manifest(manifest, allow_outside=True)
    utterances = [u for u in listed if u.split == "train" and u.transcript]
    if not utterances:
        fault = f"{manifest}: no train utterance has a transcript"
        raise UserError(fault, "give the training utterances the split train")
    if not voices and (locale := next((u.locale for u in utterances if u.locale not in CAST_LOCALES), None)):
        raise UserError(f"there are no default voices for {locale}", "name voices, such as --voice espeak:de")
    keys = ("id", "locale", "transcript", "scenario", "action", "entities", "split")
    rows = [{key: value for key, value in row_of(u, out).items() if key in keys} for u in utterances]
    cast = tuple(map(voice_named, voices)) if voices else "train"
    yield from speak_manifest(rows, out, cast=cast, seed=seed, workers=workers)
