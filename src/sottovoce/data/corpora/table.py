"""Your own table, CSV or TSV: one row per utterance, with any column names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Split, Utterance
from sottovoce.data.corpora.csv_rows import read_csv
from sottovoce.data.corpora.labelled import SPLIT_NAMES, Columns, placed, text_or_none, utterance_of
from sottovoce.data.corpora.source import Clips, SourceRow, as_switch, existing, write_corpus

_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")


@dataclass(frozen=True, slots=True)
class _Given:
    """The options for all rows."""

    columns: Columns
    locale: str
    split: Split
    scenario: str
    allow_outside: bool


def prepare(
    source: Path | None,
    out: Path,
    *,
    transcript_column: str = "transcript",
    entities_column: str = "entities",
    intent_column: str = "intent",
    scenario_column: str = "scenario",
    action_column: str = "action",
    id_column: str = "id",
    audio_column: str = "audio",
    speaker_column: str = "speaker",
    split_column: str = "split",
    locale_column: str = "locale",
    locale: str = "en-US",
    split: str = "train",
    scenario: str = "command",
    delimiter: str | None = None,
    allow_outside: str | bool = False,
) -> Path:
    """Writes the manifest and returns its path.

    Args:
        source: a UTF-8 file with a header line, or a folder with train, dev (or validation) and test files.
        out: the folder for ``manifest.jsonl`` and ``audio/``; recordings outside it are hard-linked or copied into it.
        transcript_column: what was said, as plain text or with its slots in brackets, "at [time : noon]".
        entities_column: optional; JSON (a list of {type, filler} or an object {slot: filler}) or annotated text.
        intent_column: the intent, split into scenario and action at its first underscore; not needed with
            scenario_column and action_column.
        scenario_column: see intent_column.
        action_column: see intent_column.
        id_column: optional; otherwise ids are the file's name and the row's number.
        audio_column: optional; a path relative to the table's folder, empty for rows without a recording.
        speaker_column: optional; who speaks.
        split_column: optional; train, dev (or valid, validation, val, devel) or test.
        locale_column: optional.
        locale: of rows without one.
        split: of rows without one, if the file's name gives none.
        scenario: the scenario of intents that have no underscore.
        delimiter: comma, semicolon, tab or bar; guessed from the header line if not given.
        allow_outside: permit recordings outside the table's folder.

    Raises:
        UserError: a file or a column is missing, or a row is invalid; the message has file:line.
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
        split_column,
        locale_column,
    )
    if split not in SPLIT_NAMES:
        raise UserError(f"split is {split!r}", nearest(split, SPLIT_NAMES))
    given = _Given(columns, locale, SPLIT_NAMES[split], scenario, as_switch(allow_outside, "allow_outside"))
    files = _files(existing(source, "table"))
    clips = Clips(out)
    rows = (row for file in files for row in _utterances(file, given, delimiter, clips))
    return write_corpus(rows, out, files)


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    files = [path for path in sorted(source.iterdir()) if path.suffix in _SUFFIXES and path.stem in SPLIT_NAMES]
    if not files:
        raise UserError(f"{source} has no train, dev or test file ({', '.join(_SUFFIXES)})", "name the table itself")
    return files


def _utterances(file: Path, given: _Given, delimiter: str | None, clips: Clips) -> Iterator[Utterance]:
    for number, row in enumerate(read_csv(file, [given.columns.transcript], delimiter), start=1):
        yield _utterance(row, given, clips, file, number)


def _utterance(row: SourceRow, given: _Given, clips: Clips, file: Path, number: int) -> Utterance:
    columns = given.columns
    split = SPLIT_NAMES.get(file.stem, given.split)
    utterance = utterance_of(row, columns, given.scenario, given.locale, split, f"{file.stem}-{number}")
    if (name := text_or_none(row, columns.audio)) is not None:
        audio, seconds = placed(file.parent, name, row.where, clips, given.allow_outside)
        utterance = replace(utterance, audio=audio, seconds=seconds)
    if (named := text_or_none(row, columns.split)) is not None:
        split = SourceRow({columns.split: named.lower()}, row.where).split(columns.split, SPLIT_NAMES)
        utterance = replace(utterance, split=split)
    return utterance
