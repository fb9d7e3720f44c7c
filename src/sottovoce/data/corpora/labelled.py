"""Shared by the generic corpora: from a row with named columns, or an answer, to an utterance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.core.types import REJECTIONS, Entity, Frame, Split, Utterance
from sottovoce.data.audio import audio_header
from sottovoce.data.corpora.brackets import parse_brackets
from sottovoce.data.corpora.source import Clips, SourceRow, inside

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "devel": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns; only ``transcript`` and ``intent`` (or ``scenario`` and ``action``) are required."""

    transcript: str = "transcript"
    entities: str = "entities"
    intent: str = "intent"
    scenario: str = "scenario"
    action: str = "action"
    id: str = "id"
    audio: str = "audio"
    speaker: str = "speaker"
    split: str = "split"
    locale: str = "locale"


def frame_and_transcript(row: SourceRow, columns: Columns, scenario: str) -> tuple[Frame, str]:
    """A row's frame, and its transcript without brackets.

    Entities are either in brackets or in their own column, as JSON or annotated text, never both.

    Args:
        row: the row.
        columns: the names of its columns.
        scenario: the scenario of intents that have no underscore.

    Raises:
        UserError: a column is missing or empty, or the entities cannot be read.
    """
    transcript, entities = parse_brackets(row.text(columns.transcript), row.where)
    listed = row.values.get(columns.entities)
    if not _empty(listed):
        if entities:
            raise row.error(f"entities both in brackets and in {columns.entities!r}")
        entities = entities_of(listed, row, columns.entities)
    if columns.scenario in row.values and columns.action in row.values:
        pair = row.text(columns.scenario), row.text(columns.action)
    else:
        pair = scenario_and_action(row.text(columns.intent), scenario)
    return Frame(*pair, entities), " ".join(transcript.split())


def utterance_of(row: SourceRow, columns: Columns, scenario: str, locale: str, split: Split, name: str) -> Utterance:
    """A row's utterance, without its recording.

    Args:
        row: the row.
        columns: the names of its columns.
        scenario: as in :func:`frame_and_transcript`.
        locale: of a row without one.
        split: the split it belongs to.
        name: the id of a row without one.

    Raises:
        UserError: as :func:`frame_and_transcript`, or another column is not text.
    """
    frame, transcript = frame_and_transcript(row, columns, scenario)
    return Utterance(
        text_or_none(row, columns.id) or name,
        text_or_none(row, columns.locale) or locale,
        transcript,
        frame,
        split,
        speaker=text_or_none(row, columns.speaker),
        where=row.where,
    )


def scenario_and_action(intent: str, scenario: str) -> tuple[str, str]:
    """An intent split at its first underscore ("alarm_set"); one without gets the given scenario, and "no_speech" and
    "out_of_scope" are not split."""
    if intent.strip() in REJECTIONS:
        return intent.strip(), ""
    first, underscore, rest = intent.strip().partition("_")
    return (first, rest) if first and underscore and rest else (scenario, intent.strip())


def entities_of(value: Any, row: SourceRow, name: str) -> tuple[Entity, ...]:
    """Entities as a list of {type, filler}, a list of {slot: filler}, an object {slot: filler}, or text of either kind.

    Text that is not JSON is read as annotated text: "at [time : noon]".

    Raises:
        UserError: the value is none of these.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith(("{", "[{", "[ {")) and text != "[]":
            _, entities = parse_brackets(text, row.where)
            if not entities:
                raise row.error(f"{name!r} is neither JSON nor annotated text: {text!r}")
            return entities
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise row.error(f"{name!r} is not JSON: {text!r}") from error
    return tuple(_entities(value, row, name))


def placed(folder: Path, name: str, where: str, clips: Clips, allow_outside: bool) -> tuple[Path, float]:
    """Copies a recording, named relative to a folder, into the output folder.

    Returns:
        its path there, and its length in seconds.

    Raises:
        UserError: it is missing, is not audio, or is outside the folder without permission.
    """
    path = inside(folder, name, where, allow_outside)
    # Folders of speakers often hold the same file names.
    flat = "-".join(path.relative_to(folder).parts) if path.is_relative_to(folder) and ".." not in name else None
    clip = clips.place(path, where, flat)
    return clip, round(audio_header(clip, where).seconds, 3)


def text_or_none(row: SourceRow, key: str) -> str | None:
    """The text of a key, None if it is missing or empty."""
    return None if _empty(row.values.get(key)) else row.text(key)


def _entities(value: Any, row: SourceRow, name: str) -> Iterator[Entity]:
    if not isinstance(value, list | dict):
        raise row.error(f"{name!r} must hold a list or an object, not {value!r}")
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, dict):
            raise row.error(f"the entity {entry!r} is not an object")
        pairs = [(entry["type"], entry["filler"])] if entry.keys() == {"type", "filler"} else list(entry.items())
        for kind, filler in pairs:
            if not (isinstance(kind, str) and kind and isinstance(filler, str) and filler.strip()):
                raise row.error(f"the entity {entry!r} is not a type and a filler")
            yield Entity(kind, filler)


def _empty(value: Any) -> bool:
    return value is None or value == [] or value == {} or (isinstance(value, str) and not value.strip())
