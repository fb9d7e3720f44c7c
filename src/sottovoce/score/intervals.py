"""How certain a figure is, and a difference of two: from what each utterance contributes to it.

Utterances are counted, not recordings: an utterance's recordings share its words and labels, so they stay together. An
utterance's influence on a figure is what leaving it out changes (the jackknife; Efron and Tibshirani, "An Introduction
to the Bootstrap", 1993, chapter 11), so an F1, a quotient of sums, is handled as an accuracy is. Influences are linear:
those of a difference, or of a mean over seeds, are the difference and the mean of influences, which pairs two systems.
Their squares sum to the variance that comes of the choice of test utterances.

**A share** (accuracies, F1) gets the mid-p interval of a binomial count (:mod:`sottovoce.score.binomial`) among its
effective number of answers, share (1 - share) / variance, as Korn and Graubard do for surveys (Survey Methodology 24,
1998). Share and variance are smoothed there as if one utterance more were wrong as a whole, without which all-right
answers would have no width: n (n p (1 - p) + 1) / (n^2 variance + 1) of n utterances, which is n where each has one
answer, so that an accuracy's interval is the exact one.

**A difference** gets the interval of Bonett and Price ("Adjusted Wald confidence interval for a difference of binomial
proportions based on paired data", Journal of Educational and Behavioral Statistics 37, 2012): as if two utterances more
had been tested, one that only the first system has right and one that only the second has. Its p-value is that of the
level at which the interval ends at 0, so interval and verdict are one and the same test.

**Seeds**, where they are to be covered, add the variance of their mean, less what utterances already explain of it; few
of them widen the interval by Student's t, with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946).

How often all of this holds the truth is counted in docs/scores.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.score.binomial import share_bounds, t_quantile, t_two_sided

FEW_UTTERANCES = 50
"""Below so many, what was counted of the intervals of F1 figures in docs/scores.md does not hold."""

_SMALLEST = 1e-300  # p-value, which corrections multiply

Floats = NDArray[np.float64]
FiguresOf = Callable[[Floats], Floats]
"""From sums (..., columns) to figures (..., figures)."""


@dataclass(frozen=True)
class Scored:
    """Figures, or differences of such, of one set of test utterances.

    Args:
        figures: (figures,).
        influence: utterances x figures, what each utterance contributes to each figure's deviation.
        counted: utterances x figures, whether the utterance has anything that the figure counts.
        are_shares: (figures,), whether it is a share, 0..1, and not just any number.
    """

    figures: Floats
    influence: Floats
    counted: NDArray[np.bool_]
    are_shares: NDArray[np.bool_]

    def __sub__(self, other: Scored) -> Scored:
        counted = self.counted | other.counted
        return Scored(self.figures - other.figures, self.influence - other.influence, counted, self.are_shares)

    @classmethod
    def of(cls, sums: Floats, figures_of: FiguresOf, are_shares: Sequence[bool]) -> Scored:
        """From sums, utterances x columns.

        Raises:
            ValueError: there are no utterances.
        """
        number, total = len(sums), sums.sum(axis=0)
        if not number:
            raise ValueError("figures of no utterances")
        without = figures_of(total - sums)
        influence = (number - 1) / number * (without.mean(axis=0) - without)
        ones = np.ones(sums.shape[1])
        matters = figures_of(ones + np.eye(len(ones))) != figures_of(ones)  # columns x figures
        counted = (sums != 0).astype(float) @ matters > 0
        return cls(figures_of(total), influence, counted, np.asarray(are_shares, dtype=bool))

    @classmethod
    def mean(cls, each: Sequence[Scored]) -> Scored:
        """The mean of figures of the same utterances.

        Raises:
            ValueError: there are none.
        """
        if not each:
            raise ValueError("no seeds")
        influence = np.mean([one.influence for one in each], axis=0)
        counted = np.any([one.counted for one in each], axis=0)
        return cls(np.mean([one.figures for one in each], axis=0), influence, counted, each[0].are_shares)


@dataclass(frozen=True, slots=True)
class _Uncertain:
    """One figure or difference, its variance over the choice of ``number`` utterances, and that over seeds."""

    value: float
    variance: float
    number: int
    is_share: bool
    seed_variance: float = 0.0
    degrees: float = math.inf

    def _mean_bounds(self, centre: float, variance: float, degrees: float, level: float) -> tuple[float, float]:
        half = t_quantile(level, degrees) * math.sqrt(variance + self.seed_variance)
        return centre - half, centre + half

    def _of_a_number(self) -> tuple[float, float]:
        """The variance and the degrees of freedom of a figure that is no share."""
        if self.number < 2:
            return math.inf, 1.0
        return self.variance * self.number / (self.number - 1), min(self.degrees, self.number - 1)


class Figure(_Uncertain):
    """A figure of one system."""

    __slots__ = ()

    @property
    def standard_error(self) -> float:
        """Above 0 for a share of 0 or 1 too, by the smoothing of the interval."""
        if not self.is_share:
            return math.sqrt(self._of_a_number()[0] + self.seed_variance)
        number, share = self._effective(), self.value
        smoothed = (share * number + 1) / (number + 2)  # Agresti and Coull
        return math.sqrt(smoothed * (1 - smoothed) / (number + 2))

    def bounds(self, level: float) -> tuple[float, float]:
        """The interval (low, high)."""
        if not self.is_share:
            return self._mean_bounds(self.value, *self._of_a_number(), level)
        widening = t_quantile(level, self.degrees) / t_quantile(level, math.inf)
        number = self._effective() / widening**2
        return share_bounds(self.value * number, number, level)

    def _effective(self) -> float:
        """The number of independent answers that would be as uncertain."""
        n, spread = self.number, max(0.0, self.value * (1 - self.value))
        effective = n * (n * spread + 1) / (n**2 * self.variance + 1)
        return spread / (spread / effective + self.seed_variance) if spread and effective else effective


class Difference(_Uncertain):
    """How much higher a figure is than another, of the same utterances."""

    __slots__ = ()

    @property
    def standard_error(self) -> float:
        """Above 0 also where nothing differs, by the smoothing of the interval."""
        return math.sqrt(self._smoothed()[1] + self.seed_variance)

    @property
    def p_value(self) -> float:
        """Two-sided, of the hypothesis that it is 0: 1 - the level at which the interval ends at 0."""
        centre, variance, degrees = self._smoothed()
        spread = math.sqrt(variance + self.seed_variance)
        if not centre or spread == math.inf:
            return 1.0
        return max(_SMALLEST, t_two_sided(centre / spread, degrees)) if spread else _SMALLEST

    def bounds(self, level: float) -> tuple[float, float]:
        """The interval (low, high)."""
        low, high = self._mean_bounds(*self._smoothed(), level)
        return (max(-1.0, low), min(1.0, high)) if self.is_share else (low, high)

    def _smoothed(self) -> tuple[float, float, float]:
        """Centre, variance and degrees of freedom, with the two utterances more."""
        n = self.number
        if not self.is_share:
            return self.value, *self._of_a_number()
        squares = n**2 * self.variance + 2 + 2 * n * self.value**2 / (n + 2)
        return self.value * n / (n + 2), squares / (n + 2) ** 2, self.degrees


def figures(seeds: Sequence[Scored]) -> list[Figure]:
    """The mean over seeds of each figure; of one seed, what is uncertain is the choice of utterances alone."""
    return [Figure(*row) for row in _rows(seeds)]


def differences(seeds: Sequence[Scored]) -> list[Difference]:
    """The mean over seeds of each difference, see :func:`figures`."""
    return [Difference(*row) for row in _rows(seeds)]


def corrected_level(level: float, p_value: float, corrected: float) -> float:
    """The level at which an interval agrees with a corrected p-value: 0 is outside if ``corrected`` is below 1 - level.

    A p-value that a correction multiplies by k is a test at the k-th part of 1 - level, and so is the interval.
    """
    return 1 - (1 - level) * p_value / corrected


def _rows(seeds: Sequence[Scored]) -> list[tuple[float, float, int, bool, float, float]]:
    mean, k = Scored.mean(seeds), len(seeds)
    variance = (mean.influence**2).sum(axis=0)
    of_seeds, degrees = np.zeros(len(variance)), np.full(len(variance), np.inf)
    if k > 1:
        spread = np.var([each.figures for each in seeds], axis=0, ddof=1) / k
        # What the answers' own chance, of each seed and utterance, adds to it; the influences of the mean have it too.
        chance = np.mean([(each.influence**2).sum(axis=0) for each in seeds], axis=0) - variance
        of_seeds = np.maximum(0.0, spread - chance / (k - 1))
        np.divide((k - 1) * (variance + of_seeds) ** 2, spread**2, out=degrees, where=spread > 0)
    columns = (mean.figures, variance, mean.counted.sum(axis=0), mean.are_shares, of_seeds, np.maximum(degrees, k - 1))
    return list(zip(*(column.tolist() for column in columns), strict=True))
