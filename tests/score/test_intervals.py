from __future__ import annotations

import math

import numpy as np
import pytest

from sottovoce.score.binomial import share_bounds
from sottovoce.score.intervals import Floats, Scored, corrected_level, differences, figures


def share(sums: Floats) -> Floats:
    """The one figure of these tests: column 0 over column 1, 0 where there is nothing."""
    found: Floats = np.divide(sums[..., :1], sums[..., 1:2], out=np.zeros_like(sums[..., :1]), where=sums[..., 1:2] > 0)
    return found


def scored(*right: float, of: float = 1.0, share_of: bool = True) -> Scored:
    return Scored.of(np.array([[each, of] for each in right]), share, [share_of])


def test_the_interval_of_an_accuracy_is_the_exact_one() -> None:
    for right, wrong in ((17, 3), (20, 0), (0, 20), (320, 80)):
        (figure,) = figures([scored(*[1.0] * right, *[0.0] * wrong)])
        assert figure.bounds(0.95) == pytest.approx(share_bounds(right, right + wrong, 0.95), abs=1e-9)
        assert figure.standard_error > 0
    assert figures([scored(*[1.0] * 320, *[0.0] * 80)])[0].standard_error == pytest.approx(0.02, rel=0.01)


def test_recordings_of_an_utterance_say_as_much_as_they_differ() -> None:
    """Ten recordings that always agree say no more than one; ten with errors of their own say ten times as much."""
    once = [1.0] * 160 + [0.0] * 40
    alike = figures([scored(*(10 * each for each in once), of=10)])[0].bounds(0.95)
    assert alike == pytest.approx(figures([scored(*once)])[0].bounds(0.95), abs=0.003)
    spread = figures([scored(*np.random.default_rng(0).binomial(10, 0.8, 200).astype(float), of=10)])[0].bounds(0.95)
    assert spread[1] - spread[0] == pytest.approx((alike[1] - alike[0]) / math.sqrt(10), rel=0.25)


def test_all_right_in_every_recording_counts_utterances_only() -> None:
    (figure,) = figures([scored(*[5.0] * 20, of=5)])
    assert figure.bounds(0.95) == pytest.approx(share_bounds(20, 20, 0.95))


def test_utterances_without_anything_to_count_do_not_count() -> None:
    full = figures([scored(*[1.0] * 12)])[0]
    some = Scored.of(np.array([[1.0, 1.0]] * 12 + [[0.0, 0.0]] * 30), share, [True])
    assert (figures([some])[0].number, figures([some])[0].bounds(0.95)) == (12, pytest.approx(full.bounds(0.95)))
    nothing = figures([Scored.of(np.zeros((4, 2)), share, [True])])[0]
    assert nothing.bounds(0.95) == (0.0, 1.0)


def test_a_difference_is_paired_and_has_a_width_where_nothing_differs() -> None:
    first, second = scored(*[1.0] * 30, *[0.0] * 10), scored(*[1.0] * 30, *[0.0] * 10)
    (same,) = differences([first - second])
    assert (same.value, same.p_value) == (0.0, 1.0)
    low, high = same.bounds(0.95)
    assert low == pytest.approx(-high) and 0.05 < high < 0.08  # 1.96 sqrt(2) / 42
    shuffled = scored(*[0.0] * 10, *[1.0] * 30)
    assert differences([first - shuffled])[0].bounds(0.95)[1] > 3 * high


def test_a_difference_is_that_of_bonett_and_price() -> None:
    """Their adjusted Wald interval, from b and c utterances that only one of two systems has right, of n."""
    b, c, n = 9, 2, 40
    first, second = scored(*[1.0] * b, *[0.0] * (n - b)), scored(*[0.0] * b, *[1.0] * c, *[0.0] * (n - b - c))
    p, q = (b + 1) / (n + 2), (c + 1) / (n + 2)
    half = 1.959964 * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    assert differences([first - second])[0].bounds(0.95) == pytest.approx((p - q - half, p - q + half), abs=1e-6)


@pytest.mark.parametrize("number", [10, 50, 400])
def test_verdict_and_interval_never_contradict(number: int) -> None:
    rng = np.random.default_rng(number)
    verdicts = set()
    for _ in range(300):
        one, other = (scored(*(rng.random(number) < chance).astype(float)) for chance in (0.8, rng.uniform(0.3, 1)))
        for seeds in ([one - other], [one - other, one - scored(*(rng.random(number) < 0.6).astype(float))]):
            (found,) = differences(seeds)
            for corrected in (found.p_value, min(1.0, 3 * found.p_value)):
                low, high = found.bounds(corrected_level(0.95, found.p_value, corrected))
                assert (low > 0 or high < 0) == (corrected < 0.05)
                verdicts.add(corrected < 0.05)
    assert verdicts == {True, False}


def test_seeds_add_what_utterances_do_not_explain() -> None:
    """Four seeds on utterances that are right or wrong for all of them, some for one seed alone."""
    values, rng = (0.40, 0.45, 0.50, 0.65), np.random.default_rng(0)
    utterances = rng.normal(0, 1, (400, 1))
    utterances *= 0.02 / math.sqrt(float((utterances**2).sum()))
    counted, shares = np.ones((400, 1), dtype=bool), np.array([True])
    (figure,) = figures([Scored(np.array([value]), utterances, counted, shares) for value in values])
    # The variance of a mean of four seeds, s^2 / 4, and that of the utterances, which all seeds share.
    expected = math.sqrt(np.var(values, ddof=1) / 4 + 0.02**2)
    assert figure.standard_error == pytest.approx(expected, rel=0.03)
    low, high = figure.bounds(0.95)
    assert (high - low) / 2 > 2.5 * expected  # Student's t with hardly more than three degrees of freedom
    alike = figures([Scored(np.array([0.5]), utterances, counted, shares)] * 4)[0]
    assert alike.bounds(0.95) == pytest.approx((0.5 - 0.0392, 0.5 + 0.0392), abs=2e-3)


def test_a_figure_that_is_no_share_has_a_symmetric_interval() -> None:
    (figure,) = figures([scored(*np.arange(5, 15, 0.5), share_of=False)])
    low, high = figure.bounds(0.95)
    deviation = float(np.arange(5, 15, 0.5).std(ddof=1)) / math.sqrt(20)
    assert (low + high) / 2 == pytest.approx(figure.value) == pytest.approx(9.75)
    assert high - figure.value == pytest.approx(2.093 * deviation, rel=1e-3)
    (gain,) = differences([scored(*np.arange(5, 15, 0.5), share_of=False) - scored(*[9.0] * 20, share_of=False)])
    assert gain.p_value == pytest.approx(0.27, abs=0.01)


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(ValueError, match="no utterances"):
        Scored.of(np.zeros((0, 2)), share, [True])
    with pytest.raises(ValueError, match="no seeds"):
        figures([])
