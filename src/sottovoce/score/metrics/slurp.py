"""SLURP's entity metrics: entity F1, the distance F1s and SLU-F1.

After Bastianelli, Vanzo, Swietojanski and Rieser, "SLURP: A Spoken Language Understanding Resource Package" (EMNLP
2020), and the behaviour of the official scorer, whose figures for the published outputs we match to five digits. All
averages are micro averages: counts are summed over items and types before dividing.
"""

from __future__ import annotations

from typing import Protocol

from rapidfuzz.distance import Levenshtein

from sottovoce.core.types import Entity, Frame
from sottovoce.score.files import GoldItem
from sottovoce.score.metrics.metric import Counts, Metric, f1, precision, recall


class Distance(Protocol):
    """A distance between a gold filler (first) and a predicted one."""

    def __call__(self, gold: str, predicted: str, /) -> float: ...


def entity_counts(gold: Frame, predicted: Frame | None) -> Counts:
    """Entities with the right type and exactly the right filler; each gold entity can be found once."""
    return Counts.of(gold.entities, _entities(predicted))


def distance_counts(gold: Frame, predicted: Frame | None, distance: Distance) -> Counts:
    """Entities of the right type, a wrong filler counted by its distance d: tp 1, fp d and fn d.

    As in the official scorer, each predicted entity in turn takes the nearest gold entity of its type that is still
    free, the first if tied: a poor early prediction can take the gold entity that a later one would match.
    """
    tp = fp = fn = 0.0
    missed = list(gold.entities)
    for entity in _entities(predicted):
        near = [
            (distance(other.filler, entity.filler), index)
            for index, other in enumerate(missed)
            if other.type == entity.type
        ]
        if not near:
            fp += 1
            continue
        least, index = min(near)
        del missed[index]
        tp += 1
        fp += least
        fn += least
    return Counts(tp, fp, fn + len(missed))


def word_distance(gold: str, predicted: str) -> float:
    """Word error rate: word edits over gold words. It is not clipped, so a much too long filler costs more than 1."""
    words = gold.split()
    return Levenshtein.distance(words, predicted.split()) / max(1, len(words))


def char_distance(gold: str, predicted: str) -> float:
    """Levenshtein distance of the characters over the longer filler's length, 0..1; 0 if both are empty."""
    return Levenshtein.normalized_distance(gold, predicted)


def exact_counts(item: GoldItem, predicted: Frame | None) -> dict[str, float]:
    """``entity_counts`` as sums."""
    return entity_counts(item.frame, predicted).named("entity")


def word_and_char_counts(item: GoldItem, predicted: Frame | None) -> dict[str, float]:
    """``distance_counts`` by words and by characters, as sums."""
    word, char = (distance_counts(item.frame, predicted, each) for each in (word_distance, char_distance))
    return word.named("word") | char.named("char")


def _entities(predicted: Frame | None) -> tuple[Entity, ...]:
    return () if predicted is None else predicted.entities


_SLU = ("word", "char")  # the paper's SLU-F1: the two confusion counts summed
METRICS = (
    Metric("entity_precision", "entity precision", "entities", exact_counts, precision("entity")),
    Metric("entity_recall", "entity recall", "entities", exact_counts, recall("entity")),
    Metric("entity_f1", "entity F1", "entities", exact_counts, f1("entity"), "tables"),
    Metric("word_precision", "word precision", "entities", word_and_char_counts, precision("word")),
    Metric("word_recall", "word recall", "entities", word_and_char_counts, recall("word")),
    Metric("word_f1", "word F1", "entities", word_and_char_counts, f1("word")),
    Metric("char_precision", "char precision", "entities", word_and_char_counts, precision("char")),
    Metric("char_recall", "char recall", "entities", word_and_char_counts, recall("char")),
    Metric("char_f1", "char F1", "entities", word_and_char_counts, f1("char")),
    Metric("slu_precision", "SLU precision", "entities", word_and_char_counts, precision(*_SLU)),
    Metric("slu_recall", "SLU recall", "entities", word_and_char_counts, recall(*_SLU)),
    Metric(
        "slu_f1", "SLU-F1", "entities", word_and_char_counts, f1(*_SLU), "headline",
        meaning="SLURP’s entity score, which gives part of the credit to a nearly right filler.",
    ),
)  # fmt: skip
