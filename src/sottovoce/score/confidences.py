"""Confidences paired with whether the intents are right: the input of calibration and abstention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.core.types import ANSWERED
from sottovoce.score.intervals import Floats
from sottovoce.score.matching import Answer, same_intent


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers with their confidences and whether their intents are right.

    Args:
        confidence: (n,), each 0..1.
        right: (n,), each 0 or 1.
        groups: (n,), each answer's utterance as a number; answers to one utterance are resampled together.
        num_without: answers left out because they have no confidence.

    Raises:
        ValueError: there are no answers, the shapes differ, or a confidence lies outside 0..1.
    """

    confidence: Floats
    right: Floats
    groups: NDArray[np.int64]
    num_without: int = 0

    def __post_init__(self) -> None:
        if not len(self.confidence) or not (self.confidence.shape == self.right.shape == self.groups.shape):
            raise ValueError(f"answers of shapes {self.confidence.shape}, {self.right.shape}, {self.groups.shape}")
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise ValueError("a confidence lies outside 0..1")

    def __len__(self) -> int:
        return len(self.confidence)


def judged_answers(answers: Sequence[Answer]) -> Judged | None:
    """The answers that have a confidence; None if none has.

    A withheld answer is judged as if it had been given, an unreadable one is wrong. Items answered twice or not at all
    are left out, and do not count as answers without confidence.
    """
    given = [answer for answer in answers if answer.status not in ("missing", "duplicate")]
    kept = [(answer, answer.confidence) for answer in given if answer.confidence is not None]
    if not kept:
        return None
    right = [a.status in (*ANSWERED, "abstained") and same_intent(a.item.frame, a.frame) for a, _ in kept]
    _, groups = np.unique([answer.item.utterance or answer.item.key for answer, _ in kept], return_inverse=True)
    confidence = np.array([each for _, each in kept], dtype=np.float64)
    return Judged(confidence, np.array(right, dtype=np.float64), groups.astype(np.int64), len(given) - len(kept))


def by_confidence(judged: Judged) -> tuple[Floats, Floats]:
    """Confidences, rising, and for each the share of right intents among the answers with that confidence: (n,) each.

    So sums over answers in this order do not depend on how ties are sorted.
    """
    values, places, numbers = np.unique(judged.confidence, return_inverse=True, return_counts=True)
    means = np.bincount(places, judged.right) / numbers
    return np.repeat(values, numbers), np.repeat(means, numbers)
