"""MASSIVE's slot micro-F1 and exact-match accuracy.

After FitzGerald et al., "MASSIVE: A 1M-Example Multilingual Natural Language Understanding Dataset" (ACL 2023), and the
evaluation in its repository (github.com/alexa/massive: ``eval_preds`` and ``convert_to_bio`` in
src/massive/utils/training_utils.py; the tokens are those of scripts/create_hf_dataset.py):

- every token has one slot, or ``Other``; a run of tokens with the same slot is one span, so two neighbouring entities
  of one slot are counted as one;
- a predicted tag sequence is cut, or filled with ``Other``, to the gold one's length;
- a span is right if slot, first and last token match; F1 is over all spans of all utterances (seqeval's micro average);
- an utterance is an exact match if its intent and all its spans are right.

That evaluation is for taggers. A model that writes frames gives fillers without positions, so they are first looked up
in the transcript (``slot_tags``). A filler that is not there word for word cannot be placed; it is right only if gold
has the same slot and filler and cannot place it either, else it is a false positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sottovoce.core.types import Entity, Frame
from sottovoce.score.files import GoldItem
from sottovoce.score.matching import same_intent
from sottovoce.score.metrics.metric import Counts, Metric, f1, precision, recall, share

OTHER = "Other"
_SPLIT_INTO_LETTERS = ("ja-JP", "zh-CN", "zh-TW")


def tokens_of(transcript: str, locale: str = "") -> list[str]:
    """MASSIVE's tokens: split at white space; in ja-JP, zh-CN and zh-TW every non-ASCII character is a token."""
    chunks = transcript.split()
    if locale not in _SPLIT_INTO_LETTERS:
        return chunks
    return [token for chunk in chunks for token in ([chunk] if chunk.isascii() else chunk)]


def slot_tags(tokens: Sequence[str], entities: Sequence[Entity], locale: str = "") -> tuple[list[str], list[Entity]]:
    """Each token's slot, and the entities that could not be placed.

    An entity takes the first free tokens that match its filler (ignoring case) after the previous entity, or else the
    first free match anywhere: frames list their entities in spoken order.
    """
    lowered = [token.lower() for token in tokens]
    tags, missed, behind = [OTHER] * len(tokens), list[Entity](), 0
    for entity in entities:
        words = tokens_of(entity.filler.lower(), locale)
        last = len(tokens) - len(words)
        starts = [*range(behind, last + 1), *range(min(behind, last + 1))] if words else []
        for start in starts:
            end = start + len(words)
            if lowered[start:end] == words and all(tag == OTHER for tag in tags[start:end]):
                tags[start:end] = [entity.type] * len(words)
                behind = end
                break
        else:
            missed.append(entity)
    return tags, missed


def span_counts(gold: Sequence[str], predicted: Sequence[str]) -> Counts:
    """Spans of one utterance's tags: with the same slot and place (tp), only predicted (fp), only in gold (fn)."""
    return Counts.of(_spans(gold), _spans([*predicted, *[OTHER] * len(gold)][: len(gold)]))


def slot_counts(gold: Frame, predicted: Frame | None, transcript: str, locale: str = "") -> Counts:
    """``span_counts`` for frames. A predicted frame of None misses every span."""
    if not gold.entities and (predicted is None or not predicted.entities):
        return Counts()
    tokens = tokens_of(transcript, locale)
    tags, missed = right_tags, right_missed = slot_tags(tokens, gold.entities, locale)
    if predicted is None or predicted.entities != gold.entities:  # most are equal, so this saves time
        tags, missed = slot_tags(tokens, () if predicted is None else predicted.entities, locale)
    return span_counts(right_tags, tags) + Counts.of(right_missed, missed)


def is_exact_match(gold: Frame, predicted: Frame | None, counts: Counts) -> bool:
    """Whether the intent is right and, by ``slot_counts``, all spans are right and none is extra."""
    return same_intent(gold, predicted) and counts.fp == counts.fn == 0


def massive_counts(item: GoldItem, predicted: Frame | None) -> dict[str, float]:
    """The spans' Counts, and whether the item is an exact match."""
    counts = slot_counts(item.frame, predicted, item.transcript, item.locale)
    return counts.named("massive_slot") | {"massive_exact": is_exact_match(item.frame, predicted, counts)}


def _spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    spans, start = [], 0
    for slot, run in groupby(tags):
        end = start + sum(1 for _ in run)
        if slot != OTHER:
            spans.append((slot, start, end))
        start = end
    return spans


METRICS = (
    Metric("massive_slot_precision", "MASSIVE slot precision", "entities", massive_counts, precision("massive_slot")),
    Metric("massive_slot_recall", "MASSIVE slot recall", "entities", massive_counts, recall("massive_slot")),
    Metric("massive_slot_f1", "MASSIVE slot F1", "entities", massive_counts, f1("massive_slot")),
    Metric("massive_exact_match", "MASSIVE exact match", "items", massive_counts, share("massive_exact")),
)
