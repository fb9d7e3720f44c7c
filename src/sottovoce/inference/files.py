"""A run's answers to many recordings or typed texts, a row each: a bad one is reported, marked in its row and skipped.

Rows go by batches to standard output or into a file that a later start continues. The batches are those of all that is
asked, whatever is there already: with other neighbours an answer might come out differently.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sottovoce.core.errors import UserError
from sottovoce.core.progress import Say, progress_bar
from sottovoce.core.storage import json_lines, whole_rows, write_whole
from sottovoce.core.types import RowStatus
from sottovoce.data.audio import SUFFIXES, Samples, audio_header, load_audio
from sottovoce.data.manifest import decoded_lines
from sottovoce.inference.understanding import Understander, Understanding

UNREADABLE_INPUT: RowStatus = "unreadable_input"
STANDARD_INPUT = "-"
Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A recording or a typed text, and what names its row: ``file`` and ``path``, or ``id`` and ``transcript``."""

    names: dict[str, str]
    given: Path | str

    @property
    def key(self) -> Names:
        return tuple(self.names.values())


@dataclass(frozen=True, slots=True)
class Asking:
    """All that is asked; ``alone`` if that is one recording or text, named itself: then its fault ends it all."""

    all: tuple[Asked, ...]
    alone: bool


def asked_of(source: str | None, text: str | None, lines: BinaryIO) -> Asking:
    """What the arguments ask for.

    Args:
        source: a recording, a folder, whose recordings are all meant, or ``-``: the paths that ``lines`` holds.
        text: a typed text, or ``-``: those that ``lines`` holds; in place of ``source``.
        lines: standard input.

    Raises:
        UserError: neither or both are given, or there is nothing in them, or the one recording is missing or no audio.
    """
    if (source is None) == (text is None):
        raise UserError("name a recording, a folder or -, or give a --text", "one of them, not both")
    if text == STANDARD_INPUT:
        return Asking(_filled(_texts(lines), "standard input holds no text"), alone=False)
    if text is not None:
        return Asking(_filled([_text(1, text)] if text.strip() else [], "the --text is empty"), alone=True)
    if source == STANDARD_INPUT:
        paths = [Path(os.fsdecode(line)) for line in dict.fromkeys(_lines(lines)) if line]
        return Asking(_filled(map(_recording, paths), "standard input names no recordings"), alone=False)
    if not source:
        raise UserError("the recording's name is empty", "name a recording, a folder or -")
    path = Path(source)
    if _is_folder(path):
        fault = f"{path} holds no recordings ({', '.join(SUFFIXES)})"
        return Asking(_filled(map(_recording, _recordings_in(path)), fault), alone=False)
    audio_header(path)  # before a model is loaded
    return Asking((_recording(path),), alone=True)


def kept_rows(out: Path | None, asking: Asking, say: Say) -> set[Names]:
    """The keys of what a file answers already; rows of inputs that could not be read are taken out, to be tried again.

    Raises:
        UserError: the file holds something else, or other texts of these numbers.
    """
    if out is None:
        return set()
    first = asking.all[0]
    rows = _rows_in(out, first)
    keys = [tuple(str(row[name]) for name in first.names) for row in rows]
    wanted = {each.key for each in asking.all}
    if isinstance(first.given, str) and (other := next((key for key in keys if key not in wanted), None)):
        raise UserError(f"{out} answers another text as number {other[0]}: {other[1]!r}", "give another --out")
    retried = [key in wanted and row["status"] == UNREADABLE_INPUT for key, row in zip(keys, rows, strict=True)]
    if any(retried):
        write_whole(out, _text_of([row for row, again in zip(rows, retried, strict=True) if not again]))
    kept = {key for key, again in zip(keys, retried, strict=True) if not again} & wanted
    if kept:
        say(f"{out}: {len(kept)} of {len(asking.all)} are answered there already")
    return kept


def predict_all(
    model: Understander, asking: Asking, batch_size: int, out: Path | None, kept: Collection[Names], say: Say,
    abstain_below: float = 0.0,
) -> int:  # fmt: skip
    """Writes a row for everything that is asked.

    Args:
        model: what answers; below which confidence it abstains is its own affair.
        asking: recordings or texts.
        batch_size: how many are read and answered at once.
        out: a JSONL file that rows are added to, None for standard output.
        kept: what needs no row, see :func:`kept_rows`.
        say: takes a line for each input that cannot be read.
        abstain_below: what the model was told.

    Returns:
        How many could not be read.

    Raises:
        UserError: the only input cannot be read, or answers have no confidence, though the model should abstain.
    """
    # Rich would turn standard output, while a bar is shown, to where the bar is.
    stdout = sys.stdout
    num_unreadable = 0
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
    with (
        out.open("a", encoding="utf-8", newline="\n") if out else nullcontext(stdout) as stream,
        progress_bar(disable=asking.alone or (out is None and stdout.isatty())) as progress,
    ):
        task = progress.add_task("understanding", total=len(asking.all))
        for start in range(0, len(asking.all), batch_size):
            part = asking.all[start : start + batch_size]
            rows = list(_rows(model, part, kept, asking.alone, say, abstain_below))
            stream.write(_text_of(rows))
            stream.flush()
            num_unreadable += sum(row["status"] == UNREADABLE_INPUT for row in rows)
            progress.advance(task, len(part))
    if num_unreadable:
        say(f"{num_unreadable} of {len(asking.all)} could not be read; their rows have the status {UNREADABLE_INPUT}")
    return num_unreadable


