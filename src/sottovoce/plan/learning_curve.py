"""How a score grows with recordings, and what may be read off such a curve.

    score(n) = start + rise * shape(n) / shape(largest)

is the score without recordings, where the model has learned from text alone, and how much higher it is with the most
that were measured. The shape is of one of the families in :mod:`sottovoce.plan.curve_families`.

A score of one training is the curve at its n, plus what its seed adds to all its scores, plus what this training adds,
plus what comes of having tested on these utterances. The last has a covariance, since all trainings shared the
utterances. How large the other two are is not known: their deviations and the parameters of the shape are taken from
grids. Given these, start and rise are normal, so that curves can be drawn from the posterior without a chain. Quantiles
of the draws are the intervals.

How much a family counts is decided by how well it predicts a budget from all others: its weight is the product of the
densities that it gives to the scores there (the pseudo-Bayesian weights of Geisser and Eddy, JASA 74, 1979). A family
that fits what it has seen, and predicts badly, so counts for little. Each budget but the first and the last is left
out: without one of the ends, what a family says there is hardly more than how free its form is.

A curve may end above 1, since a bound that far outside the measured range bends the curve inside it. The score must lie
between 0 and 1 as far as the curve is used, SUPPORT times the largest number measured. docs/evidence/planner.md counts
how often the intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.plan.curve_families import FAMILIES, Floats

LEVEL = 0.8
SUPPORT = 2.0
"""A curve is used up to this many times the largest number of recordings measured: one doubling, for which the coverage
of the intervals was simulated. Beyond it, the prior of the shape matters more than the measured scores."""
MIN_BUDGETS = 3
NUM_DRAWS = 4000

# Two tenths of a point to eight points of score; log-uniform is what makes Student's t of a few seeds.
_DEVIATIONS = np.geomspace(0.002, 0.08, 7)
_MAX_ROUNDS = 25


class NoCurveError(ValueError):
    """The scores do not determine a curve of these forms; the message says why."""


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

    ``start`` is the score without recordings, ``rise`` how much higher it is with ``largest`` recordings, the most that
    were measured. ``family`` is the place in FAMILIES, ``first`` and ``second`` are that family's parameters.
    """

    start: Floats
    rise: Floats
    family: NDArray[np.int64]
    first: Floats
    second: Floats
    largest: float

    @property
    def limit(self) -> int:
        """The most recordings that the curve is used for."""
        return int(SUPPORT * self.largest)

    @property
    def weights(self) -> dict[str, float]:
        """How much each family counts, by name; together 1."""
        return {family.name: float((self.family == place).mean()) for place, family in enumerate(FAMILIES)}

    def scores(self, num_recordings: float) -> Floats:
        """Each draw's score. Raises ValueError beyond ``limit``."""
        if not 0 <= num_recordings <= self.limit:
            raise ValueError(f"{num_recordings} recordings, of a curve that supports {self.limit}")
        return self._at(np.full(len(self.start), float(num_recordings)))

    def score(self, num_recordings: float) -> Interval:
        """The score with that many recordings, 0..1, averaged over seeds and all utterances of this kind."""
        return _interval(self.scores(num_recordings))

    def gain(self, before: float, after: float) -> Interval:
        """How much higher the score is with ``after`` recordings than with ``before``."""
        return _interval(self.scores(after) - self.scores(before))

    def recordings_for(self, target: float) -> Interval:
        """The recordings with which the score reaches a target; 0 where text alone reaches it."""
        low, high = np.zeros(len(self.start)), np.full(len(self.start), float(self.limit))
        reached = self._at(high) >= target  # curves are monotone: one that ends below and starts above was at 0 there
        for _ in range(40):
            middle = (low + high) / 2
            above = self._at(middle) >= target
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return _interval(np.where(self.start >= target, 0.0, np.where(reached, high, np.inf)))

    def _at(self, n: Floats) -> Floats:
        shape = np.empty(len(n))
        for place, family in enumerate(FAMILIES):
            own = self.family == place
            first, second, largest = self.first[own], self.second[own], np.array(self.largest)
            shape[own] = family.shape(n[own], first, second) / family.shape(largest, first, second)
        score: Floats = self.start + self.rise * shape
        return score


