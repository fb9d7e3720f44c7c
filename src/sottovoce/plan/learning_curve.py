"""How a score grows with the number of recordings, from none on: a power law, fitted with its uncertainty.

    score(n) = ceiling - scale * (n + offset) ** -exponent

is the power law of learning curves (Cortes, Jackel, Solla, Vapnik and Denker, NIPS 1993; Hestness et al., "Deep
Learning Scaling is Predictable, Empirically", 2017; Viering and Loog's review, "The Shape of Learning Curves", 2022).
The offset makes it hold at n = 0, where the model has learned from text alone: text is worth ``offset`` recordings (as
in Hernandez et al., "Scaling Laws for Transfer", 2021). We parametrise it by two observable numbers: the score without
recordings, and its rise at the largest number measured. Given exponent and offset, the curve is linear in these two.

The score of one training is the curve at its n plus three errors: of its seed (shared by all scores of that seed), of
the training itself, and of testing on these utterances. The covariance of the last comes from the bootstrap over
utterances, with the same resamples for all trainings, since they share the test set. The sizes of the other two are
unknown: their deviations, the exponent and the offset are taken from grids. Given these, the two linear parameters are
normal, so curves can be drawn from the posterior without a Markov chain. Intervals are quantiles of the draws.

The simple way, to resample utterances and seeds, fit each time and take percentiles, is the baseline of the simulation
in docs/evidence/planner.md. It counts the randomness of each answer twice, with the utterances and with the seeds,
which happens to compensate for the too small spread of three seeds drawn with replacement; its intervals of a gain are
too wide.

The ceiling may exceed 1, since a bound that far outside the measured range would bend the curve inside it. The score
must be between 0 and 1 where the curve is used, up to SUPPORT times the largest number measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.8
SUPPORT = 2.0
"""A curve is used up to this many times the largest number of recordings measured: one doubling, for which the coverage
of the intervals was simulated. Beyond it, the prior of the shape matters more than the measured scores."""
MIN_BUDGETS = 3
NUM_DRAWS = 4000

# Log-uniform priors. Exponents: 0.07 to 0.35 in Hestness et al., 0.5 to 1 in Cortes et al. Offsets below the
# smallest budget or above the largest supported one give curves that the budgets cannot distinguish from those within.
# Deviations: 0.2 to 8 points of score; log-uniform, which gives a Student's t distribution for few seeds.
_EXPONENTS = np.geomspace(0.1, 1.2, 12)
_NUM_OFFSETS = 14
_DEVIATIONS = np.geomspace(0.002, 0.08, 9)
_MAX_ROUNDS = 25


class NoCurveError(ValueError):
    """The scores do not determine a curve of this form; the message says why."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The median and the LEVEL interval; a number of recordings beyond what the curve supports is infinite."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Interval:
        """All three multiplied; ``factor`` is above 0."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class LearningCurve:
    """Curves drawn from the posterior; each array has one number per draw.

    ``start`` is the score without recordings, ``rise`` how much higher it is with ``largest``, the largest number of
    recordings measured. The ceiling is start + rise / (1 - (1 + largest / offset) ** -exponent).
    """

    start: Floats
    rise: Floats
    exponent: Floats
    offset: Floats
    largest: float

    @property
    def limit(self) -> int:
        """The most recordings that the curve is used for."""
        return int(SUPPORT * self.largest)

    def scores(self, num_recordings: float) -> Floats:
        """Each draw's score. Raises ValueError beyond ``limit``."""
        if not 0 <= num_recordings <= self.limit:
            raise ValueError(f"{num_recordings} recordings, but the curve supports only {self.limit}")
        shape = _risen(num_recordings, self.exponent, self.offset) / _risen(self.largest, self.exponent, self.offset)
        return self.start + self.rise * shape

    def score(self, num_recordings: float) -> Interval:
        """The score with that many recordings, 0..1, averaged over seeds and all utterances of this kind."""
        return _interval(self.scores(num_recordings))

    def gain(self, before: float, after: float) -> Interval:
        """How much higher the score is with ``after`` recordings than with ``before``."""
        return _interval(self.scores(after) - self.scores(before))

    def recordings_for(self, target: float) -> Interval:
        """The number of recordings with which the score reaches a target; 0 if text alone reaches it."""
        share = np.divide(target - self.start, self.rise, out=np.full_like(self.start, np.inf), where=self.rise > 0)
        left = 1 - share * _risen(self.largest, self.exponent, self.offset)  # (1 + n / offset) ** -exponent
        logs = -np.log(left, out=np.full_like(left, -np.inf), where=left > 0) / self.exponent
        number = self.offset * np.expm1(np.minimum(logs, 700.0))
        number = np.where(number > self.limit, np.inf, number)
        return _interval(np.where(self.start >= target, 0.0, number))


