"""Fluent Speech Commands (Fluent Speech Commands Public License): spoken commands of 97 speakers, en-US.

Its labels are an action, an object and a location, and published results count a command as right if all three are. So
the intent is all three: the scenario is the action, the action is object and location joined by an underscore, and
``scenario_action`` is the usual "action_object_location". Spaces in a label become underscores ("change_language").
There are no entities: the labels are a closed set and often differ from the spoken words.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Frame, Split, Utterance
from sottovoce.data.audio import audio_header
from sottovoce.data.corpora.archives import is_archive, unpacked
from sottovoce.data.corpora.csv_rows import read_csv
from sottovoce.data.corpora.source import Clips, SourceRow, existing, inside, write_corpus

LOCALE = "en-US"
_FILES: dict[str, Split] = {"train_data": "train", "valid_data": "dev", "test_data": "test"}
_COLUMNS = ("path", "speakerId", "transcription", "action", "object", "location")


def prepare(source: Path | None, out: Path) -> Path:
    """Writes the manifest and returns its path.

    Args:
        source: the release's folder: ``data/{train,valid,test}_data.csv`` (those that exist are read) with the columns
            path, speakerId, transcription, action, object and location, and the recordings under ``wavs/``; or one of
            these csv files; or the release as a zip or tar file, which is unpacked into ``out``.
        out: the folder for ``manifest.jsonl`` and ``audio/``; recordings outside it are hard-linked or copied into it.

    Raises:
        UserError: a file or a column is missing, or a row is invalid; the message has file:line.
    """
    source = existing(source, "fluent")
    folder, files = _files(unpacked(source, out) if is_archive(source) else source)
    clips = Clips(out)
    return write_corpus((row for file in files for row in _utterances(file, folder, clips)), out, files)


def _files(source: Path) -> tuple[Path, list[Path]]:
    """The folder that the rows' paths are relative to, and the csv files."""
    if source.is_file():
        if source.stem not in _FILES:
            raise UserError(f"{source}: the file's name gives no split", nearest(source.stem, _FILES))
        return source.resolve().parent.parent, [source]
    files = [path for name in _FILES if (path := source / "data" / f"{name}.csv").is_file()]
    if not files:
        raise UserError(f"{source} has none of data/train_data.csv, valid_data and test_data", "give the release")
    return source, files


def _utterances(file: Path, folder: Path, clips: Clips) -> Iterator[Utterance]:
    for row in read_csv(file, _COLUMNS):
        recording = inside(folder, row.text("path"), row.where)
        clip = clips.place(recording, row.where)
        yield Utterance(
            recording.stem,
            LOCALE,
            row.text("transcription"),
            _frame(row),
            _FILES[file.stem],
            audio=clip,
            speaker=row.text("speakerId"),
            seconds=round(audio_header(clip, row.where).seconds, 3),
            where=row.where,
        )


def _frame(row: SourceRow) -> Frame:
    action, thing, location = ("_".join(row.text(key).split()) for key in ("action", "object", "location"))
    return Frame(action, f"{thing}_{location}")
