"""McNemar's test, Holm's correction, the spread over seeds, and the bootstrap for what has no interval of its own.

The intervals of scores and of their differences are in :mod:`sottovoce.score.intervals`.

Methods: the percentile bootstrap over utterances, whose recordings stay together (Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13); McNemar's test in its exact, binomial form; Holm's step-down
correction (1979).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.score.intervals import FiguresOf, Floats

NUM_RESAMPLES = 2000
LEVEL = 0.95
_NUMBERS_AT_ONCE = 2_000_000  # 16 MB of weights, so that memory does not grow with the number of resamples


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """One figure over several seeds; ``deviation`` is the sample standard deviation (n - 1), 0.0 for one seed."""

    mean: float
    deviation: float
    lowest: float
    highest: float
    num_seeds: int


def bootstrap(sums: Floats, figures_of: FiguresOf, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Floats:
    """The figures of bootstrap resamples: as many utterances as there are, drawn with replacement.

    Args:
        sums: utterances x columns.
        figures_of: from summed columns to figures.
        seed: of the resamples.

    Returns:
        num_resamples x figures.

    Raises:
        ValueError: there are no utterances, or ``num_resamples`` is below 1.
    """
    return np.concatenate([figures_of(weights @ sums) for weights in _draws(len(sums), num_resamples, seed)])


def interval(samples: Floats, level: float = LEVEL) -> Floats:
    """The percentile interval of each column: figures x (low, high)."""
    return np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0).T


def mcnemar_p_value(first_right: Floats, second_right: Floats) -> float:
    """McNemar's exact two-sided p-value (above 0, at most 1), from how many recordings of each utterance are right.

    It counts the utterances where the first system has more right than the second and those where it has fewer, and
    computes how likely a split at least that uneven is for a fair coin. With one recording per utterance this is
    McNemar's test; with several it is the sign test over utterances, as recordings of an utterance are not independent.

    Raises:
        ValueError: the two have different utterances.
    """
    if first_right.shape != second_right.shape or not len(first_right):
        raise ValueError(f"two systems with counts of shapes {first_right.shape} and {second_right.shape}")
    better = int((first_right > second_right).sum())
    worse = int((first_right < second_right).sum())
    n, least = better + worse, min(better, worse)
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(least + 1)]
    return min(1.0, 2 * math.fsum(math.exp(log - n * math.log(2)) for log in logs))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values in their order, corrected for their number: this bounds the chance of any false positive.

    The smallest is multiplied by n, the next by n - 1 and so on; none falls below the one before, none exceeds 1.
    """
    corrected, highest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def over_seeds(scores: Sequence[Mapping[str, float]]) -> dict[str, SeedSpread]:
    """Mean and spread of each figure over the scores of several seeds.

    Raises:
        ValueError: no scores, or they do not have the same figures.
    """
    if not scores or any(each.keys() != scores[0].keys() for each in scores):
        raise ValueError("no scores, or scores of different figures")
    spreads = {}
    for name in scores[0]:
        values = np.array([each[name] for each in scores])
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        low, high = float(values.min()), float(values.max())
        spreads[name] = SeedSpread(float(values.mean()), deviation, low, high, len(values))
    return spreads


def _draws(num_utterances: int, num_resamples: int, seed: int) -> Iterator[Floats]:
    """How often each utterance is drawn: resamples x utterances, in chunks."""
    if num_utterances < 1 or num_resamples < 1:
        raise ValueError(f"{num_resamples} resamples of {num_utterances} utterances")
    rng = np.random.default_rng(seed)
    at_once = max(1, _NUMBERS_AT_ONCE // num_utterances)
    for start in range(0, num_resamples, at_once):
        size = min(at_once, num_resamples - start)
        drawn = rng.integers(0, num_utterances, (size, num_utterances))
        drawn += np.arange(size)[:, None] * num_utterances
        counted = np.bincount(drawn.ravel(), minlength=size * num_utterances)
        yield counted.reshape(size, num_utterances).astype(np.float64)
