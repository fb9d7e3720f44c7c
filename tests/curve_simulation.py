"""Studies drawn from known learning curves: how often do the planner's 80 % intervals hold the truth?

    python tests/curve_simulation.py 500

counts it for each truth, beside the plain percentile bootstrap (utterances and seeds resampled, least squares fits).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sottovoce.plan.learning_curve import LEVEL, Floats, fit_curve
from sottovoce.score.statistics import bootstrap

DIFFICULTY = 1.5  # standard deviation of an utterance's difficulty; that of an answer's own chance is 1
NUM_RESAMPLES = 500
QUESTIONS = ("score", "recordings", "gain")


@dataclass(frozen=True)
class Truth:
    """A learning curve, error(n) = floor + (error at 0 - floor) (1 + n / offset) ** -exponent, and how it is measured.

    ``seed_deviation`` and ``training_deviation`` are of what a seed adds to all its scores, and a training to its own.
    ``entities``: an F1 of several entities an utterance in place of an accuracy.
    """

    name: str
    first_error: float
    floor: float
    exponent: float
    offset: float
    budgets: tuple[int, ...]
    num_seeds: int = 3
    num_test: int = 400
    seed_deviation: float = 0.01
    training_deviation: float = 0.01
    entities: bool = False

    def score(self, num_recordings: float) -> float:
        left = (1 + num_recordings / self.offset) ** -self.exponent
        return 1 - self.floor - (self.first_error - self.floor) * left

    @property
    def largest(self) -> int:
        return self.budgets[-1]

    @property
    def num_next(self) -> int:
        return min(100, self.largest)

    @property
    def asked(self) -> float:
        """The number of recordings whose true score is the target."""
        return 0.6 * self.largest

    @property
    def answers(self) -> tuple[float, ...]:
        """The right answers to QUESTIONS."""
        now, after = self.score(self.largest), self.score(self.largest + self.num_next)
        return now, self.asked, after - now


TRUTHS = (
    Truth("as the quickstart", 0.8, 0.3, 0.5, 20, (0, 4, 8, 20, 40), 3, 200, 0.015, 0.015),
    Truth("as SLURP", 0.45, 0.12, 0.3, 150, (0, 115, 230, 575, 1151), num_test=1000),
    Truth("F1 of entities", 0.6, 0.15, 0.6, 60, (0, 20, 50, 100, 200), entities=True),
    Truth("soon level", 0.6, 0.15, 1.0, 50, (0, 50, 100, 200, 400)),
    Truth("still straight", 0.6, 0.0, 0.8, 200, (0, 20, 50, 100, 200)),
    Truth("no floor", 0.6, 0.0, 0.4, 40, (0, 20, 50, 100, 200)),
    Truth("slow", 0.5, 0.1, 0.2, 20, (0, 20, 50, 100, 200)),
    Truth("speech worth little", 0.4, 0.38, 0.5, 40, (0, 20, 50, 100, 200)),
    Truth("three budgets", 0.6, 0.2, 0.5, 30, (0, 20, 100)),
    Truth("two seeds", 0.7, 0.2, 0.7, 30, (0, 10, 20, 40, 80), 2, 400, 0.02, 0.01),
    Truth("five seeds", 0.7, 0.2, 0.7, 30, (0, 10, 20, 40, 80), 5, 400, 0.02, 0.02),
)


@dataclass(frozen=True)
class Study:
    """``sums``: trainings x utterances x 2, numerators and denominators of the score."""

    num_recordings: NDArray[np.int64]
    seeds: NDArray[np.int64]
    sums: Floats


def ratio(sums: Floats) -> Floats:
    return sums[..., 0] / np.maximum(sums[..., 1], 1)


def draw_study(truth: Truth, rng: np.random.Generator) -> Study:
    """Answers that are right when the training's ability exceeds the utterance's difficulty and a chance of its own."""
    num_recordings = np.repeat(truth.budgets, truth.num_seeds)
    seeds = np.tile(np.arange(truth.num_seeds), len(truth.budgets))
    expected = np.array([truth.score(number) for number in num_recordings])
    expected += truth.seed_deviation * rng.standard_normal(truth.num_seeds)[seeds]
    expected += truth.training_deviation * rng.standard_normal(len(seeds))
    ability = np.array([NormalDist().inv_cdf(min(0.999, max(0.001, each))) for each in expected])
    ability *= np.sqrt(1 + DIFFICULTY**2)
    difficulty = DIFFICULTY * rng.standard_normal((truth.num_test, 1))
    num_entities = rng.integers(0, 4, truth.num_test) if truth.entities else np.ones(truth.num_test, dtype=int)
    chances = rng.standard_normal((3, len(seeds), truth.num_test, 1))
    right = (ability[:, None, None] - difficulty + chances > 0)[..., 0]  # entity x training x utterance
    counted = np.arange(3)[:, None, None] < num_entities
    top = (right & counted).sum(axis=0)
    return Study(num_recordings, seeds, np.stack([top, np.broadcast_to(num_entities, top.shape)], axis=2).astype(float))


def resampled(study: Study, num_resamples: int = NUM_RESAMPLES) -> Floats:
    """The scores on resamples of the utterances: resamples x trainings."""
    joined = np.hstack(list(study.sums))
    return bootstrap(joined, lambda sums: ratio(sums.reshape(len(sums), -1, 2)), num_resamples)


def intervals(truth: Truth, study: Study) -> list[tuple[float, float]]:
    """The planner's intervals as answers to QUESTIONS."""
    scores = ratio(study.sums.sum(axis=1)).tolist()
    curve = fit_curve(study.num_recordings.tolist(), study.seeds.tolist(), scores, resampled(study))
    answers = (
        curve.score(truth.largest),
        curve.recordings_for(truth.score(truth.asked)),
        curve.gain(truth.largest, truth.largest + truth.num_next),
    )
    return [(answer.low, answer.high) for answer in answers]