def fit_curve(
    num_recordings: Sequence[float], seeds: Sequence[int], scores: Sequence[float], covariance: Floats, seed: int = 0
) -> LearningCurve:
    """Draws curves from the posterior given the scores of several trainings.

    Args:
        num_recordings: of each training; some must be 0.
        seeds: of each training.
        scores: of each training, 0..1.
        covariance: trainings x trainings, of the scores over the choice of test utterances, which all shared.
        seed: of the draws.

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
    grids = [family.grid(float(budgets[1]), largest) for family in FAMILIES]
    families = np.repeat(np.arange(len(FAMILIES)), [len(first) for first, _ in grids])  # (G)
    firsts, seconds = (np.concatenate(each) for each in zip(*grids, strict=True))
    shapes = np.hstack(
        [  # (C, G)
            each.shape(n[:, None], *grid) / each.shape(np.array(largest), *grid)
            for each, grid in zip(FAMILIES, grids, strict=True)
        ]
    )

    of_seeds, of_trainings = (grid.ravel()[:, None, None] for grid in np.meshgrid(_DEVIATIONS, _DEVIATIONS))
    same_seed = np.equal.outer(np.asarray(seeds), np.asarray(seeds))
    full = covariance + of_seeds**2 * same_seed + of_trainings**2 * np.eye(len(n))  # (M, C, C)
    posterior = _Posterior.of(y, shapes, full)
    log_weight = posterior.log_weight + _family_weights(posterior, n, y, shapes, full, families)[families]
    cumulated = np.cumsum(np.exp(log_weight - log_weight.max()))

    rng, kept, number = np.random.default_rng(seed), [], 0
    for _ in range(_MAX_ROUNDS):
        places = np.searchsorted(cumulated, rng.random(NUM_DRAWS) * cumulated[-1], side="right")
        m, g = np.divmod(np.minimum(places, cumulated.size - 1), len(families))
        start, rise = posterior.draw(m, g, rng)
        curve = LearningCurve(start, rise, families[g], firsts[g], seconds[g], largest)
        end = curve.scores(curve.limit)  # the curve is monotone: between 0 and 1 at both ends is so everywhere
        possible = (start >= 0) & (start <= 1) & (end >= 0) & (end <= 1)
        kept.append((start[possible], rise[possible], g[possible]))
        if (number := number + int(possible.sum())) >= NUM_DRAWS:
            start, rise, g = (np.concatenate(each)[:NUM_DRAWS] for each in zip(*kept, strict=True))
            return LearningCurve(start, rise, families[g], firsts[g], seconds[g], largest)
    raise NoCurveError("the scores follow no curve that stays between 0 and 1")


@dataclass(frozen=True)
class _Posterior:
    """Start and rise, given each of M pairs of deviations and of G shapes, and each such pair's weight.

    Generalised least squares for all of M x G at once, by the normal equations a11 a12 a22 | b1 b2.
    """

    start: Floats
    rise: Floats
    a12: Floats
    a22: Floats
    determinant: Floats
    log_weight: Floats

    @classmethod
    def of(cls, y: Floats, shapes: Floats, covariances: Floats) -> _Posterior:
        """From the scores (C), the shapes (C, G) and the covariances (M, C, C)."""
        precision, (_, log_determinant) = np.linalg.inv(covariances), np.linalg.slogdet(covariances)
        a11 = precision.sum(axis=(1, 2))[:, None]
        a12 = precision.sum(axis=2) @ shapes
        a22 = ((precision @ shapes) * shapes).sum(axis=1)
        b1, b2 = (precision @ y).sum(axis=1)[:, None], (precision @ y) @ shapes
        determinant = np.maximum(a11 * a22 - a12**2, 1e-12 * a11 * a22)
        start, rise = (a22 * b1 - a12 * b2) / determinant, (a11 * b2 - a12 * b1) / determinant
        misfit = ((precision @ y) @ y)[:, None] - start * b1 - rise * b2
        # The likelihood with start and rise integrated out, under a flat prior of both.
        log_weight = -0.5 * (log_determinant[:, None] + np.log(determinant) + misfit + len(y) * np.log(2 * np.pi))
        return cls(start, rise, a12, a22, determinant, log_weight)

    def draw(self, m: NDArray[np.int64], g: NDArray[np.int64], rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Start and rise given the deviations and shapes of those places."""
        first, second = rng.standard_normal((2, len(m)))
        spread = np.sqrt(self.a22[m, g] / self.determinant[m, g])  # of start; given start, rise has variance 1 / a22
        start = self.start[m, g] + spread * first
        rise = self.rise[m, g] - self.a12[m, g] / self.a22[m, g] * spread * first + second / np.sqrt(self.a22[m, g])
        return start, rise

    def evidence(self, families: NDArray[np.int64]) -> Floats:
        """The log of each family's mean weight: (families,)."""
        own = [self.log_weight[:, families == place] for place in range(len(FAMILIES))]
        return np.array([each.max() + np.log(np.exp(each - each.max()).mean()) for each in own])


def _family_weights(
    posterior: _Posterior, n: Floats, y: Floats, shapes: Floats, full: Floats, families: NDArray[np.int64]
) -> Floats:
    """What to add to the log weight of every curve of a family, so that the family counts by its predictions."""
    evidence = posterior.evidence(families)
    predicted = np.zeros(len(FAMILIES))
    for budget in np.unique(n)[1:-1]:
        rest = n != budget
        others = _Posterior.of(y[rest], shapes[rest], full[:, rest][:, :, rest])
        predicted += evidence - others.evidence(families)  # log p(scores of the budget | all others)
    added: Floats = predicted - evidence - np.log(np.bincount(families))
    return added


def _interval(samples: Floats) -> Interval:
    # inverted_cdf returns one of the draws: one cannot interpolate between a number and infinity.
    low, value, high = np.quantile(samples, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], method="inverted_cdf").tolist()
    return Interval(value, low, high)
