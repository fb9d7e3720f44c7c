"""Chooses transcripts to speak in many voices: training sentences that are in no excluded manifest."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.data.corpora.home_sentences import LOCALES, write_sentences
from sottovoce.data.manifest import read_manifest

MAX_LETTERS = 90  # longer sentences would take more than some 8 s at a slow tempo


def training_sentences(manifests: Sequence[Path], exclude: Sequence[Path], seed: int) -> list[dict[str, Any]]:
    """Rows with id, locale and transcript, locales interleaved in proportion, so that any prefix is a fair sample.

    Left out are: the dev and test sentences of all the manifests, every sentence of the excluded manifests and of the
    built-in corpus, training utterances that have a recording, repetitions, sentences with digits, single words, and
    sentences of more than 90 letters.

    Raises:
        UserError: two manifests share an id in a locale.
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
            raise UserError(f"{where} is in {places[utterance.locale, utterance.id]} too", "give only one of the two")
        text = plain(utterance.transcript)
        unfit = len(text) > MAX_LETTERS or " " not in text or re.search(r"\d", text)
        if utterance.split == "train" and text not in held and not unfit:
            held.add(text)
            row = {"id": utterance.id, "locale": utterance.locale, "transcript": text}
            by_locale.setdefault(utterance.locale, []).append(row)
    groups = [by_locale[locale] for locale in sorted(by_locale)]
    for rows in groups:
        random.Random(seed).shuffle(rows)
    placed = []
    for rows in groups:
        placed += [((position + 0.5) / len(rows), row) for position, row in enumerate(rows)]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def take_clips(rows: Sequence[dict[str, Any]], clips: Sequence[str]) -> list[dict[str, Any]]:
    """The first rows of each locale, as many as ``clips`` asks for (``en-US=4000``); all rows of other locales.

    Raises:
        UserError: an entry is not LOCALE=NUMBER, or a locale has no rows.
    """
    left = {}
    for entry in clips:
        locale, _, number = entry.partition("=")
        if not number.isdecimal():
            raise UserError(f"--clips {entry}: write LOCALE=NUMBER, such as en-US=4000")
        left[locale] = int(number)
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


def plain(text: str) -> str:
    """Lower case, without punctuation but apostrophes, single spaces."""
    return " ".join(re.sub(r"[^\w' ]+", " ", text.lower()).split())
