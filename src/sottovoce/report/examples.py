"""The report's example utterances: gold and predicted frames with their differences marked, and playable recordings."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import soundfile

from sottovoce.core.types import Entity, Frame, Prediction, Utterance
from sottovoce.report.measures import intent_right

MAX_EXAMPLES = 8
MAX_AUDIO_CHARACTERS = 1_000_000
MAX_RAW_CHARACTERS = 400
# Only these are embedded, so that a manifest cannot put any other file of the disk into a page that is shared.
_AUDIO_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}

Answers = Mapping[str, Prediction]


@dataclass(frozen=True)
class Piece:
    """One part of a frame; ``fault`` says what differs from the other frame: "" (nothing), "value" or "all"."""

    name: str
    value: str
    fault: str


@dataclass(frozen=True)
class Example:
    """One utterance of the report: gold frame, predicted frame (None if the answer has none) and recording."""

    utterance: Utterance
    gold: list[Piece]
    answer: list[Piece] | None
    raw: str
    audio: str | None


def fixed_and_remaining(
    gold: Sequence[Utterance], before: Answers, after: Answers
) -> tuple[list[Example], list[Example]]:
    """A selection of utterances that ``before`` got wrong and ``after`` right, and of those ``after`` gets wrong."""
    fixed = [row for row in gold if not _right(before.get(row.id), row) and _right(after.get(row.id), row)]
    remaining = [row for row in gold if not _right(after.get(row.id), row)]
    audio = _audio(fixed := _various(fixed, before), remaining := _various(remaining, after))
    return (
        [_example(row, before.get(row.id), audio) for row in fixed],
        [_example(row, after.get(row.id), audio) for row in remaining],
    )


def frame_pieces(frame: Frame, other: Frame | None) -> list[Piece]:
    """A frame's parts, each marked with how it differs from another frame; entities match in any order."""
    other = frame if other is None else other
    pieces = [
        Piece("scenario", frame.scenario, "" if frame.scenario == other.scenario else "value"),
        Piece("action", frame.action, "" if frame.action == other.action else "value"),
    ]
    unmatched, types = Counter(map(_key, other.entities)), {entity.type for entity in other.entities}
    for entity in frame.entities:
        fault = "value" if entity.type in types else "all"
        if unmatched[_key(entity)]:
            unmatched[_key(entity)] -= 1
            fault = ""
        pieces.append(Piece(entity.type, entity.filler, fault))
    return pieces


def audio_uri(path: Path | None, room: int) -> str | None:
    """A recording as a data URI of at most ``room`` characters; None if there is none, or it does not fit.

    WAV is converted to FLAC, which is lossless and half the size.
    """
    if path is None or path.suffix.lower() not in _AUDIO_TYPES or not path.is_file() or path.stat().st_size > 8 * room:
        return None
    kind, data = _AUDIO_TYPES[path.suffix.lower()], path.read_bytes()
    if kind == "audio/wav":
        packed = io.BytesIO()
        try:
            samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
            soundfile.write(packed, samples, rate, format="FLAC", subtype="PCM_16")
        except soundfile.LibsndfileError:
            return None  # a damaged recording is left out: the report is about the answers
        kind, data = "audio/flac", packed.getvalue()
    uri = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return uri if len(uri) <= room else None


def _key(entity: Entity) -> tuple[str, str]:
    return entity.type, " ".join(entity.filler.casefold().split())


def _right(prediction: Prediction | None, gold: Utterance) -> bool:
    return intent_right(prediction, gold) and _entities(prediction) == Counter(map(_key, gold.frame.entities))


def _entities(prediction: Prediction | None) -> Counter[tuple[str, str]]:
    return Counter(map(_key, prediction.frame.entities if prediction and prediction.frame else ()))


def _various(rows: Iterable[Utterance], answers: Answers) -> list[Utterance]:
    """The rows to show: wrong intents before wrong entities, and every intent once before any intent twice."""
    seen: Counter[str] = Counter()
    ranked = []
    for place, row in enumerate(rows):
        ranked.append((seen[row.frame.intent], intent_right(answers.get(row.id), row), place, row))
        seen[row.frame.intent] += 1
    return [row for *_, row in sorted(ranked, key=lambda rank: rank[:3])[:MAX_EXAMPLES]]


def _audio(*lists: Sequence[Utterance]) -> dict[str, str]:
    """The recordings that fit into the page, taken from the lists in turn."""
    room, uris = MAX_AUDIO_CHARACTERS, dict[str, str]()
    for row in (row for turn in zip_longest(*lists) for row in turn if row is not None):
        uri = audio_uri(row.audio, room)
        if uri is not None and row.id not in uris:
            uris[row.id] = uri
            room -= len(uri)
    return uris


def _example(row: Utterance, prediction: Prediction | None, audio: Mapping[str, str]) -> Example:
    frame, raw = (prediction.frame, prediction.raw) if prediction else (None, "")
    shown = raw if len(raw) <= MAX_RAW_CHARACTERS else raw[:MAX_RAW_CHARACTERS] + " …"
    answer = frame_pieces(frame, row.frame) if frame else None
    return Example(row, frame_pieces(row.frame, frame), answer, shown, audio.get(row.id))
