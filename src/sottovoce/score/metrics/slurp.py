"""SLURP's metrics, over prediction files: accuracies, entity F1, the distance F1s and SLU-F1.

After Bastianelli, Vanzo, Swietojanski and Rieser, "SLURP: A Spoken Language Understanding Resource Package" (EMNLP
2020), and the behaviour of the official scorer, whose figures for the published outputs are met to five digits. All
averages are micro averages: counts are summed over items and types before dividing. A figure whose denominator is
empty (no items, no entities) is 0.0.

Two views are given. ``official`` does as that scorer does: items without a prediction are skipped. ``strict`` counts
every gold item: an answer that is missing, unreadable or given more than once is wrong, and all its entities missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rapidfuzz.distance import Levenshtein

from sottovoce.core.types import Entity, Frame
from sottovoce.score.files import Gold, PredictionRow
from sottovoce.score.matching import VIEWS, Answer, Answers, ItemStatus, Pair, View, match_answers, same_intent
from sottovoce.score.metrics.counts import Counts, ratio
from sottovoce.score.metrics.frame import frame_accuracy
from sottovoce.score.metrics.massive import massive_figures


@dataclass(frozen=True, slots=True)
class ItemScore:
    """One gold item in the strict view; ``predicted`` is None unless ``status`` is ``ok``."""

    key: str
    intent_right: bool
    status: ItemStatus
    gold: Frame
    predicted: Frame | None
    transcript: str


class Distance(Protocol):
    """A distance between a gold filler (first) and a predicted one."""

    def __call__(self, gold: str, predicted: str, /) -> float: ...


def score(gold: Gold, predictions: Iterable[PredictionRow]) -> dict[str, dict[str, float | int]]:
    """Every figure in both views.

    Args:
        gold: the right answers.
        predictions: rows with the same kind of key, in the file's order. In ``official`` the last row of a key counts,
            whatever its status, with the scenario, action and entities it carries.

    Returns:
        ``{"official": {...}, "strict": {...}}``, each with scenario_accuracy, action_accuracy, intent_accuracy,
        precision, recall and F1 of entity, word, char, slu (0..1), frame_accuracy, MASSIVE's massive_slot_precision,
        massive_slot_recall, massive_slot_f1 and massive_exact_match, and the counts num_scored (gold items behind the
        figures), num_missing, num_unreadable, num_duplicates (gold items; each in one of the three at most, duplicates
        first), num_unknown (rows for an item that gold lacks, which count for nothing else) and, where there are any,
        num_abstained and num_unreadable_input (the recording could not be read), which strict counts as wrong.

    Raises:
        UserError: the rows' keys are of several kinds, or gold has no items, or no unique ones, of that kind.
    """
    return score_answers(match_answers(gold, predictions))


def score_answers(answers: Answers) -> dict[str, dict[str, float | int]]:
    """As ``score``, of predictions that found their gold items."""
    statuses = [answer.status for answer in answers.all]
    counts = {
        "num_missing": statuses.count("missing"),
        "num_unreadable": statuses.count("unreadable"),
        "num_duplicates": statuses.count("duplicate"),
        "num_unknown": answers.num_unknown,
    }
    rare = ("abstained", "unreadable_input", "no_speech")
    counts |= {f"num_{name}": statuses.count(name) for name in rare if name in statuses}
    return {view: {**_figures(answers.all, view), **counts} for view in VIEWS}


def score_by_item(gold: Gold, predictions: Iterable[PredictionRow]) -> list[ItemScore]:
    """Each gold item in the strict view, in the gold file's order: for error examples and for resampling.

    Raises:
        UserError: as ``score``.
    """
    scores = []
    for answer in match_answers(gold, predictions).all:
        item, predicted = answer.item, answer.frame if answer.status == "ok" else None
        right = same_intent(item.frame, predicted)
        scores.append(ItemScore(item.key, right, answer.status, item.frame, predicted, item.transcript))
    return scores


def scenario_accuracy(pairs: Iterable[Pair]) -> float:
    """The share (0..1) of items whose scenario is right."""
    return _share(predicted is not None and predicted.scenario == gold.scenario for gold, predicted in pairs)


def action_accuracy(pairs: Iterable[Pair]) -> float:
    """The share (0..1) of items whose action is right."""
    return _share(predicted is not None and predicted.action == gold.action for gold, predicted in pairs)


def intent_accuracy(pairs: Iterable[Pair]) -> float:
    """The share (0..1) of items whose scenario and action are both right."""
    return _share(same_intent(gold, predicted) for gold, predicted in pairs)


def entity_counts(pairs: Iterable[Pair]) -> Counts:
    """Entities with the right type and exactly the right filler; each gold entity can be found once."""
    tp = fp = fn = 0
    for gold, predicted in pairs:
        missed = list(gold.entities)
        for entity in _entities(predicted):
            if entity in missed:
                missed.remove(entity)
                tp += 1
            else:
                fp += 1
        fn += len(missed)
    return Counts(tp, fp, fn)


def distance_counts(pairs: Iterable[Pair], distance: Distance) -> Counts:
    """Entities of the right type, a wrong filler counted by its distance d: tp 1, fp d and fn d.

    As in the official scorer each predicted entity, in its order, takes the nearest gold entity of its type that is not
    taken yet, the first of equals: a poor early prediction can take the gold entity that a later one would fit.
    """
    tp = fp = fn = 0.0
    for gold, predicted in pairs:
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
        fn += len(missed)
    return Counts(tp, fp, fn)


def word_distance(gold: str, predicted: str) -> float:
    """Word error rate: word edits over gold words. It is not clipped, so a filler far too long costs more than 1."""
    words = gold.split()
    return Levenshtein.distance(words, predicted.split()) / max(1, len(words))


def char_distance(gold: str, predicted: str) -> float:
    """Levenshtein distance of the characters over the longer filler's length, 0..1; 0 where both are empty."""
    return Levenshtein.normalized_distance(gold, predicted)


def _figures(answers: Sequence[Answer], view: View) -> dict[str, float | int]:
    scored = [(answer.item, pair) for answer in answers if (pair := answer.pair(view)) is not None]
    pairs = [pair for _, pair in scored]
    word, char = distance_counts(pairs, word_distance), distance_counts(pairs, char_distance)
    # The paper's SLU-F1: the two confusion counts summed.
    kinds = {"entity": entity_counts(pairs), "word": word, "char": char, "slu": word + char}
    return {
        "scenario_accuracy": scenario_accuracy(pairs),
        "action_accuracy": action_accuracy(pairs),
        "intent_accuracy": intent_accuracy(pairs),
        **{
            f"{kind}_{name}": getattr(counts, name)
            for kind, counts in kinds.items()
            for name in ("precision", "recall", "f1")
        },
        "frame_accuracy": frame_accuracy(pairs),
        **massive_figures(scored),
        "num_scored": len(pairs),
    }


def _entities(predicted: Frame | None) -> tuple[Entity, ...]:
    return () if predicted is None else predicted.entities


def _share(right: Iterable[bool]) -> float:
    marks = list(right)
    return ratio(sum(marks), len(marks))
