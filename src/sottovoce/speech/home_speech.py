"""Speaks the built-in corpus: a quarter of the training utterances, all of dev and test, three disjoint casts."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sottovoce.core.storage import json_lines, whole_rows, write_whole
from sottovoce.data.corpora.home_sentences import Sentence, write_sentences
from sottovoce.speech.synthesis import MANIFEST, speak_manifest

TRAIN_SPEECH_EVERY = 4  # every fourth training utterance of an intent is spoken


def speak_home(out: Path, locale: str, workers: int) -> Iterator[int]:
    """Writes ``out/<locale>.jsonl``, a manifest of all sentences, with clips under ``out/audio/<locale>/``.

    A stopped run resumes where it stopped: the clips are made in ``out/.<locale>``, which is kept.

    Yields:
        The number of clips so far, after each clip.
    """
    sentences = write_sentences(locale)
    work = out / f".{locale}"
    for split in ("test", "dev", "train"):
        rows = [_row(sentence, locale) for sentence in _spoken(sentences) if sentence.split == split]
        yield from speak_manifest(rows, work, cast=split, seed=0, workers=workers)
    _publish(sentences, work, out, locale)


def _publish(sentences: list[Sentence], work: Path, out: Path, locale: str) -> None:
    spoken = {row["id"]: row for row in whole_rows(work / MANIFEST)}
    (out / "audio" / locale).mkdir(parents=True, exist_ok=True)
    rows = []
    for sentence in sentences:
        row = _row(sentence, locale)
        if sentence.id in spoken:
            made = spoken[sentence.id]
            clip = f"audio/{locale}/{sentence.id}.ogg"
            shutil.copyfile(work / made["audio"], out / clip)
            row |= {"audio": clip, "speaker": made["speaker"], "seconds": made["seconds"]}
        rows.append(row)
    write_whole(out / f"{locale}.jsonl", json_lines(rows))


def _spoken(sentences: list[Sentence]) -> list[Sentence]:
    count: defaultdict[str, int] = defaultdict(int)
    chosen = []
    for sentence in sentences:
        if sentence.split == "train":
            count[sentence.intent] += 1
            if count[sentence.intent] % TRAIN_SPEECH_EVERY != 1:
                continue
        chosen.append(sentence)
    return chosen


def _row(sentence: Sentence, locale: str) -> dict[str, Any]:
    return {
        "id": sentence.id,
        "locale": locale,
        "split": sentence.split,
        "transcript": sentence.transcript,
        "scenario": sentence.scenario,
        "action": sentence.action,
        "entities": [{"type": slot, "filler": filler} for slot, filler in sentence.entities],
    }