def plain_intervals(truth: Truth, study: Study, rng: np.random.Generator) -> list[tuple[float, float]]:
    """The baseline: utterances and seeds drawn with replacement, the best of the same curves (floor >= 0) each time."""
    seeds, test = truth.num_seeds, truth.num_test
    shape, solve = _least_squares(truth.budgets)
    weights = rng.multinomial(test, np.full(test, 1 / test), NUM_RESAMPLES).astype(float)
    sums = np.einsum("rn,tnk->rtk", weights, study.sums, optimize=True)
    sums = sums.reshape(NUM_RESAMPLES, len(truth.budgets), seeds, 2)
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), NUM_RESAMPLES).astype(float)
    drawn = ratio(np.einsum("rs,rbsk->rbk", chosen, sums))
    fits = np.einsum("gpb,rb->rgp", solve, drawn, optimize=True)  # resample x curve x (start, rise to the ceiling)
    fits[..., 1] = np.clip(fits[..., 1], 0, 1 - fits[..., 0])
    left = drawn[:, None] - fits[..., :1] - fits[..., 1:] * shape(np.array(truth.budgets, float))
    best = (left**2).sum(axis=2).argmin(axis=1)
    start, rise = np.moveaxis(fits[np.arange(NUM_RESAMPLES), best], 1, 0)

    def scores(number: float) -> Floats:
        return start + rise * shape(np.array([number], float))[best, 0]

    now, target = scores(truth.largest), truth.score(truth.asked)
    numbers = np.linspace(0, 2 * truth.largest, 101)
    reached = np.array([scores(number) >= target for number in numbers])
    needed = np.where(reached.any(axis=0), numbers[reached.argmax(axis=0)], np.inf)
    samples = now, needed, scores(truth.largest + truth.num_next) - now
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return [tuple(np.quantile(each, ends, method="inverted_cdf").tolist()) for each in samples]


@cache
def _least_squares(budgets: tuple[int, ...]):
    exponents, offsets = (
        each.ravel()[:, None]
        for each in np.meshgrid(np.geomspace(0.1, 1.2, 12), np.geomspace(budgets[1], 2 * budgets[-1], 14))
    )

    def shape(numbers: Floats) -> Floats:
        return 1 - (1 + numbers / offsets) ** -exponents

    columns = shape(np.array(budgets, float))
    return shape, np.linalg.pinv(np.stack([np.ones_like(columns), columns], axis=2))


def coverage(truth: Truth, num_draws: int, plain: bool = False) -> Floats:
    """The share of drawn studies whose interval holds the right answer, for each of QUESTIONS."""
    held = np.zeros(len(QUESTIONS))
    for draw in range(num_draws):
        rng = np.random.default_rng([len(truth.name), truth.budgets[-1], draw])
        study = draw_study(truth, rng)
        found = plain_intervals(truth, study, rng) if plain else intervals(truth, study)
        held += [low <= answer <= high for (low, high), answer in zip(found, truth.answers, strict=True)]
    return held / num_draws


def main(num_draws: int) -> None:
    """Prints the table of docs/planner.md."""
    print("| truth | " + " | ".join((*QUESTIONS, *(f"plain: {each}" for each in QUESTIONS))) + " |")
    print("| --- |" + " ---: |" * 6)
    rows = []
    for truth in TRUTHS:
        rows.append(np.concatenate([coverage(truth, num_draws), coverage(truth, num_draws, plain=True)]))
        print(f"| {truth.name} | " + " | ".join(f"{100 * each:.1f}" for each in rows[-1]) + " |", flush=True)
    print("| all | " + " | ".join(f"{100 * each:.1f}" for each in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main(int(sys.argv[1]))