def fit_curve(
    num_recordings: Sequence[float], seeds: Sequence[int], scores: Sequence[float], resampled: Floats, seed: int = 0
) -> LearningCurve:
    """Draws curves from the posterior given the scores of several trainings.

    With M pairs of deviations, G pairs of exponent and offset and C trainings, everything is computed at once: (M, C,
    C) covariances, (C, G) curve shapes, and generalised least squares of start and rise for each of M x G.

    Args:
        num_recordings: for each training; some must be 0.
        seeds: for each training.
        scores: for each training, 0..1.
        resampled: resamples x trainings: scores on resamples of the test utterances, the same for all trainings.
        seed: for the draws.

    Raises:
        NoCurveError: fewer than MIN_BUDGETS different numbers of recordings, none of them 0, or no curve between 0 and
            1 fits the scores.
    """
    n, y = np.asarray(num_recordings, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    budgets = np.unique(n)
    if len(budgets) < MIN_BUDGETS or budgets[0] != 0:
        shown = ", ".join(f"{budget:g}" for budget in budgets) or "no"
        raise NoCurveError(f"measured with {shown} recordings; a curve needs {MIN_BUDGETS} budgets, one of them 0")
    largest = float(budgets[-1])
    offsets = np.geomspace(budgets[1], SUPPORT * largest, _NUM_OFFSETS)
    exponents, offsets = (grid.ravel() for grid in np.meshgrid(_EXPONENTS, offsets))  # (G)
    shapes = _risen(n[:, None], exponents, offsets) / _risen(largest, exponents, offsets)  # (C, G)

    of_seeds, of_trainings = (grid.ravel()[:, None, None] for grid in np.meshgrid(_DEVIATIONS, _DEVIATIONS))
    same_seed = np.equal.outer(np.asarray(seeds), np.asarray(seeds))
    full = np.cov(resampled, rowvar=False) + of_seeds**2 * same_seed + of_trainings**2 * np.eye(len(n))  # (M, C, C)
    precision, (_, log_determinant) = np.linalg.inv(full), np.linalg.slogdet(full)

    # The normal equations of start and rise, a11 a12 a22 | b1 b2, each (M, G) or (M, 1).
    weighted = precision @ shapes
    a11 = precision.sum(axis=(1, 2))[:, None]
    a12 = precision.sum(axis=2) @ shapes
    a22 = (weighted * shapes).sum(axis=1)
    b1, b2 = (precision @ y).sum(axis=1)[:, None], (precision @ y) @ shapes
    determinant = a11 * a22 - a12**2
    start, rise = (a22 * b1 - a12 * b2) / determinant, (a11 * b2 - a12 * b1) / determinant
    misfit = ((precision @ y) @ y)[:, None] - start * b1 - rise * b2
    # The likelihood with start and rise integrated out under a flat prior.
    log_weight = -0.5 * (log_determinant[:, None] + np.log(determinant) + misfit)
    cumulated = np.cumsum(np.exp(log_weight - log_weight.max()))

    rng, kept, number = np.random.default_rng(seed), [], 0
    for _ in range(_MAX_ROUNDS):
        places = np.searchsorted(cumulated, rng.random(NUM_DRAWS) * cumulated[-1], side="right")
        m, g = np.divmod(np.minimum(places, cumulated.size - 1), len(exponents))
        first, second = rng.standard_normal((2, NUM_DRAWS))
        spread = np.sqrt(a22[m, g] / determinant[m, g])  # of start; given start, rise has variance 1 / a22
        drawn_start = start[m, g] + spread * first
        drawn_rise = rise[m, g] - a12[m, g] / a22[m, g] * spread * first + second / np.sqrt(a22[m, g])
        curve = LearningCurve(drawn_start, drawn_rise, exponents[g], offsets[g], largest)
        end = curve.scores(curve.limit)  # the curve is monotone, so checking both ends is enough
        possible = (drawn_start >= 0) & (drawn_start <= 1) & (end >= 0) & (end <= 1)
        kept.append(np.stack([drawn_start, drawn_rise, exponents[g], offsets[g]])[:, possible])
        if (number := number + int(possible.sum())) >= NUM_DRAWS:
            drawn_start, drawn_rise, exponent, offset = np.hstack(kept)[:, :NUM_DRAWS]
            return LearningCurve(drawn_start, drawn_rise, exponent, offset, largest)
    raise NoCurveError("the scores follow no power law that stays between 0 and 1")


def _risen(num_recordings: float | Floats, exponent: Floats, offset: Floats) -> Floats:
    """The share (0..1) of the way from the score without recordings to the ceiling."""
    return 1 - (1 + num_recordings / offset) ** -exponent


def _interval(samples: Floats) -> Interval:
    # inverted_cdf returns one of the draws: one cannot interpolate between a number and infinity.
    low, value, high = np.quantile(samples, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], method="inverted_cdf").tolist()
    return Interval(value, low, high)
