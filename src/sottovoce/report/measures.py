"""Figures derived from a study's scores: standard errors, the gap closed, and differences paired by utterance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sottovoce.core.types import MODALITIES, Prediction, Utterance
from sottovoce.report.results import CellResult, Scores
from sottovoce.score.metrics.metric import Metric


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies on the same utterances, with its standard error."""

    value: float
    standard_error: float

    @property
    def distinguishable(self) -> bool:
        """Whether it is not 0 and at least two standard errors."""
        return self.value != 0 and abs(self.value) >= 2 * self.standard_error


def standard_error(scores: Scores, metric: Metric) -> float | None:
    """Standard error sqrt(p(1-p)/n) of a share p of n items, which covers the choice of test utterances but not the
    training run; None if the metric is not a share of items."""
    if metric.of != "items":
        return None
    share, number = scores[metric.key], scores["num_scored"]
    return math.sqrt(share * (1 - share) / number) if number else math.nan


SMALLEST_GAP = 0.1  # of a score; shares of less are mostly noise: a few hundred utterances have errors of 3 points


def share_unreadable(scores: Scores) -> float:
    """Share of the scored answers that could not be read as a frame."""
    return scores["num_unreadable"] / scores["num_scored"] if scores["num_scored"] else math.nan


def gap_closed(cell: CellResult, text_only: CellResult, key: str) -> float | None:
    """Share of text-only's loss from gold text to speech that a cell recovers, in the metric with that key; None if the
    loss is too small.

    (cell on speech - text_only on speech) / (text_only on gold text - text_only on speech): 0 is text-only itself,
    1 is as good on speech as text-only on gold text; it may be negative or above 1.
    """
    floor, ceiling = (text_only.strict(modality)[key] for modality in MODALITIES)
    return share_closed(cell.strict("speech")[key], floor, ceiling)


def share_closed(reached: float, floor: float, ceiling: float) -> float | None:
    """How much of the distance from floor to ceiling is covered; None if it is less than SMALLEST_GAP."""
    return (reached - floor) / (ceiling - floor) if ceiling - floor >= SMALLEST_GAP else None


def intent_right(prediction: Prediction | None, gold: Utterance) -> bool:
    """Whether the intent is right; a missing or unreadable answer is wrong."""
    return prediction is not None and prediction.frame is not None and prediction.frame.intent == gold.frame.intent


def intent_difference(
    gold: Sequence[Utterance], before: Mapping[str, Prediction], after: Mapping[str, Prediction]
) -> Difference:
    """How much higher the intent accuracy of ``after`` is than that of ``before``, paired by utterance.

    With w utterances won and l lost of n, the difference is (w - l) / n, with standard error
    sqrt(w + l - (w - l)^2 / n) / n: utterances on which both agree do not add to it.
    """
    steps = [intent_right(after.get(row.id), row) - intent_right(before.get(row.id), row) for row in gold]
    number, net = len(steps), sum(steps)
    return Difference(net / number, math.sqrt(sum(map(abs, steps)) - net**2 / number) / number)
