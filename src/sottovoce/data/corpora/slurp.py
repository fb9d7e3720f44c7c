"""SLURP in its release format: train.jsonl, devel.jsonl, test.jsonl, and a separate folder of recordings.

The intent is scenario and action together; the release's own ``intent`` field disagrees on some rows, and the official
scorer does not use it. SLURP's recordings are licensed for non-commercial use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Entity, Frame, Split, Utterance
from sottovoce.data.audio import audio_header
from sottovoce.data.corpora.source import Clips, SourceRow, existing, inside, read_rows, write_corpus

_SPLITS: dict[str, Split] = {"train": "train", "train_synthetic": "train", "devel": "dev", "test": "test"}
_RELEASE = ("train", "devel", "test")
_MISSING = ("refuse", "skip")
LOCALE = "en-US"


def prepare(source: Path | None, out: Path, *, audio: Path | str | None = None, missing: str = "refuse") -> Path:
    """Writes the manifest and returns its path.

    Without ``audio`` there is one row per utterance, with the slurp_id as id. With it there is one row per recording,
    with the file name as id, as in the predictions that the official scorer reads; an utterance without recordings in
    the release keeps its one text row.

    Args:
        source: the folder with {train,devel,test}.jsonl (those that exist are read), or one such file.
        out: the folder for ``manifest.jsonl`` and, with audio, ``audio/``.
        audio: the folder of the recordings (slurp_real); those outside ``out`` are hard-linked or copied into it.
        missing: a recording that is not in the folder is an error ("refuse"), or its row is left out ("skip").

    Raises:
        UserError: a file is missing, or a row is invalid; the message has file:line.
    """
    if missing not in _MISSING:
        raise UserError(f"missing is {missing!r}", nearest(missing, _MISSING))
    if audio is not None and not Path(audio).is_dir():
        raise UserError(f"no such folder of recordings: {audio}", "correct the path, or leave out audio")
    files = _files(existing(source, "slurp"))
    clips = Clips(out)
    utterances: list[Utterance] = []
    for file in files:
        for row in read_rows(file):
            utterance = _utterance(row, _SPLITS[file.stem])
            if audio is None or not row.items("recordings"):
                utterances.append(utterance)
            else:
                utterances += _recorded(utterance, row, Path(audio), clips, missing)
    return write_corpus(utterances, out, files)


def _files(source: Path) -> list[Path]:
    if source.is_file():
        if source.stem not in _SPLITS:
            raise UserError(f"{source}: the file's name gives no split", nearest(source.stem, _SPLITS))
        return [source]
    files = [path for name in _RELEASE if (path := source / f"{name}.jsonl").is_file()]
    if not files:
        raise UserError(f"{source} has none of train.jsonl, devel.jsonl and test.jsonl", "give SLURP's folder")
    return files


def _utterance(row: SourceRow, split: Split) -> Utterance:
    frame = Frame(row.text("scenario"), row.text("action"), tuple(_entities(row)))
    return Utterance(row.text("slurp_id"), LOCALE, row.text("sentence"), frame, split, where=row.where)


def _entities(row: SourceRow) -> Iterator[Entity]:
    # As in the official scorer: the span's tokens joined by spaces, in lower case ("jessica 's").
    words: list[str] = []
    for token in row.items("tokens"):
        surface = token.get("surface") if isinstance(token, dict) else None
        if not isinstance(surface, str):
            raise row.error(f"the token {token!r} has no surface")
        words.append(surface.lower())
    for entity in row.items("entities"):
        kind = entity.get("type") if isinstance(entity, dict) else None
        span = entity.get("span") if isinstance(entity, dict) else None
        if not (isinstance(kind, str) and kind and isinstance(span, list) and span):
            raise row.error(f"the entity {entity!r} is not a type and a span")
        if not all(isinstance(place, int) and 0 <= place < len(words) for place in span):
            raise row.error(f"the span {span} of {kind!r} is outside the {len(words)} tokens")
        yield Entity(kind, " ".join(words[place] for place in span))


def _recorded(utterance: Utterance, row: SourceRow, folder: Path, clips: Clips, missing: str) -> Iterator[Utterance]:
    for recording in row.items("recordings"):
        name = recording.get("file") if isinstance(recording, dict) else None
        if not isinstance(name, str) or not name:
            raise row.error(f"the recording {recording!r} names no file")
        path = inside(folder, name, row.where)
        if missing == "skip" and not path.is_file():
            continue
        clip = clips.place(path, row.where)
        seconds = round(audio_header(clip, row.where).seconds, 3)
        yield Utterance(
            name,
            utterance.locale,
            utterance.transcript,
            utterance.frame,
            utterance.split,
            audio=clip,
            seconds=seconds,
            where=row.where,
        )