def _rows(
    model: Understander, part: Sequence[Asked], kept: Collection[Names], alone: bool, say: Say, abstain_below: float
) -> Iterator[dict[str, Any]]:
    """Rows of a batch but for those that are kept, which are answered along as neighbours of what is not."""
    wanted = [each for each in part if each.key not in kept]
    loaded = {each.key: _loaded(each.given) for each in wanted}
    if not all(isinstance(given, Exception) for given in loaded.values()):
        loaded = {each.key: loaded[each.key] if each.key in loaded else _loaded(each.given) for each in part}
    outcomes: dict[Names, Understanding | Exception] = {
        key: given for key, given in loaded.items() if isinstance(given, Exception)
    }
    inputs = {key: given for key, given in loaded.items() if not isinstance(given, Exception)}
    outcomes |= zip(inputs, _answers(model, list(inputs.values())), strict=True)
    for each in wanted:
        answer = outcomes[each.key]
        if isinstance(answer, Exception):
            if alone:
                raise answer
            fault = " ".join(str(answer).split())
            say(f"warning: {each.key[0]}: {fault}" if isinstance(each.given, str) else f"warning: {fault}")
            empty = Understanding(None, "unreadable", None, (), "").as_json()
            yield each.names | empty | {"status": UNREADABLE_INPUT, "fault": fault}
        elif abstain_below and answer.confidence is None and answer.status != "no_speech":
            raise UserError("the answers have no confidence to abstain by", "leave --abstain-below out")
        else:
            yield each.names | answer.as_json()


def _loaded(given: Path | str) -> Samples | str | Exception:
    if isinstance(given, str):
        return given
    try:
        return load_audio(given)
    except (UserError, OSError) as error:  # OSError: a folder that may not be entered, a name that is too long
        return error


def _answers(model: Understander, inputs: Sequence[Samples | str]) -> Sequence[Understanding | Exception]:
    """Of inputs together; if one of them is refused, of each by itself."""
    if not inputs:
        return []
    try:
        return model.understand_all(inputs)
    except UserError as error:
        return [error] if len(inputs) == 1 else [each for one in inputs for each in _answers(model, [one])]


def _rows_in(out: Path, like: Asked) -> list[dict[str, Any]]:
    """The rows of a file that holds rows like that one's, none if there is no file."""
    names = (*like.names, "status")
    advice = "give another --out"
    if out.is_dir():
        raise UserError(f"{out} is a folder", advice)
    if not out.exists():
        return []
    start = f'{{"{names[0]}": '.encode()
    with out.open("rb") as file:
        content = file.read(len(start))
    fault = f"{out} holds other things than rows with {', '.join(names)}"
    if content != start[: len(content)]:  # before half a line at its end is taken for ours and cut off
        raise UserError(fault, advice)
    try:
        rows = whole_rows(out)
    except UserError as error:
        raise UserError(error.what, advice) from error
    if not all(row.keys() >= set(names) for row in rows):
        raise UserError(fault, advice)
    return rows


def _text_of(rows: Sequence[dict[str, Any]]) -> str:
    # An answer or a file's name can hold half a surrogate pair: it becomes the escape that JSON has for it.
    return json_lines(rows).encode("utf-8", "backslashreplace").decode()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise UserError(f"cannot read {path}: {error.strerror}", "name a recording, a folder or -") from error


def _recordings_in(folder: Path) -> list[Path]:
    """Sorted, with those of folders in it; not what is hidden, such as the "._" files of macOS."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _recording(path: Path) -> Asked:
    return Asked({"file": path.name, "path": str(path)}, path)


def _text(number: int, text: str) -> Asked:
    return Asked({"id": str(number), "transcript": text}, text)


def _texts(lines: BinaryIO) -> list[Asked]:
    said = (text.strip() for _, text in decoded_lines(lines, "standard input"))
    return [_text(number, text) for number, text in enumerate(said, 1) if text]


def _lines(lines: BinaryIO) -> list[bytes]:
    return [line.rstrip(b"\r\n") for line in lines]


def _filled(asked: Any, fault: str) -> tuple[Asked, ...]:
    found = tuple(asked)
    if not found:
        raise UserError(fault, "give at least one recording or text")
    return found
