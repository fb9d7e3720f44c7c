"""Figures derived from a study's scores: standard errors, the gap closed, and differences paired by utterance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sottovoce.core.types import MODALITIES, Prediction, Utterance
from sottovoce.report.results import CellResult, Scores
from sottovoce.score import intervals
from sottovoce.score.intervals import Figure, corrected_level
from sottovoce.score.metrics.metric import Metric
from sottovoce.score.statistics import LEVEL, holm


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies on the same utterances, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def distinguishable(self) -> bool:
        """Whether 0 is outside the interval."""
        return not self.low <= 0 <= self.high


def standard_error(scores: Scores, metric: Metric) -> float | None:
    """Standard error of a share of items, above 0 for none and all too; it covers the choice of test utterances, not of
    the run. None of a metric that is no share of items."""
    if metric.of != "items":
        return None
    share, number = scores[metric.key], scores["num_scored"]
    return Figure(share, share * (1 - share) / number, int(number), True).standard_error if number else math.nan


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


def intent_differences(
    gold: Sequence[Utterance], befores: Sequence[Mapping[str, Prediction]], after: Mapping[str, Prediction]
) -> list[Difference]:
    """How much higher the intent accuracy of ``after`` is than each of the others, paired by utterance.

    Utterances on which both agree say nothing about it. The intervals are corrected for their number, by Holm.
    """
    found = []
    for before in befores:
        steps = [intent_right(after.get(row.id), row) - intent_right(before.get(row.id), row) for row in gold]
        number, value = len(steps), sum(steps) / len(steps)
        found.append(intervals.Difference(value, (sum(map(abs, steps)) / number - value**2) / number, number, True))
    corrected = zip(found, holm([each.p_value for each in found]), strict=True)
    return [Difference(e.value, *e.bounds(corrected_level(LEVEL, e.p_value, p_value))) for e, p_value in corrected]


def disagreement(gold: Sequence[Utterance], first: Mapping[str, Prediction], second: Mapping[str, Prediction]) -> float:
    """The share of the utterances whose intent exactly one of the two has right."""
    differ = [intent_right(first.get(row.id), row) != intent_right(second.get(row.id), row) for row in gold]
    return sum(differ) / len(differ)
