"""Studies drawn from known learning curves: how often do the planner's 80 % intervals hold the truth?

    python tests/curve_simulation.py 200

counts it for each form of curve and number of test utterances.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sottovoce.plan.learning_curve import LearningCurve, fit_curve
from sottovoce.plan.planner import covariance
from sottovoce.score.intervals import Floats, Scored

DIFFICULTY = 1.5  # standard deviation of an utterance's difficulty; that of an answer's own chance is 1
QUESTIONS = ("score", "recordings", "gain")
ROUNDING = (0.0005, 0.5, 0.0005)  # an interval holds what it holds as it is printed: tenths of points, whole recordings
NUMBERS_TEST = (50, 100, 300, 1000)


@dataclass(frozen=True)
class Truth:
    """A learning curve, from ``start`` without recordings to ``end`` with the largest budget, and how it is measured.

    ``curve`` is its form, of any scale. ``seed_deviation`` and ``training_deviation`` are of what a seed adds to all
    its scores, and a training to its own. ``entities``: an F1 of several entities an utterance in place of an accuracy.
    """

    name: str
    curve: Callable[[float], float] = field(repr=False)
    start: float
    end: float
    budgets: tuple[int, ...] = (0, 20, 50, 100, 200)
    num_seeds: int = 3
    num_test: int = 400
    seed_deviation: float = 0.01
    training_deviation: float = 0.01
    entities: bool = False

    def score(self, num_recordings: float) -> float:
        none, most = self.curve(0), self.curve(self.largest)
        return self.start + (self.end - self.start) * (self.curve(num_recordings) - none) / (most - none)

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


def power(exponent: float, offset: float) -> Callable[[float], float]:
    return lambda n: -((1 + n / offset) ** -exponent)


def exponential(scale: float) -> Callable[[float], float]:
    return lambda n: -math.exp(-n / scale)


def logistic(middle: float, width: float) -> Callable[[float], float]:
    return lambda n: 1 / (1 + math.exp((middle - n) / width))


FEW = (0, 4, 8, 20, 40)
MANY = (0, 115, 230, 575, 1151)
TRUTHS: dict[str, tuple[Truth, ...]] = {
    "power": (
        Truth("as the quickstart", power(0.5, 20), 0.2, 0.41, FEW, seed_deviation=0.015, training_deviation=0.015),
        Truth("as SLURP", power(0.3, 150), 0.55, 0.71, MANY),
        Truth("F1 of entities", power(0.6, 60), 0.4, 0.65, entities=True),
        Truth("still straight", power(0.8, 200), 0.4, 0.66),
        Truth("slow", power(0.2, 20), 0.5, 0.65),
        Truth("worth little", power(0.5, 40), 0.6, 0.612),
        Truth("three budgets", power(0.5, 30), 0.4, 0.61, (0, 20, 100)),
        Truth("two seeds", power(0.7, 30), 0.3, 0.57, (0, 10, 20, 40, 80), 2, seed_deviation=0.02),
    ),
    "exponential": (
        Truth("soon level", exponential(40), 0.4, 0.8),
        Truth("half way", exponential(100), 0.4, 0.7),
        Truth("hardly bent", exponential(250), 0.5, 0.8),
        Truth("few recordings", exponential(15), 0.3, 0.6, FEW, seed_deviation=0.02),
        Truth("near the top", exponential(60), 0.8, 0.96),
    ),
    "logistic": (
        Truth("early", logistic(40, 20), 0.3, 0.7),
        Truth("in the middle", logistic(90, 30), 0.3, 0.7),
        Truth("late", logistic(150, 40), 0.4, 0.7),
        Truth("few recordings", logistic(15, 6), 0.2, 0.6, FEW, seed_deviation=0.02),
        Truth("near the top", logistic(60, 25), 0.75, 0.96),
    ),
    "others": (
        Truth("logarithm", lambda n: math.log1p(n / 10), 0.4, 0.7),
        Truth("Gompertz", lambda n: math.exp(-3 * math.exp(-n / 50)), 0.3, 0.7),
        Truth("arc tangent", lambda n: math.atan(n / 60), 0.4, 0.75),
        Truth("with a kink", lambda n: min(n, 70) + 0.2 * max(0.0, n - 70), 0.4, 0.7),
        Truth("falls a little", lambda n: -math.sqrt(n), 0.6, 0.55),
    ),
}


@dataclass(frozen=True)
class Study:
    """``sums``: trainings x utterances x 2, numerators and denominators of the score."""

    num_recordings: NDArray[np.int64]
    seeds: NDArray[np.int64]
    sums: Floats


def ratio(sums: Floats) -> Floats:
    found: Floats = sums[..., :1] / np.maximum(sums[..., 1:2], 1)
    return found


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
    chances = rng.standard_normal((3 if truth.entities else 1, len(seeds), truth.num_test, 1))
    right = (ability[:, None, None] - difficulty + chances > 0)[..., 0]  # entity x training x utterance
    counted = np.arange(len(right))[:, None, None] < num_entities
    top = (right & counted).sum(axis=0)
    return Study(num_recordings, seeds, np.stack([top, np.broadcast_to(num_entities, top.shape)], axis=2).astype(float))


def fitted(study: Study) -> LearningCurve:
    """The planner's curve of a study."""
    scored = [Scored.of(sums, ratio, [True]) for sums in study.sums]
    scores = [float(each.figures[0]) for each in scored]
    return fit_curve(study.num_recordings.tolist(), study.seeds.tolist(), scores, covariance(scored, 0))


def intervals(truth: Truth, study: Study) -> list[tuple[float, float]]:
    """The planner's intervals as answers to QUESTIONS."""
    curve = fitted(study)
    answers = (
        curve.score(truth.largest),
        curve.recordings_for(truth.score(truth.asked)),
        curve.gain(truth.largest, truth.largest + truth.num_next),
    )
    return [(answer.low, answer.high) for answer in answers]


def coverage(truth: Truth, num_draws: int) -> Floats:
    """The share of drawn studies whose interval holds the right answer, for each of QUESTIONS."""
    held = np.zeros(len(QUESTIONS))
    for draw in range(num_draws):
        rng = np.random.default_rng([len(truth.name), truth.largest, truth.num_test, draw])
        found = intervals(truth, draw_study(truth, rng))
        held += [
            low - rounding <= answer <= high + rounding
            for (low, high), answer, rounding in zip(found, truth.answers, ROUNDING, strict=True)
        ]
    return held / num_draws


def family_coverage(family: str, num_test: int, num_draws: int) -> Floats:
    """The mean over a family's truths of ``coverage``, with so many test utterances."""
    return np.mean([coverage(replace(truth, num_test=num_test), num_draws) for truth in TRUTHS[family]], axis=0)


def main(num_draws: int) -> None:
    """Prints the table of docs/evidence/planner.md."""
    print("| curves | test utterances | " + " | ".join(QUESTIONS) + " |")
    print("| --- | ---: |" + " ---: |" * len(QUESTIONS))
    for family in TRUTHS:
        for num_test in NUMBERS_TEST:
            shares = family_coverage(family, num_test, num_draws)
            print(f"| {family} | {num_test} | " + " | ".join(f"{100 * each:.1f}" for each in shares) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
