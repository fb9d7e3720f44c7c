import numpy as np
import pytest
from curve_simulation import QUESTIONS, TRUTHS, Truth, coverage, draw_study, resampled

from sottovoce.plan.learning_curve import (
    LearningCurve,
    NoCurveError,
    fit_curve,
)

TRUTH = Truth("in tests", 0.6, 0.15, 0.6, 60, (0, 20, 50, 100, 200), num_test=400)


def noise(deviation: float, num_trainings: int = 15) -> np.ndarray:
    """Resampled scores of trainings that do not share their utterances."""
    return np.random.default_rng(0).normal(0, deviation, (2000, num_trainings))


def fitted(truth: Truth, seed: int = 0) -> LearningCurve:
    numbers = np.repeat(truth.budgets, 3)
    return fit_curve(numbers.tolist(), [0, 1, 2] * 5, [truth.score(n) for n in numbers], noise(1e-4), seed)


def test_exact_scores_give_the_curve_back() -> None:
    curve = fitted(TRUTH)
    for number in (0, 35, 75, 150, 200):
        assert curve.score(number).value == pytest.approx(TRUTH.score(number), abs=0.004)
    assert curve.gain(200, 300).value == pytest.approx(TRUTH.score(300) - TRUTH.score(200), abs=0.005)
    needed = curve.recordings_for(TRUTH.score(120))
    assert needed.low < 120 < needed.high and needed.high - needed.low < 20


def test_the_number_for_a_target_is_where_the_curve_meets_it() -> None:
    curve = LearningCurve(*np.array([[0.4], [0.3], [0.6], [60.0]]), largest=200)
    target = float(curve.scores(120)[0])
    assert curve.recordings_for(target).value == pytest.approx(120)
    assert curve.recordings_for(0.39).value == 0  # text alone
    assert curve.recordings_for(float(curve.scores(400)[0]) + 0.001).value == np.inf  # beyond the support
    assert curve.recordings_for(0.999).value == np.inf  # above the ceiling
    falling = LearningCurve(*np.array([[0.4], [-0.1], [0.6], [60.0]]), largest=200)
    assert falling.recordings_for(0.41).value == np.inf
    assert falling.recordings_for(0.4).value == 0


def test_a_curve_is_not_used_beyond_its_support() -> None:
    curve = fitted(TRUTH)
    assert curve.limit == 400
    for number in (-1, 401):
        with pytest.raises(ValueError, match="supports only 400"):
            curve.score(number)


def test_every_drawn_curve_stays_a_score() -> None:
    numbers, scores = [0, 10, 20, 40] * 2, [0.9, 0.95, 0.97, 0.99] * 2
    curve = fit_curve(numbers, [0] * 4 + [1] * 4, scores, noise(0.03, 8))
    for number in (0, 10, 40, 80):
        drawn = curve.scores(number)
        assert drawn.min() >= 0 and drawn.max() <= 1
    assert len(curve.start) == 4000


def test_the_same_seed_draws_the_same() -> None:
    assert fitted(TRUTH).score(150) == fitted(TRUTH).score(150)
    assert fitted(TRUTH).score(150) != fitted(TRUTH, seed=1).score(150)


def test_shared_utterances_matter() -> None:
    """What hard utterances take from all trainings alike is no doubt about the gain."""
    study = draw_study(TRUTH, np.random.default_rng(3))
    shared = resampled(study)
    apart = np.random.default_rng(0).normal(shared.mean(axis=0), shared.std(axis=0), shared.shape)
    scores = (study.sums[..., 0].mean(axis=1)).tolist()
    numbers, seeds = study.num_recordings.tolist(), study.seeds.tolist()
    gains = [fit_curve(numbers, seeds, scores, drawn).gain(0, 200) for drawn in (shared, apart)]
    levels = [fit_curve(numbers, seeds, scores, drawn).score(200) for drawn in (shared, apart)]
    assert gains[0].high - gains[0].low < 0.9 * (gains[1].high - gains[1].low)
    assert levels[0].high - levels[0].low > 1.1 * (levels[1].high - levels[1].low)


def test_seeds_that_differ_widen_the_interval() -> None:
    numbers = np.repeat(TRUTH.budgets, 3)
    scores, seeds = np.array([TRUTH.score(n) for n in numbers]), np.tile([0, 1, 2], 5)
    widths = []
    for deviation in (0.0, 0.04):
        moved = scores + deviation * np.array([-1, 0, 1])[seeds]
        score = fit_curve(numbers.tolist(), seeds.tolist(), moved.tolist(), noise(0.01)).score(200)
        widths.append(score.high - score.low)
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [([0, 20, 20], "with 0, 20 recordings"), ([10, 20, 40], "one of them 0"), ([], "with no recordings")],
)
def test_too_few_budgets_make_no_curve(numbers: list[float], message: str) -> None:
    with pytest.raises(NoCurveError, match=message):
        fit_curve(numbers, [0] * len(numbers), [0.5] * len(numbers), noise(0.01, len(numbers)))


def test_scores_that_no_score_could_follow() -> None:
    with pytest.raises(NoCurveError, match="between 0 and 1"):
        fit_curve([0, 10, 20], [0, 0, 0], [2.0, 2.1, 2.2], noise(1e-4, 3))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = coverage(TRUTH, 60)  # 80 % of 60 with a standard error of 5 points
    assert all(0.65 <= share <= 0.95 for share in held)


@pytest.mark.slow
def test_eighty_per_cent_intervals_hold_the_truth_eighty_per_cent_of_the_time() -> None:
    held = np.array([coverage(truth, 500) for truth in TRUTHS])
    for question, share in zip(QUESTIONS, held.mean(axis=0), strict=True):
        assert 0.75 <= share <= 0.85, question
    assert held.min() > 0.7 and held.max() < 0.9  # of a single truth: 80 % with a standard error of 1.8 points
