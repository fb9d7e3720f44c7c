"""How far confidences can be trusted: do eight in ten answers with confidence 0.8 have the right intent?

Methods: expected calibration error (Guo et al., "On calibration of modern neural networks", ICML 2017); the same with
equally filled bins (Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019); Brier score (1950).
With few answers the error is biased upwards: see :func:`error_if_calibrated`. Each recording counts once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sottovoce.score.abstention import Answered, answered_above, risk_coverage_area
from sottovoce.score.binomial import share_bounds
from sottovoce.score.confidences import Judged, by_confidence
from sottovoce.score.intervals import Floats
from sottovoce.score.statistics import LEVEL, bootstrap, interval

NUM_BINS = 10
THRESHOLDS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # shown in tables
_NUM_DRAWS = 200  # in error_if_calibrated; its mean then has a standard error of a fifteenth of the spread


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers with a confidence above ``low`` and up to ``high``; with the 95 % interval of the accuracy."""

    low: float
    high: float
    number: int
    mean_confidence: float
    accuracy: float
    accuracy_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Every figure of an input's confidences, shares 0..1; the functions below define them."""

    number: int
    num_without_confidence: int
    accuracy: float
    mean_confidence: float
    ece: float
    ece_interval: tuple[float, float]
    ece_if_calibrated: float
    adaptive_ece: float
    brier: float
    risk_coverage_area: float
    bins: tuple[Bin, ...] = field(repr=False)
    answered: tuple[Answered, ...] = field(repr=False)


def calibration(judged: Judged) -> Calibration:
    """All figures at once; ``ece_interval`` is a 95 % percentile bootstrap interval over utterances.

    Resampling adds noise that raises the error, so the interval is too high and may not include ``ece``.
    """
    ece, brier = calibration_errors(judged)
    (low, high), _ = interval(bootstrap(_sums(judged, NUM_BINS), _figures_of)).tolist()
    return Calibration(
        len(judged), judged.num_without, float(judged.right.mean()), float(judged.confidence.mean()), ece, (low, high),
        error_if_calibrated(judged), adaptive_calibration_error(judged), brier, risk_coverage_area(judged),
        reliability_bins(judged), tuple(answered_above(judged, threshold) for threshold in THRESHOLDS),
    )  # fmt: skip


def calibration_errors(judged: Judged, num_bins: int = NUM_BINS) -> tuple[float, float]:
    """ECE and Brier score, 0..1 each.

    ECE = sum over bins m of |B_m| / n * |accuracy(B_m) - mean confidence(B_m)|; 0 is calibrated. Bin m of M holds the
    confidences in ((m - 1) / M, m / M], the first also 0. The Brier score is the mean of (confidence - right)^2; always
    answering 0.5 scores 0.25.
    """
    ece, brier = _figures_of(_sums(judged, num_bins).sum(axis=0)).tolist()
    return ece, brier


def adaptive_calibration_error(judged: Judged, num_bins: int = NUM_BINS) -> float:
    """The ECE with equally filled bins, so that none is nearly empty; the order of answers does not matter."""
    confidence, right = by_confidence(judged)
    edges = [len(judged) * place // num_bins for place in range(num_bins + 1)]
    gaps = [(right[low:high] - confidence[low:high]).sum() for low, high in pairwise(edges)]
    return float(np.abs(gaps).sum()) / len(judged)


def error_if_calibrated(judged: Judged, num_bins: int = NUM_BINS, seed: int = 0) -> float:
    """The ECE to expect if these confidences were calibrated; only the excess over it is real miscalibration.

    The mean over 200 draws in which each answer is right with the probability of its confidence.
    """
    places, rng = _bin_of(judged.confidence, num_bins), np.random.default_rng(seed)
    total = 0.0
    for _ in range(_NUM_DRAWS):
        gaps = (rng.random(len(judged)) < judged.confidence) - judged.confidence
        total += float(np.abs(np.bincount(places, gaps, num_bins)).sum())
    return total / _NUM_DRAWS / len(judged)


def reliability_bins(judged: Judged, num_bins: int = NUM_BINS) -> tuple[Bin, ...]:
    """The bins of the ECE by rising confidence, without the empty ones."""
    places = _bin_of(judged.confidence, num_bins)
    bins = []
    for place in np.unique(places).tolist():
        confidence, right = (column[places == place] for column in (judged.confidence, judged.right))
        share = share_bounds(float(right.sum()), len(right), LEVEL)
        means = float(confidence.mean()), float(right.mean())
        bins.append(Bin(place / num_bins, (place + 1) / num_bins, len(right), *means, share))
    return tuple(bins)


def _bin_of(confidence: Floats, num_bins: int) -> NDArray[np.int64]:
    # Not ceil(confidence * M): in floating point 0.7 * 10 is more than 7, while 7 / 10 is 0.7.
    places = np.searchsorted(np.arange(num_bins + 1) / num_bins, confidence, side="left") - 1
    return np.clip(places, 0, num_bins - 1)


def _sums(judged: Judged, num_bins: int) -> Floats:
    """For each utterance, by bin, right answers minus confidences; then squared errors, then answers: utterances x
    (num_bins + 2). ECE and Brier score are quotients of sums of these, so they can be computed for any resample.
    """
    gaps = judged.right - judged.confidence
    sums = np.zeros((int(judged.groups.max()) + 1, num_bins + 2))
    np.add.at(sums, (judged.groups, _bin_of(judged.confidence, num_bins)), gaps)
    sums[:, num_bins] = np.bincount(judged.groups, np.square(gaps), len(sums))
    sums[:, num_bins + 1] = np.bincount(judged.groups, minlength=len(sums))
    return sums


def _figures_of(sums: Floats) -> Floats:
    """ECE and Brier score of sums of rows: (..., num_bins + 2) to (..., 2)."""
    figures: Floats = np.stack([np.abs(sums[..., :-2]).sum(axis=-1), sums[..., -2]], axis=-1) / sums[..., -1:]
    return figures
