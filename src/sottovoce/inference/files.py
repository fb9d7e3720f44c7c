"""A run's answers to many recordings or typed texts, a row each; bad input is reported, marked in its row and skipped.

Rows go to standard output, or to a file that a rerun continues, batch by batch. A rerun makes the same batches as the
first run, because an answer may depend on the other items in its batch.
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
    """A recording or a typed text, and the names in its row: ``file`` and ``path``, or ``id`` and ``transcript``."""

    names: dict[str, str]
    given: Path | str

    @property
    def key(self) -> Names:
        return tuple(self.names.values())


@dataclass(frozen=True, slots=True)
class Asking:
    """All inputs; ``alone`` if the user named a single recording or text, whose fault is then an error."""

    all: tuple[Asked, ...]
    alone: bool


def asked_of(source: str | None, text: str | None, lines: BinaryIO) -> Asking:
    """The inputs that the arguments name.

    Args:
        source: a recording, a folder of recordings, or ``-``: paths in ``lines``.
        text: a typed text, or ``-``: texts in ``lines``; instead of ``source``.
        lines: standard input.

    Raises:
        UserError: neither or both are given, they are empty, or the one recording is missing or not audio.
    """
    if (source is None) == (text is None):
        raise UserError("give either a recording, a folder or -, or a --text", "one of them, not both")
    if text == STANDARD_INPUT:
        return Asking(_filled(_texts(lines), "standard input has no text"), alone=False)
    if text is not None:
        return Asking(_filled([_text(1, text)] if text.strip() else [], "the --text is empty"), alone=True)
    if source == STANDARD_INPUT:
        paths = [Path(os.fsdecode(line)) for line in dict.fromkeys(_lines(lines)) if line]
        return Asking(_filled(map(_recording, paths), "standard input names no recordings"), alone=False)
    if not source:
        raise UserError("the recording's name is empty", "name a recording, a folder or -")
    path = Path(source)
    if _is_folder(path):
        fault = f"{path} has no recordings ({', '.join(SUFFIXES)})"
        return Asking(_filled(map(_recording, _recordings_in(path)), fault), alone=False)
    audio_header(path)  # before a model is loaded
    return Asking((_recording(path),), alone=True)


def kept_rows(out: Path | None, asking: Asking, say: Say) -> set[Names]:
    """The keys of the inputs that a file already answers; rows of unreadable inputs are removed, to be tried again.

    Raises:
        UserError: the file has other content, or other texts under these numbers.
    """
    if out is None:
        return set()
    first = asking.all[0]
    rows = _rows_in(out, first)
    keys = [tuple(str(row[name]) for name in first.names) for row in rows]
    wanted = {each.key for each in asking.all}
    if isinstance(first.given, str) and (other := next((key for key in keys if key not in wanted), None)):
        raise UserError(f"{out} has another text as number {other[0]}: {other[1]!r}", "give another --out")
    retried = [key in wanted and row["status"] == UNREADABLE_INPUT for key, row in zip(keys, rows, strict=True)]
    if any(retried):
        write_whole(out, _text_of([row for row, again in zip(rows, retried, strict=True) if not again]))
    kept = {key for key, again in zip(keys, retried, strict=True) if not again} & wanted
    if kept:
        say(f"{out}: already has {len(kept)} of {len(asking.all)} answers")
    return kept


def predict_all(
    model: Understander, asking: Asking, batch_size: int, out: Path | None, kept: Collection[Names], say: Say,
    abstain_below: float = 0.0,
) -> int:  # fmt: skip
    """Writes a row for each input.

    Args:
        model: answers, and abstains by itself.
        asking: recordings or texts.
        batch_size: how many are read and answered at once.
        out: a JSONL file to append rows to, None for standard output.
        kept: inputs that need no row, see :func:`kept_rows`.
        say: takes a line for each input that cannot be read.
        abstain_below: the model's threshold.

    Returns:
        How many could not be read.

    Raises:
        UserError: the only input cannot be read, or answers have no confidence although the model should abstain.
    """
    # While a bar is shown, rich redirects standard output to it.
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
    """Rows of a batch except kept ones, which are still computed with the others so that the batch is the same."""
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
            raise UserError("the answers have no confidence to abstain by", "omit --abstain-below")
        else:
            yield each.names | answer.as_json()


def _loaded(given: Path | str) -> Samples | str | Exception:
    if isinstance(given, str):
        return given
    try:
        return load_audio(given)
    except (UserError, OSError) as error:  # OSError: no permission, or too long a name
        return error


def _answers(model: Understander, inputs: Sequence[Samples | str]) -> Sequence[Understanding | Exception]:
    """Answers to the inputs together, or to each alone if the model refuses one."""
    if not inputs:
        return []
    try:
        return model.understand_all(inputs)
    except UserError as error:
        return [error] if len(inputs) == 1 else [each for one in inputs for each in _answers(model, [one])]


def _rows_in(out: Path, like: Asked) -> list[dict[str, Any]]:
    """The rows of a file with the same kind of rows, none if there is no file."""
    names = (*like.names, "status")
    advice = "give another --out"
    if out.is_dir():
        raise UserError(f"{out} is a folder", advice)
    if not out.exists():
        return []
    start = f'{{"{names[0]}": '.encode()
    with out.open("rb") as file:
        content = file.read(len(start))
    fault = f"{out} does not hold rows with {', '.join(names)}"
    if content != start[: len(content)]:  # checked before an incomplete last line is cut off
        raise UserError(fault, advice)
    try:
        rows = whole_rows(out)
    except UserError as error:
        raise UserError(error.what, advice) from error
    if not all(row.keys() >= set(names) for row in rows):
        raise UserError(fault, advice)
    return rows


def _text_of(rows: Sequence[dict[str, Any]]) -> str:
    # An answer or a file name can hold half a surrogate pair, which becomes a JSON escape.
    return json_lines(rows).encode("utf-8", "backslashreplace").decode()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # too long a name, or no permission
        raise UserError(f"cannot read {path}: {error.strerror}", "name a recording, a folder or -") from error


def _recordings_in(folder: Path) -> list[Path]:
    """Sorted, subfolders included, without hidden files such as macOS's "._" files."""
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
