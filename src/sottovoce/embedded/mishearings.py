"""Makes a confusion table: a model transcribes training recordings, and what it misheard is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.types import Utterance
from sottovoce.data.audio import audio_sha256
from sottovoce.data.confusions import confusions_of, write_confusions
from sottovoce.data.manifest import read_manifest
from sottovoce.data.words import language_of
from sottovoce.decode.transcribe import transcribe


def make_confusions(
    manifests: Sequence[Path], model: str, out: Path, say: Callable[[str], None], allow_outside: bool = False
) -> dict[str, Any]:
    """Writes the table of what a model mishears in the manifests' training recordings, which no test uses.

    Args:
        model: as in :func:`sottovoce.decode.transcribe.transcribe`.
        out: the table. Until it is written, the transcripts so far are kept beside it, so that a rerun resumes.

    Returns:
        The numbers of recordings, words and misheard words, and the rates of replaced, dropped and inserted words.

    Raises:
        UserError: a manifest cannot be read, they have no training recordings, or these are of several languages.
    """
    spoken = [
        utterance
        for manifest in manifests
        for utterance in read_manifest(manifest, allow_outside)
        if utterance.split == "train" and utterance.audio is not None and utterance.transcript
    ]
    names = ", ".join(map(str, manifests))
    if not spoken:
        fault = f"{names}: no train utterance has both a recording and a transcript"
        raise UserError(fault, "name another manifest")
    languages = sorted({language_of(utterance.locale) for utterance in spoken})
    if len(languages) > 1:
        raise UserError(f"{names}: recordings in {', '.join(languages)}", "make a table for each language")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.partial")
    written = written_of(spoken, model, partial, say)
    pairs = [(u.transcript, written[audio_sha256(u.audio or Path(), u.where)]) for u in spoken]
    table = confusions_of(pairs, languages[0])
    write_confusions(table, out)
    partial.unlink(missing_ok=True)
    return {
        "num_recordings": len(spoken),
        "num_words": table.num_words,
        "num_words_misheard": len(table.heard),
        "replace_rate": round(table.replace_rate, 4),
        "drop_rate": round(table.drop_rate, 4),
        "insert_rate": round(table.insert_rate, 4),
    }


def written_of(
    utterances: Sequence[Utterance], model: str, partial: Path, say: Callable[[str], None]
) -> dict[str, str]:
    """A model's transcripts by the sha256 of the recordings, so equal recordings are transcribed once.

    Args:
        utterances, model, partial, say: as in :func:`sottovoce.decode.transcribe.transcribe`.
    """
    by_content = {audio_sha256(utterance.audio or Path(), utterance.where): utterance for utterance in utterances}
    return transcribe([replace(u, id=sha) for sha, u in by_content.items()], model, partial, say)
