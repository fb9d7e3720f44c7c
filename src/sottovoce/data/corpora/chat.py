"""The chat files of ms-swift and LLaMA-Factory: ``messages`` with ``audios``, or ``conversations`` of from and value.

A row is one question and one answer, with at most one recording. The answer is a JSON frame (scenario and action, or
intent; entities or slots), or the annotated transcript with its intent in brackets or in a key of the row. A
recording's transcript is in the row's key ``transcript``, in the frame's, or in the annotated answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import Frame, Utterance
from sottovoce.data.corpora.brackets import parse_brackets
from sottovoce.data.corpora.labelled import SPLIT_NAMES, entities_of, placed, scenario_and_action, text_or_none
from sottovoce.data.corpora.source import Clips, SourceRow, as_switch, existing, read_rows, write_corpus
from sottovoce.data.prompts import SLU_INSTRUCTION

TAG = "<audio>"
_USERS, _ASSISTANTS, _SYSTEMS = ("user", "human"), ("assistant", "gpt"), ("system",)
_UNSAID = ("refuse", "fill")
_LABEL = re.compile(r"\[\s*intent\s*:\s*([^\[\]]*?)\s*\]")


@dataclass(frozen=True, slots=True)
class _Given:
    """The options for all rows."""

    locale: str
    split: str
    scenario: str
    instruction: str
    unsaid: str
    allow_outside: bool


def prepare(
    source: Path | None,
    out: Path,
    *,
    locale: str = "en-US",
    split: str = "train",
    scenario: str = "command",
    instruction: str = SLU_INSTRUCTION,
    unsaid: str = "refuse",
    allow_outside: str | bool = False,
) -> Path:
    """Writes the manifest and returns its path.

    Args:
        source: a JSONL file, a JSON file with one list of rows, or a folder with train, dev (or validation) and test
            files of either kind. A row's keys id, split, locale and speaker are used.
        out: the folder for ``manifest.jsonl`` and ``audio/``; recordings outside it are hard-linked or copied into it.
        locale: of rows without one.
        split: of rows without one, if the file's name gives none.
        scenario: the scenario of intents that have no underscore.
        instruction: the instruction next to the transcript in the user's text; it is removed.
        unsaid: a recording without any transcript is an error ("refuse"), or accepted ("fill"): for training without a
            transcript, for dev and test with the words of intent and fillers instead, which is enough to score intents
            and slots, but not words.
        allow_outside: permit recordings outside the file's folder.

    Raises:
        UserError: a file is missing, or a row is invalid; the message has file:line.
    """
    if unsaid not in _UNSAID:
        raise UserError(f"unsaid is {unsaid!r}", nearest(unsaid, _UNSAID))
    if split not in SPLIT_NAMES:
        raise UserError(f"split is {split!r}", nearest(split, SPLIT_NAMES))
    given = _Given(locale, split, scenario, instruction, unsaid, as_switch(allow_outside, "allow_outside"))
    source = existing(source, "chat")
    files = [source] if source.is_file() else [p for p in sorted(source.glob("*.json*")) if p.stem in SPLIT_NAMES]
    if not files:
        raise UserError(f"{source} has no train, dev or test file (.jsonl, .json)", "name the file itself")
    clips = Clips(out)
    rows = (_utterance(row, given, clips, file, n) for file in files for n, row in enumerate(_rows(file), start=1))
    return write_corpus(rows, out, files)


def _rows(file: Path) -> Iterator[SourceRow]:
    if file.suffix != ".json":
        yield from read_rows(file)
        return
    try:
        rows = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        raise UserError(f"{file}: not JSON in UTF-8 ({error})", "give a list of rows, or a .jsonl file") from error
    if not isinstance(rows, list):
        raise UserError(f"{file}: not a list", "give a list of rows, or a .jsonl file")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{file}: entry {number} is not a JSON object", "correct that row")
        yield SourceRow(row, f"{file}: entry {number}")


def _utterance(row: SourceRow, given: _Given, clips: Clips, file: Path, number: int) -> Utterance:
    asked, answer = _turns(row)
    names = row.values.get("audios") or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names) or len(names) > 1:
        raise row.error(f"'audios' must be a list of one path or none, not {names!r}")
    if asked.count(TAG) != len(names):
        raise row.error(f"{asked.count(TAG)} {TAG} in the user's text, but {len(names)} recordings")
    frame, said = _answered(row, answer, given.scenario)
    named = text_or_none(row, "split") or (file.stem if file.stem in SPLIT_NAMES else given.split)
    split = SourceRow({"split": named}, row.where).split("split", SPLIT_NAMES)
    audio, seconds = None, None
    if names:
        audio, seconds = placed(file.parent, names[0], row.where, clips, given.allow_outside)
        if said is None and given.unsaid == "fill" and split == "train":
            said = ""
        elif said is None and given.unsaid == "fill":
            said = " ".join([*frame.intent.split("_"), *(entity.filler for entity in frame.entities)])
        if said is None:
            fault = f"{row.where}: the recording has no transcript"
            raise UserError(fault, "add a key 'transcript' to the row, or prepare with unsaid=fill")
    else:
        said = said or asked.replace(given.instruction, "").replace(given.instruction.strip(), "").strip()
        if not said:
            raise row.error("no transcript next to the instruction in the user's text")
    return Utterance(
        text_or_none(row, "id") or f"{file.stem}-{number}",
        text_or_none(row, "locale") or given.locale,
        said,
        frame,
        split,
        audio=audio,
        speaker=text_or_none(row, "speaker"),
        seconds=seconds,
        where=row.where,
    )


def _turns(row: SourceRow) -> tuple[str, str]:
    """The user's text and the assistant's."""
    key = "conversations" if "conversations" in row.values and "messages" not in row.values else "messages"
    who, what = ("from", "value") if key == "conversations" else ("role", "content")
    turns: list[tuple[Any, Any]] = []
    for turn in row.items(key):
        speaker, text = (turn.get(who), turn.get(what)) if isinstance(turn, dict) else (None, None)
        if not (isinstance(speaker, str) and isinstance(text, str)):
            raise row.error(f"{turn!r} in {key!r} is not {{{who}, {what}}} with text")
        if speaker not in _SYSTEMS:
            turns.append((speaker, text))
    if len(turns) != 2 or turns[0][0] not in _USERS or turns[1][0] not in _ASSISTANTS:
        raise row.error(f"{key!r} must be one question and one answer, not {[speaker for speaker, _ in turns]}")
    return turns[0][1], turns[1][1]


def _answered(row: SourceRow, answer: str, scenario: str) -> tuple[Frame, str | None]:
    """The answer's frame, and the transcript if the row or the answer has one."""
    said = text_or_none(row, "transcript")
    if answer.lstrip().startswith("{"):
        try:
            values = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise row.error(f"the answer is not JSON: {answer!r}") from error
        frame = SourceRow(values, row.where)
        entities = entities_of(values.get("entities") or values.get("slots") or [], row, "entities")
        return Frame(*_intent(frame, scenario), entities), said or text_or_none(frame, "transcript")
    labels = _LABEL.findall(answer)
    if len(labels) > 1:
        raise row.error("more than one [intent : ...] in the answer")
    plain, entities = parse_brackets(_LABEL.sub("", answer), row.where)
    pair = scenario_and_action(labels[0], scenario) if labels else _intent(row, scenario)
    return Frame(*pair, entities), said or " ".join(plain.split())


def _intent(row: SourceRow, scenario: str) -> tuple[str, str]:
    if "scenario" in row.values or "action" in row.values:
        return row.text("scenario"), row.text("action")
    return scenario_and_action(row.text("intent"), scenario)
