"""Timers and Such (terms in its LICENSE file): timers, alarms, sums and units, real and synthetic voices, en-US.

Labels are Python dictionaries, ``{'intent': 'SetTimer', 'slots': {'hours': 1, ...}}``. The intent's first word becomes
the scenario and the rest the action ("set", "timer"). Slots have values, not words of the transcript ("nineteen" is
19): the fillers are the values as text, whole numbers without a decimal point. Published accuracies are exact matches
of the frame.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Entity, Frame, Split, Utterance
from sottovoce.data.audio import audio_header
from sottovoce.data.corpora.archives import is_archive, unpacked
from sottovoce.data.corpora.csv_rows import read_csv
from sottovoce.data.corpora.source import Clips, SourceRow, existing, inside, write_corpus

LOCALE = "en-US"
_PARTS: dict[str, Split] = {
    "train-real": "train",
    "train-synth": "train",
    "dev-real": "dev",
    "dev-synth": "dev",
    "test-real": "test",
    "test-synth": "test",
}
_WORD = re.compile(r"[A-Z][a-z0-9]*")
_MAX_LETTERS = 5000  # per dictionary; the release's longest has about 150


def prepare(source: Path | None, out: Path, *, parts: str = "train-real,train-synth,dev-real,test-real") -> Path:
    """Writes the manifest and returns its path.

    Reads both forms of the files: the release's own (columns path, semantics, speakerId, transcription), and those made
    by SpeechBrain's recipe (columns ID, wav, semantics with ``|`` for commas, transcript, and spk_id).

    Args:
        source: the release's folder with ``<part>.csv`` or SpeechBrain's ``<part>-type=....csv`` and a folder of
            recordings for each part; one such file; or the release's zip file, which is unpacked into ``out``.
        out: the folder for ``manifest.jsonl`` and ``audio/``; recordings outside it are hard-linked or copied into it.
        parts: which of train-real, train-synth, dev-real, dev-synth, test-real and test-synth to read from a folder;
            missing ones are skipped. The real and the synthetic test set are reported separately: make a manifest of
            each.

    Raises:
        UserError: a file or a column is missing, or a row is invalid; the message has file:line.
    """
    source = existing(source, "timers_and_such")
    source = unpacked(source, out) if is_archive(source) else source
    files = {source: _part(source)} if source.is_file() else _files(source, parts)
    folder = source.parent if source.is_file() else source
    clips = Clips(out)
    rows = (row for file, part in files.items() for row in _utterances(file, part, folder, clips))
    return write_corpus(rows, out, list(files))


def _part(file: Path) -> str:
    part = file.stem.partition("-type=")[0]
    if part not in _PARTS:
        raise UserError(f"{file}: the file's name gives no part", nearest(part, _PARTS))
    return part


def _files(folder: Path, parts: str) -> dict[Path, str]:
    files: dict[Path, str] = {}
    for part in (name.strip() for name in parts.split(",")):
        if part not in _PARTS:
            raise UserError(f"parts contains {part!r}", nearest(part, _PARTS))
        made = sorted(folder.glob(f"{part}-type=*.csv"))
        if (released := folder / f"{part}.csv").is_file():
            files[released] = part
        elif made:
            files[made[0]] = part
    if not files:
        raise UserError(f"{folder} has no csv file of {parts}", "give the release's folder, or choose other parts")
    return files


def _utterances(file: Path, part: str, folder: Path, clips: Clips) -> Iterator[Utterance]:
    for row in read_csv(file, ["semantics"]):
        # SpeechBrain writes absolute paths of its machine: use only the part's folder and the file's name.
        recording = inside(folder, "/".join(_either(row, "path", "wav").replace("\\", "/").split("/")[-2:]), row.where)
        clip = clips.place(recording, row.where, f"{part}-{recording.name}")
        speaker = row.values.get("speakerId") or row.values.get("spk_id")
        yield Utterance(
            f"{part}-{recording.stem}",
            LOCALE,
            _either(row, "transcription", "transcript"),
            _frame(row),
            _PARTS[part],
            audio=clip,
            speaker=speaker or None,
            seconds=round(audio_header(clip, row.where).seconds, 3),
            where=row.where,
        )


def _either(row: SourceRow, released: str, made: str) -> str:
    return row.text(made if made in row.values and released not in row.values else released)


def _frame(row: SourceRow) -> Frame:
    meaning = _dictionary(row)
    intent, slots = meaning.get("intent"), meaning.get("slots")
    words = [word.lower() for word in _WORD.findall(intent)] if isinstance(intent, str) else []
    if len(words) < 2 or "".join(words) != str(intent).lower():
        raise row.error(f"the intent {intent!r} is not two or more words, like 'SetTimer'")
    if not isinstance(slots, dict):
        raise row.error("'semantics' has no dictionary of slots")
    entities = []
    for kind, value in slots.items():
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        filler = str(value).strip() if isinstance(value, str | int | float) else ""
        if not (isinstance(kind, str) and kind and filler):
            raise row.error(f"the slot {kind!r} must hold text or a number, not {value!r}")
        entities.append(Entity(kind, filler))
    return Frame(words[0], "_".join(words[1:]), tuple(entities))


def _dictionary(row: SourceRow) -> dict[Any, Any]:
    text = row.text("semantics").replace("|", ",")
    try:  # literals only: no code is run
        value = ast.literal_eval(text) if len(text) <= _MAX_LETTERS else None
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise row.error(f"'semantics' is not a dictionary: {text!r}") from error
    if not isinstance(value, dict):
        raise row.error(f"'semantics' is not a dictionary: {text[:100]!r}")
    return value
