"""Transcribes a manifest with a model and computes word error rates, in total and by speaker."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.storage import json_lines
from sottovoce.core.types import Utterance
from sottovoce.data.manifest import read_manifest
from sottovoce.decode.transcribe import transcribe
from sottovoce.models.embedded import EMBEDDED
from sottovoce.score.metrics.wer import holds_words, word_error_rate


def transcribe_manifest(
    manifest: Path,
    split: str,
    out: Path | None,
    say: Callable[[str], None],
    model: str = EMBEDDED,
    allow_outside: bool = False,
) -> dict[str, Any]:
    """Word error rates (0..1, more if the model adds words) of a split's recordings, and the share of the slots'
    fillers that occur in the transcripts word for word.

    Raises:
        UserError: no utterance of the split has both a recording and a transcript.
    """
    rows = read_manifest(manifest, allow_outside)
    utterances = [u for u in rows if u.split == split and u.audio is not None and u.transcript]
    if not utterances:
        fault = f"{manifest}: no {split} utterance has both a recording and a transcript"
        raise UserError(fault, "name another split")
    return heard_rates(utterances, say, out, model)


def heard_rates(
    utterances: Sequence[Utterance], say: Callable[[str], None], out: Path | None = None, model: str = EMBEDDED
) -> dict[str, Any]:
    """As :func:`transcribe_manifest`, for utterances that all have a recording."""
    with tempfile.TemporaryDirectory() as folder:
        heard = transcribe(utterances, model, Path(folder) / "transcripts", say)
    if out:
        lines = (
            {"id": u.id, "speaker": u.speaker, "transcript": u.transcript, "heard": heard[u.id]} for u in utterances
        )
        out.write_text(json_lines(lines), encoding="utf-8")
    groups: defaultdict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        groups["all"].append(utterance)
        groups[utterance.speaker or "unknown"].append(utterance)
    rates = {
        name: round(word_error_rate([u.transcript for u in group], [heard[u.id] for u in group]), 4)
        for name, group in groups.items()
    }
    found = [holds_words(heard[u.id], entity.filler) for u in utterances for entity in u.frame.entities]
    return {
        "num_utterances": len(utterances),
        "word_error_rate": rates.pop("all"),
        "fillers_found": round(sum(found) / len(found), 4) if found else None,
        "by_speaker": rates,
    }
