"""The effect of withholding answers of low confidence: how many are still given, and how accurate they are.

Risk and coverage: El-Yaniv and Wiener, "On the foundations of noise-free selective classification", JMLR 11, 2010; the
area under their curve: Geifman et al., "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sottovoce.core.errors import UserError
from sottovoce.score.binomial import share_bounds
from sottovoce.score.confidences import Judged, by_confidence
from sottovoce.score.intervals import Floats
from sottovoce.score.statistics import LEVEL


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers left when abstaining below a threshold: number, share and accuracy (None if none are left)."""

    threshold: float
    number: int
    share: float
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None


def answered_above(judged: Judged, threshold: float) -> Answered:
    """The answers left if those with a confidence below ``threshold`` are withheld."""
    right = judged.right[judged.confidence >= threshold]
    if not len(right):
        return Answered(threshold, 0, 0.0, None, None)
    accuracy, bounds = float(right.mean()), share_bounds(float(right.sum()), len(right), LEVEL)
    return Answered(threshold, len(right), len(right) / len(judged), accuracy, bounds)


def risk_coverage(judged: Judged) -> tuple[Floats, Floats, Floats]:
    """Thresholds (rising, all confidences that occur), the share answered and its accuracy at each: (k,) each."""
    confidence, right = by_confidence(judged)
    thresholds, first = np.unique(confidence, return_index=True)
    number = len(judged) - first
    accuracies: Floats = np.cumsum(right[::-1])[number - 1] / number
    shares: Floats = number / len(judged)
    return thresholds, shares, accuracies


def risk_coverage_area(judged: Judged) -> float:
    """The share of wrong intents among the i most confident answers, averaged over i = 1 .. n (AURC); lower is better.

    Answers of equal confidence count as their mean, the average over all their orders.
    """
    wrong = 1 - by_confidence(judged)[1][::-1]
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())


def abstain_threshold(judged: Judged, accuracy: float) -> Answered:
    """The lowest threshold that reaches an intent accuracy (0..1) on the remaining answers, so that most remain.

    The threshold is rounded to the fewest digits that work. It is chosen on these answers: on others the accuracy will
    be a little lower, and ``accuracy_interval`` shows how far off it may be.

    Raises:
        UserError: no threshold reaches it.
    """
    thresholds, _, accuracies = risk_coverage(judged)
    reached = np.flatnonzero(accuracies >= accuracy - 1e-12)  # sums of floats can differ in the last digit
    if not len(reached):
        best = int(np.argmax(accuracies))
        fault = f"no threshold reaches an intent accuracy of {accuracy:.1%}"
        part = answered_above(judged, float(thresholds[best]))
        raise UserError(fault, f"the best is {accuracies[best]:.1%}, with {part.share:.1%} answered; lower the target")
    place = int(reached[0])
    below = float(thresholds[place - 1]) if place else -1.0
    return answered_above(judged, _shortest_between(below, float(thresholds[place])))


def _shortest_between(below: float, at_most: float) -> float:
    """The decimal with the fewest digits in (below, at_most]; ``at_most`` is in 0..1."""
    for num_digits in range(17):
        shortened: float = math.floor(at_most * 10**num_digits) / 10**num_digits
        if below < shortened <= at_most:
            return shortened
    return at_most
