"""The manifest: one JSON object per line, one labelled utterance each. Reading validates; errors have file:line.

Keys: ``id``, ``locale``, ``transcript`` ("" for a training recording without one, and for one without speech),
``audio`` (path relative to the manifest, optional), ``speaker`` (optional), ``seconds`` (optional), ``scenario``,
``action``, ``entities`` (list of ``{"type", "filler"}``), ``split``; in place of scenario, action and entities
``intent``, which is ``no_speech`` or ``out_of_scope``.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sottovoce.core.errors import UserError, first_fault
from sottovoce.core.storage import json_lines, write_whole
from sottovoce.core.types import Entity, Frame, Rejection, Split, Utterance


class _EntityRow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: str
    filler: str


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    id: str
    locale: str
    transcript: str
    scenario: str | None = None
    action: str | None = None
    entities: list[_EntityRow] = []
    intent: Rejection | None = None
    split: Split
    audio: str | None = None
    speaker: str | None = None
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)


def read_manifest(path: Path, allow_outside: bool = False) -> list[Utterance]:
    """Reads and validates a manifest.

    Args:
        path: the JSONL file; audio paths are relative to its folder.
        allow_outside: permit audio outside that folder.

    Raises:
        UserError: the file is missing or empty, or a row is invalid; the message has file:line.
    """
    if not path.is_file():
        raise UserError(f"no such manifest: {path}", "make one with `sottovoce prepare`, or correct the path")
    utterances, seen = [], dict[str, str]()
    folder = None if allow_outside else _Folder(path.parent)
    with _collector_paused():
        for where, line in numbered_lines(path):
            utterance = _utterance(line, where, path.parent, folder)
            if utterance.id in seen:
                fault = f"{where}: id {utterance.id!r} is already in {seen[utterance.id]}"
                raise UserError(fault, "make ids unique")
            seen[utterance.id] = where
            utterances.append(utterance)
    if not utterances:
        raise UserError(f"{path}: the manifest is empty", "add at least one row")
    return utterances


def write_manifest(utterances: Iterable[Utterance], path: Path) -> None:
    """Writes a manifest; audio paths are written relative to its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json_lines(row_of(utterance, path.parent) for utterance in utterances))


def row_of(utterance: Utterance, folder: Path) -> dict[str, Any]:
    """The manifest row of an utterance; optional keys without a value are left out."""
    row: dict[str, Any] = {
        "id": utterance.id,
        "locale": utterance.locale,
        "split": utterance.split,
        "transcript": utterance.transcript,
        **_labels_of(utterance.frame),
    }
    if utterance.audio is not None:
        row["audio"] = Path(os.path.relpath(utterance.audio, folder)).as_posix()
    if utterance.speaker is not None:
        row["speaker"] = utterance.speaker
    if utterance.seconds is not None:
        row["seconds"] = utterance.seconds
    return row


def _labels_of(frame: Frame) -> dict[str, Any]:
    if frame.is_rejection:
        return {"intent": frame.scenario}
    entities = [{"type": entity.type, "filler": entity.filler} for entity in frame.entities]
    return {"scenario": frame.scenario, "action": frame.action, "entities": entities}


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The non-blank lines of a UTF-8 file, each with its ``file:line``, without a byte-order mark.

    Raises:
        UserError: the file is not UTF-8 text; the message names the line.
    """
    with path.open("rb") as file:
        lines = decoded_lines(file, str(path))
        yield from ((where, line.removesuffix("\n")) for where, line in lines if line.strip())


def decoded_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, str]]:
    """The lines of a stream with their ``name:line``, one in memory at a time, without a byte-order mark.

    Raises:
        UserError: a line is not UTF-8 text; the message names it.
    """
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            fault = f"{name}:{number}: not UTF-8 text ({error.reason})"
            raise UserError(fault, "save the file as UTF-8") from error
        yield f"{name}:{number}", text


def json_object(line: str, where: str) -> dict[str, Any]:
    """Parses a line as a JSON object. Raises UserError, starting with ``where``, if it is not one."""
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        fault = f"{where}: not JSON ({error.msg} at column {error.colno})"
        raise UserError(fault, "write one JSON object per line") from error
    except (ValueError, RecursionError) as error:  # a number with too many digits, or brackets nested too deep
        raise UserError(f"{where}: not JSON that can be read", "write one JSON object per line") from error
    if not isinstance(values, dict):
        raise UserError(f"{where}: not a JSON object", "write one JSON object per line")
    return values


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Rows have no reference cycles, but the garbage collector would scan all rows for some again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Folder:
    """Checks whether paths are inside a folder after following links; each parent folder is resolved only once."""

    def __init__(self, folder: Path) -> None:
        self._root = folder.resolve()
        self._inside: dict[str, bool] = {}

    def holds(self, path: Path) -> bool:
        parent, name = os.path.split(path)
        if parent not in self._inside:
            self._inside[parent] = Path(parent).resolve().is_relative_to(self._root)
        # Path.is_symlink raises for a name that is too long.
        plain = self._inside[parent] and name != ".." and not os.path.islink(path)  # noqa: PTH114
        return plain or path.resolve().is_relative_to(self._root)


def _utterance(line: str, where: str, home: Path, allowed: _Folder | None) -> Utterance:
    """The utterance of a line; its audio must be inside ``allowed``, if given."""
    try:
        row = _Row.model_validate_json(line)
    except ValidationError as error:
        raise UserError(f"{where}: {first_fault(error)}", "correct that row") from error
    if not row.id.strip():
        raise UserError(f"{where}: the key 'id' must not be empty", "correct that row")
    frame = _frame(row, where)
    _check_transcript(row, where)
    audio = None
    if row.audio is not None:
        if not row.audio or "\0" in row.audio:
            raise UserError(f"{where}: {row.audio!r} is not a path", "correct the key 'audio', or remove it")
        audio = home / row.audio
        if allowed is not None and not allowed.holds(audio):
            raise UserError(f"{where}: {row.audio} is outside the manifest's folder", "set allow_outside to permit it")
    said = row.transcript if row.transcript.strip() else ""
    return Utterance(row.id, row.locale, said, frame, row.split, audio, row.speaker, row.seconds, where=where)


def _frame(row: _Row, where: str) -> Frame:
    if row.intent is not None:
        if row.scenario is not None or row.action is not None or row.entities:
            raise UserError(f"{where}: other labels next to the key 'intent'", "leave either out")
        return Frame(row.intent, "")
    for key, text in (("scenario", row.scenario), ("action", row.action)):
        if text is None:
            raise UserError(f"{where}: the key {key!r} is missing", "correct that row")
        if not text.strip():
            raise UserError(f"{where}: the key {key!r} must not be empty", "correct that row")
    entities = tuple(Entity(entity.type, entity.filler) for entity in row.entities)
    return Frame(row.scenario or "", row.action or "", entities)


def _check_transcript(row: _Row, where: str) -> None:
    if row.intent == "no_speech":
        if row.transcript.strip():
            raise UserError(f"{where}: a transcript, though there is no speech", "correct 'transcript' or 'intent'")
        if row.audio is None:
            raise UserError(f"{where}: no_speech without a recording", "name one in the key 'audio'")
    elif not row.transcript.strip() and (row.audio is None or row.split != "train"):
        advice = "write what was said; only training recordings may lack a transcript, and are then used only as speech"
        raise UserError(f"{where}: the key 'transcript' must not be empty", advice)
