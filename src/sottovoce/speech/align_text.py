"""Which transcripts are spoken for alignment: training sentences that no excluded manifest holds."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sottovoce.data.corpora.home_sentences import LOCALES, write_sentences
from sottovoce.data.manifest import read_manifest
from sottovoce.errors import UserError
from sottovoce.speech.phrases import phrases
from sottovoce.speech.word_lists import word_lists

MAX_LETTERS = 90  # longer sentences would not fit the 8 s window at a slow tempo


def align_text(manifests: Sequence[Path], exclude: Sequence[Path], num_phrases: int, seed: int) -> list[dict[str, Any]]:
    """Rows with id, locale and transcript, interleaved in proportion, so that any prefix is a fair sample.

    To the manifests' sentences ``num_phrases`` made-up phrases of each locale are added.

    Left out are: the dev and test sentences of all the manifests, every sentence of the excluded manifests and of the
    built-in corpus, training utterances that have a recording (they are the speech of a budget, which alignment must
    not have heard), repetitions, sentences with digits, single words, and sentences of more than 90 letters.
    """
    utterances = [(path, utterance) for path in manifests for utterance in read_manifest(path, allow_outside=True)]
    held = {plain(u.transcript) for _, u in utterances if u.split != "train" or u.audio is not None}
    held |= {plain(sentence.transcript) for locale in LOCALES for sentence in write_sentences(locale)}
    held |= {plain(u.transcript) for path in exclude for u in read_manifest(path, allow_outside=True)}
    by_locale: dict[str, list[dict[str, Any]]] = {}
    places: dict[tuple[str, str], Path] = {}
    for path, utterance in utterances:
        if places.setdefault((utterance.locale, utterance.id), path) != path:
            where = f"{utterance.where}: {utterance.locale} id {utterance.id!r}"
            raise UserError(f"{where} stands in {places[utterance.locale, utterance.id]} too", "speak one of the two")
        text = plain(utterance.transcript)
        unfit = len(text) > MAX_LETTERS or " " not in text or re.search(r"\d", text)
        if utterance.split == "train" and text not in held and not unfit:
            held.add(text)
            row = {"id": utterance.id, "locale": utterance.locale, "transcript": text}
            by_locale.setdefault(utterance.locale, []).append(row)
    groups = [by_locale[locale] for locale in sorted(by_locale)]
    for rows in groups:
        random.Random(seed).shuffle(rows)
    for locale in sorted(by_locale) if num_phrases else ():
        if locale not in LOCALES:
            raise UserError(f"there are no voices and no phrases for {locale}", f"locales: {', '.join(LOCALES)}")
        made = [text for text in map(plain, phrases(locale, num_phrases, seed)) if text not in held]
        groups.append([{"id": f"phrase-{n}", "locale": locale, "transcript": text} for n, text in enumerate(made)])
    placed = []
    for rows in groups:
        placed += [((position + 0.5) / len(rows), row) for position, row in enumerate(rows)]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def take_clips(rows: Sequence[dict[str, Any]], clips: Sequence[str]) -> list[dict[str, Any]]:
    """The first rows of each locale, as many as ``clips`` asks for (``en-US=4000``); of a locale not named, all.

    Raises:
        UserError: an entry that is not LOCALE=NUMBER, or a locale without rows.
    """
    left = _numbers("clips", clips)
    there = {row["locale"] for row in rows}
    for locale in left:
        if locale not in there:
            raise UserError(f"--clips {locale}: no sentences in that locale; there are {', '.join(sorted(there))}")
    taken = []
    for row in rows:
        wanted = left.get(row["locale"], len(rows))
        if wanted > 0:
            taken.append(row)
            left[row["locale"]] = wanted - 1
    return taken


def list_rows(wanted: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Rows of word lists; ``wanted`` says how many of which locale (``en-US=3000``).

    Raises:
        UserError: an entry that is not LOCALE=NUMBER, or a locale without words.
    """
    rows = []
    for locale, number in _numbers("words", wanted).items():
        lists = word_lists(locale, number, seed)
        rows += [{"id": f"words-{seed}-{n}", "locale": locale, "transcript": text} for n, text in enumerate(lists)]
    return rows


def _numbers(option: str, entries: Sequence[str]) -> dict[str, int]:
    numbers = {}
    for entry in entries:
        locale, _, number = entry.partition("=")
        if not number.isdecimal():
            raise UserError(f"--{option} {entry}: write LOCALE=NUMBER, such as en-US=4000")
        numbers[locale] = int(number)
    return numbers


def plain(text: str) -> str:
    """Lower case, without punctuation but apostrophes, single spaces: how alignment writes transcripts."""
    return " ".join(re.sub(r"[^\w' ]+", " ", text.lower()).split())
