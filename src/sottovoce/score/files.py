"""Gold and prediction files, and how their rows are matched.

Gold is a SLURP release file (recognised by its ``slurp_id`` key) or one of our manifests. Predictions are JSONL in the
format of SLURP's scorer, plus the raw answer and whether it could be read::

    {"file": "audio-1.flac", "scenario": "alarm", "action": "set",
     "entities": [{"type": "time", "filler": "five am"}], "text": "...", "status": "ok", "confidence": 0.93}

Rows keyed by ``file`` answer recordings (one gold item each), rows keyed by ``slurp_id`` or ``id`` utterances.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field

from sottovoce.core.errors import UserError
from sottovoce.core.storage import whole_file
from sottovoce.core.types import REJECTIONS, SPLITS, Entity, Frame, RowStatus
from sottovoce.data.manifest import read_manifest
from sottovoce.score.jsonl import json_rows, validated

KeyKind = Literal["file", "slurp_id", "id"]
# In this order: a row with both a file and an id is matched by file, the default of SLURP's scorer.
KEY_KINDS: tuple[KeyKind, ...] = get_args(KeyKind)


@dataclass(frozen=True, slots=True)
class GoldItem:
    """One item to be answered, an utterance or one recording of it; ``where`` is its ``file:line``.

    Items with the same ``utterance`` are recordings of the same utterance. In a release file that is the slurp_id. In a
    manifest, rows with the same locale, transcript and labels count as one utterance, since SLURP's and
    Speech-MASSIVE's have a row for each recording. ``recording`` is the audio file's name, ``seconds`` its length.
    """

    key: str
    frame: Frame
    transcript: str
    where: str = field(default="", compare=False)
    utterance: str = ""
    locale: str = ""
    recording: str | None = None
    speaker: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Gold:
    """The right answers: ``utterances`` by id, ``recordings`` by the name of the audio file (without folder).

    ``clashes`` says, for either of the two, why it cannot be used: a duplicate key.
    """

    path: Path
    utterances: dict[str, GoldItem]
    recordings: dict[str, GoldItem]
    clashes: dict[Literal["utterances", "recordings"], str] = field(default_factory=dict)

    def items(self, kind: KeyKind) -> dict[str, GoldItem]:
        """The gold items that predictions with this kind of key answer, in the file's order.

        Raises:
            UserError: ``kind`` is ``"file"`` and the file names no recordings, or a key is duplicated.
        """
        group: Literal["utterances", "recordings"] = "recordings" if kind == "file" else "utterances"
        if group in self.clashes:
            raise UserError(self.clashes[group], f"make them unique, or do not key the predictions by {kind}")
        if kind == "file" and not self.recordings:
            raise UserError(f"{self.path}: no row names a recording", "key the predictions by id instead of file")
        return self.recordings if kind == "file" else self.utterances


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One answer: the key of what it answers, its frame (empty strings if it could not be read) and the raw text.

    ``confidence`` is the probability of the answered intent, 0..1; None if it was not measured.
    """

    kind: KeyKind
    key: str
    frame: Frame
    text: str | None = None
    status: RowStatus = "ok"
    confidence: float | None = None
    where: str = field(default="", compare=False)


class _EntityRow(BaseModel):
    type: str
    filler: str


class _PredictionModel(BaseModel):
    scenario: str
    action: str
    entities: list[_EntityRow]
    text: str | None = None
    status: RowStatus = "ok"
    confidence: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] | None = None


class _ReleaseModel(BaseModel):
    class Token(BaseModel):
        surface: str

    class Span(BaseModel):
        span: list[Annotated[int, Field(ge=0)]]  # -1 would mean the last token
        type: str

    class Recording(BaseModel):
        file: str

    slurp_id: Annotated[str, Field(coerce_numbers_to_str=True)]
    sentence: str
    scenario: str
    action: str
    entities: list[Span]
    tokens: list[Token]
    recordings: list[Recording] = []


def read_gold(path: Path, split: str | None = None) -> Gold:
    """Reads the right answers from a SLURP release file or from one of our manifests.

    SLURP's fillers are the surfaces of the span's tokens, lower-cased and joined by spaces, as in its scorer; a
    manifest's fillers are left unchanged, since the model is trained on them.

    Args:
        path: the JSONL file.
        split: keep only this split of a manifest; None keeps every row.

    Raises:
        UserError: no such file, no rows, an invalid row (with file:line), or no rows of that split.
    """
    _, first = next(json_rows(path, "gold file"))
    if "slurp_id" in first and split is not None:
        raise UserError(f"{path}: a SLURP release file has no splits", "leave out the split, or give that split's file")
    if "slurp_id" in first:
        return _read_release(path)
    if split is not None and split not in SPLITS:
        raise UserError(f"there is no split {split!r}", f"it is one of {', '.join(SPLITS)}")
    gold = Gold(path, {}, {})
    first_ids: dict[tuple[str, str, Frame], str] = {}  # of the utterances
    for utterance in read_manifest(path, allow_outside=True):  # safe, as no audio is opened
        if split is None or utterance.split == split:
            name = None if utterance.audio is None else utterance.audio.name
            item = GoldItem(
                utterance.id,
                utterance.frame,
                utterance.transcript,
                utterance.where,
                first_ids.setdefault((utterance.locale, utterance.transcript, utterance.frame), utterance.id),
                utterance.locale,
                name,
                utterance.speaker,
                utterance.seconds,
            )
            _add(gold, item, [] if name is None else [name])
    if not gold.utterances:
        raise UserError(f"{path}: no row of the split {split!r}", "give another split or manifest")
    return gold


