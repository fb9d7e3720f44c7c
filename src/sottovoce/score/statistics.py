"""How certain a score is: bootstrap intervals, tests between two systems, and the spread over seeds.

Utterances are resampled, not recordings: an utterance's recordings share its words and labels, so they stay together.
Everything works on sums per utterance (``CountsTable.per_utterance``) and a function from sums to figures, so F1, a
quotient of sums, is handled as exactly as an accuracy. The same seed gives the same numbers.

Methods: the percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13), paired
by drawing the same utterances for both systems (Koehn, EMNLP 2004); approximate randomisation (Noreen, 1989);
McNemar's test in its exact, binomial form; Holm's step-down correction (1979); Wilson's score interval (1927).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FiguresOf = Callable[[Floats], Floats]
"""From sums (..., columns) to figures (..., figures)."""

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
        seed: the same seed and number of utterances give the same resamples, which pairs two systems.

    Returns:
        num_resamples x figures.

    Raises:
        ValueError: there are no utterances, or ``num_resamples`` is below 1.
    """
    return np.concatenate([figures_of(weights @ sums) for weights in _draws(len(sums), num_resamples, seed)])


def interval(samples: Floats, level: float = LEVEL) -> Floats:
    """The percentile interval of each column: figures x (low, high)."""
    return np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0).T


def randomisation_p_values(
    first: Floats, second: Floats, figures_of: FiguresOf, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Floats:
    """Two-sided p-values (above 0, at most 1) of the differences between two systems, by approximate randomisation.

    If the systems do not differ, it does not matter which of them gave which answer. So for each utterance a coin flip
    decides whether the two swap their answers, and p is the share of such reshuffles whose difference is at least as
    large as the observed one; that counts as a reshuffle itself, so p is at least 1 / (num_resamples + 1).

    Raises:
        ValueError: the two have different utterances, or as ``bootstrap``.
    """
    _check_pair(first, second)
    seen = np.abs(figures_of(first.sum(axis=0)) - figures_of(second.sum(axis=0)))
    gain = second - first
    differs = np.any(gain != 0, axis=1)  # swapping equal counts changes nothing
    gain, total, both = gain[differs], first.sum(axis=0), first.sum(axis=0) + second.sum(axis=0)
    as_large = np.zeros(seen.shape)
    for size, rng in _chunks(max(1, len(gain)), num_resamples, seed):
        swapped = total + rng.integers(0, 2, (size, len(gain))).astype(np.float64) @ gain
        difference = np.abs(figures_of(swapped) - figures_of(both - swapped))
        as_large += (difference >= seen - 1e-12).sum(axis=0)  # the order of a sum can change its last digit
    p_values: Floats = (as_large + 1) / (num_resamples + 1)
    return p_values


def mcnemar_p_value(first_right: Floats, second_right: Floats) -> float:
    """McNemar's exact two-sided p-value (above 0, at most 1), from how many recordings of each utterance are right.

    It counts the utterances where the first system has more right than the second and those where it has fewer, and
    computes how likely a split at least that uneven is for a fair coin. With one recording per utterance this is
    McNemar's test; with several it is the sign test over utterances, as recordings of an utterance are not independent.

    Raises:
        ValueError: the two have different utterances.
    """
    _check_pair(first_right, second_right)
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


def wilson_interval(num_right: int, number: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (low, high) of a share, 0..1; it works for few or extreme values too.

    With p = num_right / n and z the normal quantile:
    (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Raises:
        ValueError: ``number`` is below 1.
    """
    if number < 1:
        raise ValueError(f"a share of {number}")
    z, share = NormalDist().inv_cdf((1 + level) / 2), num_right / number
    middle = share + z**2 / (2 * number)
    reach = z * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    stretch = 1 + z**2 / number
    return max(0.0, (middle - reach) / stretch), min(1.0, (middle + reach) / stretch)


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
    for size, rng in _chunks(num_utterances, num_resamples, seed):
        drawn = rng.integers(0, num_utterances, (size, num_utterances))
        drawn += np.arange(size)[:, None] * num_utterances
        counted = np.bincount(drawn.ravel(), minlength=size * num_utterances)
        yield counted.reshape(size, num_utterances).astype(np.float64)


def _chunks(num_utterances: int, num_resamples: int, seed: int) -> Iterator[tuple[int, np.random.Generator]]:
    if num_utterances < 1 or num_resamples < 1:
        raise ValueError(f"{num_resamples} resamples of {num_utterances} utterances")
    rng = np.random.default_rng(seed)
    at_once = max(1, _NUMBERS_AT_ONCE // num_utterances)
    for start in range(0, num_resamples, at_once):
        yield min(at_once, num_resamples - start), rng


def _check_pair(first: Floats, second: Floats) -> None:
    if first.shape != second.shape or not len(first):
        raise ValueError(f"two systems with counts of shapes {first.shape} and {second.shape}")
