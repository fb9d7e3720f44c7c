"""MASSIVE (CC BY 4.0): one JSONL file per locale, parallel by id, slots in brackets; text, with speech joined by id."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Frame, Split, Utterance
from sottovoce.data.corpora.brackets import parse_brackets
from sottovoce.data.corpora.source import (
    Clips,
    SourceRow,
    existing,
    inside,
    read_rows,
    rows_of,
    write_corpus,
)
from sottovoce.data.manifest import decoded_lines

_SPLITS: dict[str, Split] = {"train": "train", "dev": "dev", "test": "test"}


def prepare(source: Path | None, out: Path, *, locale: str | None = None, speech: Path | str | None = None) -> Path:
    """Writes the manifest of one locale and returns its path.

    Args:
        source: a JSONL file of rows {id, locale, partition, scenario, intent, utt, annot_utt} (further keys are
            ignored), a folder with ``<locale>.jsonl``, or the release's tar.gz (1.0 or 1.1), which is read in place.
        out: the folder for ``manifest.jsonl`` and, with speech, ``audio/``.
        locale: which file of a folder or an archive, "fr-FR"; of a single file, the locale that every row must have.
        speech: a folder with a ``manifest.jsonl`` of rows {id, audio, speaker, seconds}, joined by id; speaker,
            seconds, locale and partition are optional, and the last two must agree with the text. Utterances without
            a clip stay in the manifest as text. Clips outside ``out`` are hard-linked or copied into it.

    Raises:
        UserError: a file is missing, or a row is invalid; the message has file:line.
    """
    file = _file(existing(source, "massive"), locale)
    utterances: dict[str, Utterance] = {}
    for row in _archived(file, locale) if _is_archive(file) else read_rows(file):
        utterance = _utterance(row)
        if locale is not None and utterance.locale != locale:
            raise row.error(f"'locale' is {utterance.locale!r}, not {locale!r}")
        if utterance.id in utterances:
            raise row.error(f"id {utterance.id!r} is already in {utterances[utterance.id].where}")
        utterances[utterance.id] = utterance
    sources = [file]
    if speech is not None:
        clips_file = Path(speech) / "manifest.jsonl"
        sources.append(clips_file)
        _join(utterances, clips_file, Clips(out))
    return write_corpus(utterances.values(), out, sources)


def _file(source: Path, locale: str | None) -> Path:
    if source.is_file():
        return source
    return source / f"{_locale(source, locale, [path.stem for path in source.glob('*-*.jsonl')])}.jsonl"


def _locale(source: Path, locale: str | None, locales: list[str]) -> str:
    if locale is None and len(locales) == 1:
        return locales[0]
    if locale is None:
        raise UserError(f"{source} has several locales, or none", f"choose the locale; {nearest('', locales)}")
    if locale not in locales:
        raise UserError(f"{source} has no {locale}.jsonl", nearest(locale, locales))
    return locale


def _is_archive(file: Path) -> bool:
    return file.name.lower().endswith((".tar.gz", ".tgz", ".tar"))


def _archived(file: Path, locale: str | None) -> Iterator[SourceRow]:
    """The rows of one locale of an archive, read as a stream without extracting it."""
    try:
        with tarfile.open(file) as archive:
            members: dict[str, tarfile.TarInfo] = {}
            for member in archive:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise UserError(f"{file}: the member {member.name} points outside", "fetch the release again")
                if name.match("*-*.jsonl") and not name.name.startswith("."):
                    members[name.stem] = member
            wanted = members[_locale(file, locale, list(members))]
            stream = archive.extractfile(wanted) if wanted.isfile() else None
            if stream is None:
                raise UserError(f"{file}: the member {wanted.name} is not a file", "fetch the release again")
            yield from rows_of(line for line in decoded_lines(stream, f"{file}/{wanted.name}") if line[1].strip())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        fault = " ".join(str(error).split())  # tarfile's own message has several lines
        raise UserError(f"cannot read {file}: {fault}", "fetch the release again") from error


def _utterance(row: SourceRow) -> Utterance:
    scenario, intent = row.text("scenario"), row.text("intent")
    action = intent.removeprefix(f"{scenario}_")
    if action == intent or not action:
        raise row.error(f"the intent {intent!r} does not begin with its scenario {scenario!r}")
    _, entities = parse_brackets(row.text("annot_utt"), row.where)
    frame = Frame(scenario, action, entities)
    split = row.split("partition", _SPLITS)
    return Utterance(row.text("id"), row.text("locale"), row.text("utt"), frame, split, where=row.where)


def _join(utterances: dict[str, Utterance], file: Path, clips: Clips) -> None:
    seen = set[str]()
    for row in read_rows(file):
        key = row.text("id")
        utterance = utterances.get(key)
        if utterance is None:
            raise row.error(f"id {key!r} is not in the text")
        if key in seen:
            raise row.error(f"id {key!r} occurs twice")
        seen.add(key)
        # Ids are the same in all locales: without this check a French text could get an English recording.
        for name, value in (("locale", utterance.locale), ("partition", utterance.split)):
            if name in row.values and row.values[name] != value:
                raise row.error(f"{name!r} is {row.values[name]!r}, but {value!r} in {utterance.where}")
        audio = clips.place(inside(file.parent, row.text("audio"), row.where), row.where)
        speaker = row.text("speaker") if row.values.get("speaker") is not None else None
        utterances[key] = replace(utterance, audio=audio, speaker=speaker, seconds=row.seconds())