def read_predictions(path: Path) -> list[PredictionRow]:
    """Reads predictions in the file's order; rows with duplicate keys are kept and left to the scorer.

    Raises:
        UserError: as ``stream_predictions``.
    """
    return list(stream_predictions(path))


def stream_predictions(path: Path) -> Iterator[PredictionRow]:
    """Yields predictions row by row, so that a file larger than memory can be scored.

    The key is ``file``, ``slurp_id`` or ``id`` (the first that the row has), the same in every row; unknown keys are
    ignored. A missing ``status`` means ``ok``; scenario, action and entities may be missing if there is no answer to
    read.

    Raises:
        UserError: no such file, no rows, or a row that is invalid or has another key; the message has file:line.
    """
    used: KeyKind | None = None
    for where, row in json_rows(path, "prediction file"):
        kind = next((kind for kind in KEY_KINDS if row.get(kind) is not None), None)
        if kind is None:
            raise UserError(f"{where}: no key among {', '.join(KEY_KINDS)}", "give each row the key of what it answers")
        used = used or kind
        if kind != used:
            raise UserError(f"{where}: keyed by {kind}, the rows above by {used}", "use one key in all rows")
        key = row[kind]
        if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
            raise UserError(f"{where}: {kind} must be a name or a number, not {key!r}", "correct that row")
        if row.get("status") in ("unreadable", "unreadable_input", *REJECTIONS):
            row = {"scenario": "", "action": "", "entities": []} | row
        model = validated(_PredictionModel, row, where)
        entities = tuple(Entity(sys.intern(each.type), each.filler) for each in model.entities)
        frame = Frame(sys.intern(model.scenario), sys.intern(model.action), entities)  # few labels, many rows
        if model.status in REJECTIONS:
            frame = Frame(model.status, "")
        yield PredictionRow(kind, str(key), frame, model.text, model.status, model.confidence, where)


def write_predictions(rows: Iterable[PredictionRow], path: Path) -> None:
    """Writes predictions for ``read_predictions`` and SLURP's scorer, never half a file; a None ``text`` or
    ``confidence`` is left out.

    Raises:
        OSError: the folder cannot be written to; an existing file is left unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A model can write half a surrogate pair; backslashreplace turns it back into its JSON escape.
    with whole_file(path) as half, half.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(json.dumps(_row_of(row), ensure_ascii=False) + "\n" for row in rows)


def _row_of(row: PredictionRow) -> dict[str, Any]:
    entities = [{"type": each.type, "filler": each.filler} for each in row.frame.entities]
    answer = {row.kind: row.key, "scenario": row.frame.scenario, "action": row.frame.action, "entities": entities}
    answer |= ({} if row.text is None else {"text": row.text}) | {"status": row.status}
    return answer | ({} if row.confidence is None else {"confidence": row.confidence})


def _read_release(path: Path) -> Gold:
    gold = Gold(path, {}, {})
    for where, row in json_rows(path, "gold file"):
        model = validated(_ReleaseModel, row, where)
        words = [token.surface.lower() for token in model.tokens]
        try:
            entities = tuple(Entity(part.type, " ".join(words[i] for i in part.span)) for part in model.entities)
        except IndexError as error:
            raise UserError(
                f"{where}: a span points outside the row's {len(words)} tokens", "correct that row"
            ) from error
        frame = Frame(model.scenario, model.action, entities)
        item = GoldItem(model.slurp_id, frame, model.sentence, where, model.slurp_id, "en-US")
        _add(gold, item, [recording.file for recording in model.recordings])
    return gold


def _add(gold: Gold, item: GoldItem, files: Iterable[str]) -> None:
    """Adds an utterance and its recordings; a duplicate key is an error only if it is used for matching."""
    if (seen := gold.utterances.setdefault(item.key, item)) is not item:
        gold.clashes.setdefault("utterances", f"{item.where}: id {item.key!r} is already in {seen.where}")
    for file in files:
        recording = replace(item, key=file, recording=file)
        if (seen := gold.recordings.setdefault(file, recording)) is not recording:
            gold.clashes.setdefault("recordings", f"{item.where}: file {file!r} is already in {seen.where}")
