"""Any `datasets` repository, folder or parquet file with a transcript and an intent, under any column names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Utterance
from sottovoce.data.corpora.hub_rows import HubRows, StoredClips, open_rows
from sottovoce.data.corpora.labelled import SPLIT_NAMES, Columns, utterance_of
from sottovoce.data.corpora.source import write_corpus


def prepare(
    source: Path | None,
    out: Path,
    *,
    config: str | None = None,
    splits: str | None = None,
    transcript_column: str = "transcript",
    entities_column: str = "entities",
    intent_column: str = "intent",
    scenario_column: str = "scenario",
    action_column: str = "action",
    id_column: str = "id",
    audio_column: str = "audio",
    speaker_column: str = "speaker",
    locale_column: str = "locale",
    locale: str = "en-US",
    scenario: str = "command",
) -> Path:
    """Writes the manifest and returns its path.

    Args:
        source: a hub name "OWNER/NAME", a folder that `datasets` reads or wrote, or a parquet file.
        out: the folder for ``manifest.jsonl`` and ``audio/``.
        config: the part to read, if the source has several.
        splits: which splits to read, "train,validation"; all if not given. Their names must mean train, dev or test.
        transcript_column: what was said, as plain text or with its slots in brackets, "at [time : noon]".
        entities_column: optional; a list of {type, filler}, an object {slot: filler}, the same as JSON, or annotated
            text.
        intent_column: the intent, as text or class label, split into scenario and action at its first underscore; not
            needed with scenario_column and action_column.
        scenario_column: see intent_column.
        action_column: see intent_column.
        id_column: optional; otherwise ids are the split's name and the row's number.
        audio_column: optional; recordings as `datasets` stores them, empty for text rows.
        speaker_column: optional; who speaks.
        locale_column: optional.
        locale: of rows without one.
        scenario: the scenario of intents that have no underscore.

    Raises:
        UserError: the source cannot be reached or read, or a row is invalid; the message has file:row.
    """
    columns = Columns(
        transcript_column,
        entities_column,
        intent_column,
        scenario_column,
        action_column,
        id_column,
        audio_column,
        speaker_column,
        locale=locale_column,
    )
    opened = open_rows(source, "dataset", config)
    wanted = [name.strip() for name in splits.split(",")] if splits is not None else list(opened.splits)
    for split in wanted:
        if split not in SPLIT_NAMES:
            raise UserError(f"the split {split!r} of {opened.name} is not train, dev or test", "choose with splits=")
        if split not in opened.splits:
            raise UserError(f"{opened.name} has no split {split!r}", nearest(split, opened.splits))
    clips = StoredClips(out)
    rows = (row for split in wanted for row in _utterances(opened, split, columns, locale, scenario, clips))
    return write_corpus(rows, out, [Path(opened.name)])


def _utterances(
    opened: HubRows, split: str, columns: Columns, locale: str, scenario: str, clips: StoredClips
) -> Iterator[Utterance]:
    for number, row in enumerate(opened.rows(split), start=1):
        utterance = utterance_of(row, columns, scenario, locale, SPLIT_NAMES[split], f"{split}-{number}")
        if row.values.get(columns.audio) is not None:
            audio, seconds = clips.place(row, columns.audio, utterance.id, opened.folder)
            utterance = replace(utterance, audio=audio, seconds=seconds)
        yield utterance
