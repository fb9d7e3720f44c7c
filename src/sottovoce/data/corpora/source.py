"""Shared by the corpus readers: rows with their file:line, clips in the output folder, writing the manifest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.types import Split, Utterance
from sottovoce.data.manifest import json_object, numbered_lines, write_manifest


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One JSON object of a corpus file, and the ``file:line`` it was read from."""

    values: dict[str, Any]
    where: str

    def text(self, key: str) -> str:
        """The value of a key that must be text; whole numbers, common as ids, are converted."""
        if key not in self.values:
            raise self.error(f"the key {key!r} is missing")
        value = self.values[key]
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{key!r} must be non-empty text, not {value!r}")
        return value

    def items(self, key: str) -> list[Any]:
        """The value of a key that must be a list."""
        value = self.values.get(key)
        if not isinstance(value, list):
            raise self.error(f"{key!r} must be a list" if key in self.values else f"the key {key!r} is missing")
        return value

    def seconds(self) -> float | None:
        """The optional key ``seconds``, a length above 0."""
        value = self.values.get("seconds")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.error(f"'seconds' must be a number above 0, not {value!r}")
        return float(value)

    def split(self, key: str, names: dict[str, Split]) -> Split:
        """The split in a key, by the corpus's own names."""
        name = self.text(key)
        if name not in names:
            raise self.error(f"{key!r} is {name!r}, not one of {', '.join(names)}")
        return names[name]

    def error(self, fault: str) -> UserError:
        return UserError(f"{self.where}: {fault}", "correct that row, or fetch the corpus again")


@dataclass(slots=True)
class Clips:
    """Links or copies recordings into the output folder, so that the manifest never points outside its folder."""

    out: Path
    _placed: dict[Path, Path] = field(default_factory=dict)

    def place(self, clip: Path, where: str, name: str | None = None) -> Path:
        """The clip's path inside ``out``: unchanged if it is there, else hard-linked or copied into ``audio/``.

        Args:
            clip: the recording.
            where: ``file:line`` of its row, for errors.
            name: its file name in ``audio/``; its own if not given.

        Raises:
            UserError: the clip is missing, or two clips from different folders have the same name.
        """
        if not clip.is_file():
            raise UserError(f"{where}: no such recording: {clip}", "correct the path, or add the file")
        source, out = clip.resolve(), self.out.resolve()
        if source.is_relative_to(out):
            return self.out / source.relative_to(out)
        target = self.out / "audio" / (name or clip.name)
        if self._placed.setdefault(target, source) != source:
            raise UserError(f"{where}: {clip} and {self._placed[target]} have the same name", "rename one of them")
        if not (target.exists() and target.samefile(source)):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(source, target)
        return target


def read_rows(path: Path) -> Iterator[SourceRow]:
    """The rows of a JSONL file. Raises UserError: no such file, or a line that is not a JSON object in UTF-8."""
    if not path.is_file():
        raise UserError(f"no such file: {path}", "correct the path")
    yield from rows_of(numbered_lines(path))


def rows_of(lines: Iterable[tuple[str, str]]) -> Iterator[SourceRow]:
    """The rows of lines with their ``file:line``. Raises UserError: a line that is not a JSON object."""
    for where, line in lines:
        yield SourceRow(json_object(line, where), where)


def inside(folder: Path, name: str, where: str, allow_outside: bool = False) -> Path:
    """The path of a file that a row names relative to a folder.

    Raises:
        UserError: the name is not a path, or leads outside the folder (even by a link) without permission.
    """
    if "\0" in name:
        raise UserError(f"{where}: {name!r} is not a path", "correct that row")
    path = folder / name
    if not allow_outside and not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{where}: {name} is outside {folder}", "keep the recordings inside the corpus's folder")
    return path


def as_switch(value: str | bool, option: str) -> bool:
    """An option that must be true or false, as text or bool. Raises UserError otherwise."""
    if isinstance(value, bool):
        return value
    if value.lower() not in ("true", "false"):
        raise UserError(f"{option} is {value!r}", "give true or false")
    return value.lower() == "true"


def existing(source: Path | None, corpus: str) -> Path:
    """The corpus's file or folder. Raises UserError if it is not given or does not exist."""
    if source is None:
        raise UserError(f"the corpus {corpus} needs a source", "give its file or folder")
    if not source.exists():
        raise UserError(f"no such file or folder: {source}", f"give the file or folder of {corpus}")
    return source


def write_corpus(utterances: Iterable[Utterance], out: Path, sources: Sequence[Path]) -> Path:
    """Writes ``out/manifest.jsonl`` and returns its path.

    Args:
        utterances: rows whose audio is inside ``out``.
        out: the output folder, created if necessary.
        sources: the files that the rows were read from; they must not be overwritten.

    Raises:
        UserError: no rows, a duplicate id, or the manifest would overwrite a source.
    """
    path = out / "manifest.jsonl"
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            raise UserError(f"{path} is the source and would be overwritten", "choose another output folder")
    rows, seen = list(utterances), dict[str, str]()
    if not rows:
        raise UserError(f"{', '.join(map(str, sources))}: no rows", "fetch the corpus again")
    for row in rows:
        if row.id in seen:
            raise UserError(f"{row.where}: id {row.id!r} is already in {seen[row.id]}", "remove one of them")
        seen[row.id] = row.where
    write_manifest(rows, path)
    return path
