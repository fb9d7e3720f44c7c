"""SLURP's accuracies of scenario, action and intent (scenario and action together).

After Bastianelli et al., "SLURP: A Spoken Language Understanding Resource Package" (EMNLP 2020).
"""

from __future__ import annotations

from sottovoce.core.types import Frame
from sottovoce.score.files import GoldItem
from sottovoce.score.matching import same_intent
from sottovoce.score.metrics.metric import Metric, share


def label_counts(item: GoldItem, predicted: Frame | None) -> dict[str, float]:
    """Whether scenario, action and both are right."""
    gold = item.frame
    return {
        "scenario": predicted is not None and predicted.scenario == gold.scenario,
        "action": predicted is not None and predicted.action == gold.action,
        "intent": same_intent(gold, predicted),
    }


METRICS = (
    Metric("scenario_accuracy", "scenario accuracy", "items", label_counts, share("scenario")),
    Metric("action_accuracy", "action accuracy", "items", label_counts, share("action")),
    Metric(
        "intent_accuracy", "intent accuracy", "items", label_counts, share("intent"), "headline", "intent",
        meaning="Scenario and action both right.",
    ),
)  # fmt: skip
