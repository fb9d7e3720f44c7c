"""Calibration against cases worked by hand, and laws that hold for any confidences."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.score.calibration import (
    NUM_BINS,
    THRESHOLDS,
    adaptive_calibration_error,
    calibration,
    calibration_errors,
    error_if_calibrated,
    reliability_bins,
)
from sottovoce.score.confidences import Judged

SHARES = st.floats(0, 1, allow_nan=False)
PAIRS = st.lists(st.tuples(SHARES, st.booleans()), min_size=1, max_size=40)


def judged(*answers: tuple[float, bool], groups: list[int] | None = None) -> Judged:
    confidence, right = (np.array(column, dtype=np.float64) for column in zip(*answers, strict=True))
    return Judged(confidence, right, np.array(groups or range(len(answers)), dtype=np.int64))


def drawn(number: int, seed: int, sharpened: float = 1.0) -> Judged:
    """Right with the probability of the confidence, if that is not sharpened."""
    rng = np.random.default_rng(seed)
    honest = rng.uniform(0.2, 1.0, number)
    right = (rng.random(number) < honest).astype(np.float64)
    return Judged(honest**sharpened, right, np.arange(number))


def test_a_case_worked_by_hand() -> None:
    # Two bins: (0, 0.5] holds 0.2 wrong and 0.4 right: accuracy 0.5, mean 0.3, gap 0.2 of 2 answers.
    # (0.5, 1] holds 0.6 wrong, 0.9 right, 1.0 right: accuracy 2/3, mean 5/6, gap 1/6 of 3 answers.
    five = judged((0.2, False), (0.4, True), (0.6, False), (0.9, True), (1.0, True))
    ece, brier = calibration_errors(five, num_bins=2)
    assert ece == pytest.approx((2 * 0.2 + 3 / 6) / 5)
    assert brier == pytest.approx((0.04 + 0.36 + 0.36 + 0.01 + 0.0) / 5)
    low, high = reliability_bins(five, num_bins=2)
    assert (low.low, low.high, low.number) == (0.0, 0.5, 2)
    assert (low.mean_confidence, low.accuracy) == (pytest.approx(0.3), 0.5)
    assert (high.number, high.accuracy) == (3, pytest.approx(2 / 3))
    # Equal mass: the first two (5 * 1 // 2) and the last three, here the same.
    assert adaptive_calibration_error(five, num_bins=2) == pytest.approx(ece)


def test_bins_end_where_they_should() -> None:
    """(0.6, 0.7] holds 0.7, though 0.7 * 10 is more than 7; the first bin holds 0."""
    assert [(each.low, each.high) for each in reliability_bins(judged((0.0, False), (0.1, True)))] == [(0.0, 0.1)]
    for tenth in range(1, 11):
        (only,) = reliability_bins(judged((tenth / 10, True)))
        assert (only.low, only.high) == ((tenth - 1) / 10, tenth / 10)
    assert len(reliability_bins(judged((0.1, True), (0.95, True)))) == 2  # the empty ones are left out


def test_what_is_calibrated_shows_the_error_that_it_must() -> None:
    many = drawn(4000, seed=1)
    assert calibration_errors(many)[0] < 0.03
    assert calibration_errors(many)[0] == pytest.approx(error_if_calibrated(many), abs=0.01)
    # With few answers the error is far above 0 though nothing is wrong, and the comparison says so.
    few = drawn(60, seed=2)
    assert error_if_calibrated(few) > 3 * error_if_calibrated(many)
    means = [calibration_errors(drawn(60, seed))[0] for seed in range(100)]
    expected = [error_if_calibrated(drawn(60, seed)) for seed in range(100)]
    assert np.mean(means) == pytest.approx(np.mean(expected), abs=0.01)


def test_what_is_too_sure_is_found_out() -> None:
    found = calibration(drawn(1000, seed=3, sharpened=0.3))
    assert found.mean_confidence > found.accuracy + 0.1
    assert found.ece_interval[0] > found.ece_if_calibrated
    assert found.ece_interval[0] < found.ece < found.ece_interval[1]
    assert found.ece == pytest.approx(found.mean_confidence - found.accuracy, abs=0.02)  # too sure in every bin


def test_the_interval_draws_utterances() -> None:
    """Ten recordings alike say no more than one."""
    once = drawn(100, seed=4)
    ten = Judged(np.tile(once.confidence, 10), np.tile(once.right, 10), np.tile(once.groups, 10))
    assert calibration(ten).ece_interval == pytest.approx(calibration(once).ece_interval)
    apart = Judged(ten.confidence, ten.right, np.arange(1000))
    assert np.diff(calibration(apart).ece_interval) < np.diff(calibration(ten).ece_interval)


def test_the_figures_are_those_of_the_functions() -> None:
    some = drawn(80, seed=5)
    found = calibration(some)
    assert (found.number, found.num_without_confidence) == (80, 0)
    assert (found.ece, found.brier) == calibration_errors(some)
    assert found.brier == pytest.approx(np.square(some.confidence - some.right).mean())
    assert found.adaptive_ece == adaptive_calibration_error(some)
    assert [each.threshold for each in found.answered] == list(THRESHOLDS)
    assert found == calibration(some)  # the same draws each time


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.integers(1, 15), st.randoms())
def test_laws(pairs: list[tuple[float, bool]], num_bins: int, rng: random.Random) -> None:
    here = judged(*pairs)
    (ece, brier), adaptive = calibration_errors(here, num_bins), adaptive_calibration_error(here, num_bins)
    for figure in (ece, adaptive, brier):
        assert 0 <= figure <= 1 + 1e-9
    bias = abs(float(here.confidence.mean() - here.right.mean()))
    # Bins can only add to what is left of the gaps when they are summed before their size is taken; one bin is that.
    assert ece >= bias - 1e-9 and adaptive >= bias - 1e-9
    assert calibration_errors(here, 1)[0] == pytest.approx(bias)
    assert adaptive_calibration_error(here, 1) == pytest.approx(bias)
    # By Jensen the squared ECE is no more than the Brier score.
    assert ece**2 <= brier + 1e-9
    bins = reliability_bins(here, num_bins)
    assert sum(each.number for each in bins) == len(pairs)
    weighted = sum(each.number * abs(each.accuracy - each.mean_confidence) for each in bins)
    assert weighted / len(pairs) == pytest.approx(ece)
    for each in bins:
        assert each.low - 1e-12 <= each.mean_confidence <= each.high + 1e-12
        assert each.accuracy_interval[0] - 1e-12 <= each.accuracy <= each.accuracy_interval[1] + 1e-12
    shuffled = list(pairs)
    rng.shuffle(shuffled)
    there = judged(*shuffled)
    assert adaptive_calibration_error(there, num_bins) == pytest.approx(adaptive)
    assert calibration_errors(there, num_bins)[0] == pytest.approx(ece)


def test_perfect_and_worst() -> None:
    perfect, worst = judged((1.0, True), (0.0, False)), judged((1.0, False), (0.0, True))
    assert calibration_errors(perfect) == (0.0, 0.0)
    assert calibration_errors(worst) == (1.0, 1.0)
    assert error_if_calibrated(perfect) == 0.0
    assert len(reliability_bins(perfect)) == 2 <= NUM_BINS


@pytest.mark.parametrize("confidence", [[], [0.5, 0.5], [1.2], [-0.1], [math.nan]])
def test_what_cannot_be_is_refused(confidence: list[float]) -> None:
    with pytest.raises(ValueError, match=r"shapes|outside"):
        Judged(np.array(confidence), np.array([1.0] if confidence else []), np.arange(1 if confidence else 0))
