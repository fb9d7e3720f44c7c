import numpy as np
import pytest
from curve_simulation import QUESTIONS, TRUTHS, Truth, coverage, draw_study, family_coverage, fitted, power

from sottovoce.plan.curve_families import FAMILIES
from sottovoce.plan.learning_curve import LearningCurve, NoCurveError, fit_curve

TRUTH = Truth("in tests", power(0.6, 60), 0.4, 0.66)
NUMBERS, SEEDS = np.repeat(TRUTH.budgets, 3).tolist(), [0, 1, 2] * 5


def independent(deviation: float, num_trainings: int = 15) -> np.ndarray:
    """The covariance of trainings that do not share their utterances."""
    return deviation**2 * np.eye(num_trainings)


def exact(truth: Truth, seed: int = 0) -> LearningCurve:
    return fit_curve(NUMBERS, SEEDS, [truth.score(n) for n in NUMBERS], independent(1e-4), seed)


def one_curve(start: float, rise: float, family: int = 0, first: float = 0.6, second: float = 60) -> LearningCurve:
    values = (np.array([each]) for each in (start, rise))
    return LearningCurve(*values, np.array([family]), np.array([first]), np.array([second]), 200)


def test_exact_scores_give_the_curve_back() -> None:
    curve = exact(TRUTH)
    for number in (0, 35, 75, 150, 200):
        assert curve.score(number).value == pytest.approx(TRUTH.score(number), abs=0.005)
    assert curve.gain(200, 300).value == pytest.approx(TRUTH.score(300) - TRUTH.score(200), abs=0.01)
    needed = curve.recordings_for(TRUTH.score(120))
    assert needed.low < 120 < needed.high and needed.high - needed.low < 25


@pytest.mark.parametrize("family", [each.name for each in FAMILIES])
def test_the_family_that_predicts_the_budgets_counts_most(family: str) -> None:
    truth = {"power": TRUTHS["power"][3], "exponential": TRUTHS["exponential"][0], "logistic": TRUTHS["logistic"][2]}
    weights = exact(truth[family]).weights
    assert sum(weights.values()) == pytest.approx(1)
    assert max(weights, key=lambda name: weights[name]) == family


def test_every_shape_starts_at_0_and_rises() -> None:
    numbers = np.linspace(0, 400, 50)[:, None]
    for family in FAMILIES:
        shapes = family.shape(numbers, *family.grid(20, 200))
        assert shapes[0] == pytest.approx(0)
        assert (np.diff(shapes, axis=0) >= 0).all() and (family.shape(np.array(200.0), *family.grid(20, 200)) > 0).all()


def test_the_number_for_a_target_is_where_the_curve_meets_it() -> None:
    curve = one_curve(0.4, 0.3)
    target = float(curve.scores(120)[0])
    assert curve.recordings_for(target).value == pytest.approx(120)
    assert curve.recordings_for(0.39).value == 0  # text alone
    assert curve.recordings_for(float(curve.scores(400)[0]) + 0.001).value == np.inf  # beyond the support
    assert curve.recordings_for(0.999).value == np.inf  # above the ceiling
    falling = one_curve(0.4, -0.1)
    assert falling.recordings_for(0.41).value == np.inf
    assert falling.recordings_for(0.4).value == 0
    late = one_curve(0.4, 0.3, family=2, first=100, second=20)
    assert late.recordings_for(float(late.scores(90)[0])).value == pytest.approx(90)


def test_a_curve_is_not_used_beyond_its_support() -> None:
    curve = exact(TRUTH)
    assert curve.limit == 400
    for number in (-1, 401):
        with pytest.raises(ValueError, match="supports 400"):
            curve.score(number)


def test_every_drawn_curve_stays_a_score() -> None:
    numbers, scores = [0, 10, 20, 40] * 2, [0.9, 0.95, 0.97, 0.99] * 2
    curve = fit_curve(numbers, [0] * 4 + [1] * 4, scores, independent(0.03, 8))
    for number in (0, 10, 40, 80):
        drawn = curve.scores(number)
        assert drawn.min() >= 0 and drawn.max() <= 1
    assert len(curve.start) == 4000


def test_the_same_seed_draws_the_same() -> None:
    assert exact(TRUTH).score(150) == exact(TRUTH).score(150)
    assert exact(TRUTH).score(150) != exact(TRUTH, seed=1).score(150)


def test_shared_utterances_matter() -> None:
    """What hard utterances take from all trainings alike is no doubt about the gain."""
    scores = [TRUTH.score(n) for n in NUMBERS]
    curves = [
        fit_curve(NUMBERS, SEEDS, scores, 0.0004 * np.eye(15) + shared) for shared in (0.0006, 0.0006 * np.eye(15))
    ]
    gains, levels = [each.gain(0, 200) for each in curves], [each.score(200) for each in curves]
    assert gains[0].high - gains[0].low < 0.9 * (gains[1].high - gains[1].low)
    assert levels[0].high - levels[0].low > 1.1 * (levels[1].high - levels[1].low)


def test_seeds_that_differ_widen_the_interval() -> None:
    scores, widths = np.array([TRUTH.score(n) for n in NUMBERS]), []
    for deviation in (0.0, 0.04):
        moved = scores + deviation * np.array([-1, 0, 1])[np.array(SEEDS)]
        score = fit_curve(NUMBERS, SEEDS, moved.tolist(), independent(0.01)).score(200)
        widths.append(score.high - score.low)
    assert widths[1] > 1.5 * widths[0]


def test_low_scores_do_not_weigh_more_because_they_vary_less() -> None:
    """With few utterances a fit that took each score's own variance would end below most of them."""
    truth = Truth("low", power(0.5, 20), 0.15, 0.35, num_test=50)
    studies = [draw_study(truth, np.random.default_rng(seed)) for seed in range(8)]
    seen = [study.sums[-3:, :, 0].mean() for study in studies]
    found = [fitted(study).score(200).value for study in studies]
    assert np.mean(found) == pytest.approx(np.mean(seen), abs=0.02)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [([0, 20, 20], "with 0, 20 recordings"), ([10, 20, 40], "one of them 0"), ([], "with no recordings")],
)
def test_too_few_budgets_make_no_curve(numbers: list[float], message: str) -> None:
    with pytest.raises(NoCurveError, match=message):
        fit_curve(numbers, [0] * len(numbers), [0.5] * len(numbers), independent(0.01, len(numbers)))


def test_scores_that_no_score_could_follow() -> None:
    with pytest.raises(NoCurveError, match="between 0 and 1"):
        fit_curve([0, 10, 20], [0, 0, 0], [2.0, 2.1, 2.2], independent(1e-4, 3))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = coverage(TRUTH, 40)  # 80 % of 40 with a standard error of 6 points
    assert all(0.6 <= share <= 0.99 for share in held)


@pytest.mark.slow
@pytest.mark.parametrize("num_test", [50, 400])
def test_eighty_per_cent_intervals_hold_the_truth_eighty_per_cent_of_the_time(num_test: int) -> None:
    shares = {
        (family, question): share
        for family in TRUTHS
        for question, share in zip(QUESTIONS, family_coverage(family, num_test, 40), strict=True)
    }
    # Of 200 studies or more: a standard error of 3 points. With so few utterances a logistic curve cannot be told from
    # others in the gain of further recordings; docs/scores.md says so, and so does a plan.
    missed = {each for each, share in shares.items() if share < 0.7}
    assert missed <= ({("logistic", "gain")} if num_test == 50 else set()), shares
    assert min(shares.values()) >= 0.5
