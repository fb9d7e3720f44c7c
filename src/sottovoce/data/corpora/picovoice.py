"""Picovoice's speech-to-intent benchmark (Apache-2.0): coffee orders, as labelled sentences and as real recordings.

Its one intent is in camel case; the first word becomes the scenario and the rest the action, so that ``orderDrink`` is
scenario "order", action "drink", intent "order_drink". The recordings have slots but no transcripts. In the manifest,
those for training have none either; for dev and test the transcript is their slot fillers joined by spaces, in the
order of the labels. That is enough to score intents and slots, but it is not what was said: do not measure a word error
rate.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from sottovoce.core.errors import UserError
from sottovoce.core.types import Entity, Frame, Split, Utterance
from sottovoce.data.corpora.brackets import parse_brackets
from sottovoce.data.corpora.source import Clips, SourceRow, existing, inside, read_rows, write_corpus
from sottovoce.data.corpora.splits import drawn_splits

FILES = ("text.jsonl", "speech_dev.jsonl")
_SPLITS: dict[str, Split] = {"train": "train", "dev": "dev", "test": "test"}
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def prepare(source: Path | None, out: Path, *, test: str | float | None = None, seed: str | int = 0) -> Path:
    """Writes the manifest and returns its path.

    Args:
        source: the folder with text.jsonl (rows {id, locale, partition, intent, utt, annot_utt}) and speech_dev.jsonl
            (rows {id, locale, partition, intent, slots, audio, seconds}), or one such file.
        out: the folder for ``manifest.jsonl`` and ``audio/``; clips outside it are hard-linked or copied into it.
        test: the share of the recordings that becomes test, 0 to 1; the rest are for training. If not given, each
            recording keeps the split of its row.
        seed: for drawing recordings.

    Raises:
        UserError: an option is out of range, a file is missing, or a row is invalid; the message has file:line.
    """
    source = existing(source, "picovoice")
    files = [source] if source.is_file() else [path for name in FILES if (path := source / name).is_file()]
    if not files:
        raise UserError(f"{source} has neither {FILES[0]} nor {FILES[1]}", "give the benchmark's folder")
    clips = Clips(out)
    utterances = [_utterance(row, file.parent, clips) for file in files for row in read_rows(file)]
    if test is not None:
        splits = drawn_splits([u for u in utterances if u.audio], 0, test, seed)
        utterances = [replace(u, split=splits.get(u.id, u.split)) for u in utterances]
    return write_corpus(map(_scorable, utterances), out, files)


def _utterance(row: SourceRow, folder: Path, clips: Clips) -> Utterance:
    scenario, action = _intent(row)
    if "slots" in row.values:
        entities = _slots(row)
        transcript = ""
    else:
        transcript = row.text("utt")
        _, entities = parse_brackets(row.text("annot_utt"), row.where)
    audio = None
    if "audio" in row.values:
        audio = clips.place(inside(folder, row.text("audio"), row.where), row.where)
    elif not transcript:
        raise row.error("neither a transcript nor a recording")
    return Utterance(
        row.text("id"),
        row.text("locale"),
        transcript,
        Frame(scenario, action, entities),
        row.split("partition", _SPLITS),
        audio=audio,
        seconds=row.seconds(),
        where=row.where,
    )


def _scorable(utterance: Utterance) -> Utterance:
    """A dev or test utterance without a transcript gets its fillers instead."""
    if utterance.transcript or utterance.split == "train":
        return utterance
    return replace(utterance, transcript=" ".join(entity.filler for entity in utterance.frame.entities))


def _intent(row: SourceRow) -> tuple[str, str]:
    intent = row.text("intent")
    words = [word.lower() for word in _WORD.findall(intent)]
    if len(words) < 2 or "".join(words) != intent.lower():
        raise row.error(f"the intent {intent!r} is not camel case of two or more words, like 'orderDrink'")
    return words[0], "_".join(words[1:])


def _slots(row: SourceRow) -> tuple[Entity, ...]:
    slots = row.values["slots"]
    if not isinstance(slots, dict) or not slots:
        raise row.error("'slots' must be a non-empty object of slot types and fillers")
    for kind, filler in slots.items():
        if not isinstance(filler, str) or not filler.strip() or not kind:
            raise row.error(f"the slot {kind!r} must hold text, not {filler!r}")
    return tuple(Entity(kind, filler) for kind, filler in slots.items())
