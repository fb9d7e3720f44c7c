"""Entity recall by slot: the mean over slot types of the share of each type's entities that are found.

For each slot type t of the gold entities, recall(t) = found(t) / gold(t), where found(t) counts the gold entities that
the answer has with the right slot and exactly the right filler. The figure is the mean of recall(t) over the types:
macro-averaged recall (Sebastiani, "Machine learning in automated text categorization", ACM Computing Surveys 34, 2002,
section 7.1), 0 without gold entities. A rare slot weighs as much as a common one, so a slot that the model never
learned shows up. A resample averages over the types that it contains. No official scorer prints this figure, so it is
in the strict view only.
"""

from __future__ import annotations

from collections import Counter

from sottovoce.core.types import Frame
from sottovoce.score.files import GoldItem
from sottovoce.score.metrics.metric import Floats, Metric, Sums, ratio

_FOUND, _GOLD = "slot_found:", "slot_gold:"  # followed by the slot's name


def slot_recall_counts(item: GoldItem, predicted: Frame | None) -> dict[str, float]:
    """For each slot of the gold frame, how many entities it has and how many of them are found."""
    gold = Counter(item.frame.entities)
    found = gold & Counter(predicted.entities if predicted is not None else ())
    counts = Counter[str]()
    for entity, number in gold.items():
        counts[f"{_FOUND}{entity.type}"] += found[entity]
        counts[f"{_GOLD}{entity.type}"] += number
    return dict(counts)


def mean_recall(sums: Sums) -> Floats:
    """The mean over slots of found / gold."""
    found, gold = sums.starting(_FOUND), sums.starting(_GOLD)
    return ratio(ratio(found, gold).sum(axis=-1), (gold > 0).sum(axis=-1))


METRICS = (
    Metric(
        "entity_recall_by_slot", "entity recall by slot", "entities", slot_recall_counts, mean_recall, "tables",
        official=False,
    ),
)  # fmt: skip
