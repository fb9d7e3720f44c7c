"""Whole frames: right only if scenario, action and every entity are right.

On Fluent Speech Commands this is the corpus's accuracy: Lugosch et al., "Speech Model Pre-training for End-to-End
Spoken Language Understanding" (Interspeech 2019), and the code beside it (github.com/lorenlugosch/end-to-end-SLU,
models.py: "all slots must be correct"), count a recording as right if its action, object and location all are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sottovoce.core.types import Frame
from sottovoce.score.matching import Pair


def same_frame(gold: Frame, predicted: Frame | None) -> bool:
    """Whether intent and entities are equal, each entity as often; their order does not matter, letters' case does."""
    if predicted is None or (predicted.scenario, predicted.action) != (gold.scenario, gold.action):
        return False
    return predicted.entities == gold.entities or Counter(predicted.entities) == Counter(gold.entities)


def frame_accuracy(pairs: Iterable[Pair]) -> float:
    """The share (0..1) of items whose whole frame is right; 0.0 without items."""
    marks = [same_frame(gold, predicted) for gold, predicted in pairs]
    return sum(marks) / len(marks) if marks else 0.0
