"""SLURP's metrics, over prediction files: accuracies, entity F1, the distance F1s and SLU-F1.

After Bastianelli, Vanzo, Swietojanski and Rieser, "SLURP: A Spoken Language Understanding Resource Package" (EMNLP
2020), and the behaviour of the official scorer, whose figures for the published outputs are met to five digits. All
averages are micro averages: counts are summed over items and types before dividing. A figure whose denominator is
empty (no items, no entities) is 0.0.

Two views are given. ``official`` does as that scorer does: items without a prediction are skipped. ``strict`` counts
every gold item: an answer that is missing, unreadable or given more than once is wrong, and all its entities missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rapidfuzz.distance import Levenshtein

from sottovoce.errors import UserError
from sottovoce.evaluate.files import Gold, GoldItem, KeyKind, PredictionRow
from sottovoce.types import Entity, Frame

ItemStatus = Literal["ok", "unreadable", "missing", "duplicate"]
Pair = tuple[Frame, Frame | None]
"""A gold frame and the predicted one; None is no answer: every label wrong and every gold entity missed."""
_Answers = tuple[GoldItem, list[PredictionRow]]


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives; fractions of one where distances are summed."""

    tp: float = 0.0
    fp: float = 0.0
    fn: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """tp / (tp + fp), 0..1; 0.0 where nothing was predicted."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """tp / (tp + fn), 0..1; 0.0 where there was nothing to find."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0..1; 0.0 where both are 0."""
        return _ratio(2 * self.precision * self.recall, self.precision + self.recall)


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


def score(gold: Gold, predictions: Sequence[PredictionRow]) -> dict[str, dict[str, float | int]]:
    """Every figure in both views.

    Args:
        gold: the right answers.
        predictions: rows with the same kind of key, in the file's order. In ``official`` the last row of a key counts,
            whatever its status, with the scenario, action and entities it carries.

    Returns:
        ``{"official": {...}, "strict": {...}}``, each with scenario_accuracy, action_accuracy, intent_accuracy,
        entity_precision, entity_recall, entity_f1, word_f1, char_f1, slu_precision, slu_recall, slu_f1 (0..1) and the
        counts num_scored (gold items behind the figures), num_missing, num_unreadable, num_duplicates (gold items;
        each in one of the three at most, duplicates first) and num_unknown (rows for an item that gold lacks, which
        count for nothing else).

    Raises:
        UserError: the rows' keys are of several kinds, or gold has no items, or no unique ones, of that kind.
    """
    answers, unknown = _answers(gold, predictions)
    statuses = [_status(rows) for _, rows in answers]
    counts = {
        "num_missing": statuses.count("missing"),
        "num_unreadable": statuses.count("unreadable"),
        "num_duplicates": statuses.count("duplicate"),
        "num_unknown": unknown,
    }
    official: list[Pair] = [(item.frame, rows[-1].frame) for item, rows in answers if rows]
    strict: list[Pair] = [(item.gold, item.predicted) for item in score_by_item(gold, predictions)]
    return {
        view: {**_figures(pairs), "num_scored": len(pairs), **counts}
        for view, pairs in (("official", official), ("strict", strict))
    }


def score_by_item(gold: Gold, predictions: Sequence[PredictionRow]) -> list[ItemScore]:
    """Each gold item in the strict view, in the gold file's order: for error examples and for resampling.

    Raises:
        UserError: as ``score``.
    """
    scores = []
    for item, rows in _answers(gold, predictions)[0]:
        status = _status(rows)
        predicted = rows[0].frame if status == "ok" else None
        right = _same_intent(item.frame, predicted)
        scores.append(ItemScore(item.key, right, status, item.frame, predicted, item.transcript))
    return scores


def scenario_accuracy(pairs: Iterable[Pair]) -> float:
    """The share (0..1) of items whose scenario is right."""
    return _share(predicted is not None and predicted.scenario == gold.scenario for gold, predicted in pairs)


def action_accuracy(pairs: Iterable[Pair]) -> float:
    """The share (0..1) of items whose action is right."""
    return _share(predicted is not None and predicted.action == gold.action for gold, predicted in pairs)


def intent_accuracy(pairs: Iterable[Pair]) -> float:
    """The share (0..1) of items whose scenario and action are both right."""
    return _share(_same_intent(gold, predicted) for gold, predicted in pairs)


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


def _figures(pairs: Sequence[Pair]) -> dict[str, float | int]:
    entity = entity_counts(pairs)
    word, char = distance_counts(pairs, word_distance), distance_counts(pairs, char_distance)
    slu = word + char  # the paper's SLU-F1: the two confusion counts summed
    return {
        "scenario_accuracy": scenario_accuracy(pairs),
        "action_accuracy": action_accuracy(pairs),
        "intent_accuracy": intent_accuracy(pairs),
        "entity_precision": entity.precision,
        "entity_recall": entity.recall,
        "entity_f1": entity.f1,
        "word_f1": word.f1,
        "char_f1": char.f1,
        "slu_precision": slu.precision,
        "slu_recall": slu.recall,
        "slu_f1": slu.f1,
    }


def _answers(gold: Gold, predictions: Sequence[PredictionRow]) -> tuple[list[_Answers], int]:
    """Each gold item with the rows that answer it, and the number of rows that answer none."""
    kind: KeyKind = predictions[0].kind if predictions else "id"
    items = gold.items(kind)
    rows: defaultdict[str, list[PredictionRow]] = defaultdict(list)
    unknown = 0
    for row in predictions:
        if row.kind != kind:
            raise UserError(f"{row.where}: keyed by {row.kind}, the rows above by {kind}", "use one key in all rows")
        if row.key in items:
            rows[row.key].append(row)
        else:
            unknown += 1
    return [(item, rows.get(key, [])) for key, item in items.items()], unknown


def _status(rows: Sequence[PredictionRow]) -> ItemStatus:
    if not rows:
        return "missing"
    return "duplicate" if len(rows) > 1 else rows[0].status


def _same_intent(gold: Frame, predicted: Frame | None) -> bool:
    return predicted is not None and (predicted.scenario, predicted.action) == (gold.scenario, gold.action)


def _entities(predicted: Frame | None) -> tuple[Entity, ...]:
    return () if predicted is None else predicted.entities


def _share(right: Iterable[bool]) -> float:
    marks = list(right)
    return _ratio(sum(marks), len(marks))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
