"""Whole frames: right only if scenario, action and every entity are right.

On Fluent Speech Commands this is the corpus's accuracy: Lugosch et al., "Speech Model Pre-training for End-to-End
Spoken Language Understanding" (Interspeech 2019), and their code (github.com/lorenlugosch/end-to-end-SLU, models.py:
"all slots must be correct"), count a recording as right if its action, object and location are all right.
"""

from __future__ import annotations

from collections import Counter

from sottovoce.core.types import Frame
from sottovoce.score.files import GoldItem
from sottovoce.score.matching import same_intent
from sottovoce.score.metrics.metric import Metric, share


def same_frame(gold: Frame, predicted: Frame | None) -> bool:
    """Whether intent and entities are equal, repeated entities included; order does not matter, case does."""
    if predicted is None or not same_intent(gold, predicted):
        return False
    return predicted.entities == gold.entities or Counter(predicted.entities) == Counter(gold.entities)


def frame_counts(item: GoldItem, predicted: Frame | None) -> dict[str, float]:
    """Whether the whole frame is right."""
    return {"frame": same_frame(item.frame, predicted)}


METRICS = (Metric("frame_accuracy", "frame accuracy", "items", frame_counts, share("frame"), "tables"),)
