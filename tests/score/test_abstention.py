"""Risk and coverage, and thresholds to abstain by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.core.errors import UserError
from sottovoce.score.abstention import (
    abstain_threshold,
    answered_above,
    risk_coverage,
    risk_coverage_area,
)
from sottovoce.score.confidences import Judged

PAIRS = st.lists(st.tuples(st.floats(0, 1, allow_nan=False), st.booleans()), min_size=1, max_size=30)


def judged(*answers: tuple[float, bool]) -> Judged:
    confidence, right = (np.array(column, dtype=np.float64) for column in zip(*answers, strict=True))
    return Judged(confidence, right, np.arange(len(answers)))


FOUR = judged((0.312, False), (0.587, True), (0.587, False), (0.9, True))


def test_a_curve_worked_by_hand() -> None:
    thresholds, shares, accuracies = risk_coverage(FOUR)
    assert thresholds.tolist() == [0.312, 0.587, 0.9]
    assert shares.tolist() == [1.0, 0.75, 0.25]
    assert accuracies == pytest.approx([0.5, 2 / 3, 1.0])
    # The most confident is right; the next two share one mistake, whichever comes first; the last is wrong.
    assert risk_coverage_area(FOUR) == pytest.approx((0 + 0.5 / 2 + 1 / 3 + 2 / 4) / 4)


def test_what_a_threshold_answers() -> None:
    some = answered_above(FOUR, 0.587)
    assert (some.number, some.share, some.accuracy) == (3, 0.75, pytest.approx(2 / 3))
    assert some.accuracy_interval is not None and some.accuracy_interval[0] < 2 / 3 < some.accuracy_interval[1]
    none = answered_above(FOUR, 0.95)
    assert (none.number, none.share, none.accuracy, none.accuracy_interval) == (0, 0.0, None, None)


def test_the_lowest_threshold_that_reaches_the_target_in_as_few_digits_as_will_do() -> None:
    assert abstain_threshold(FOUR, 0.5).threshold == 0.0
    chosen = abstain_threshold(FOUR, 0.6)
    assert (chosen.threshold, chosen.number) == (0.5, 3)
    assert abstain_threshold(FOUR, 1.0).threshold == 0.9
    near = judged((0.61234, False), (0.61239, True))
    assert abstain_threshold(near, 1.0).threshold == 0.61239


def test_a_target_that_no_threshold_reaches_is_refused_with_the_best_there_is() -> None:
    never = judged((0.9, False), (0.8, True), (0.7, True))
    with pytest.raises(UserError, match=r"of 90\.0%; the best is 66\.7%, with 100\.0% answered; lower the target"):
        abstain_threshold(never, 0.9)


@settings(max_examples=80, deadline=None)
@given(PAIRS, st.floats(0, 1))
def test_laws(pairs: list[tuple[float, bool]], target: float) -> None:
    here = judged(*pairs)
    thresholds, shares, accuracies = risk_coverage(here)
    assert shares[0] == 1.0 and (np.diff(shares) < 0).all()
    assert accuracies[0] == pytest.approx(here.right.mean())
    for threshold, share, accuracy in zip(thresholds, shares, accuracies, strict=True):
        found = answered_above(here, float(threshold))
        assert (found.share, found.accuracy) == (pytest.approx(share), pytest.approx(accuracy))
    assert 0 <= risk_coverage_area(here) <= 1 + 1e-9
    best = Judged(here.right.copy(), here.right, here.groups)  # none orders better than one that knows
    assert risk_coverage_area(best) <= risk_coverage_area(here) + 1e-9
    try:
        chosen = abstain_threshold(here, target)
    except UserError:
        assert (accuracies < target).all()
        return
    assert chosen.accuracy is not None and chosen.accuracy >= target - 1e-9
    lower = [float(each) for each in thresholds if each < chosen.threshold]
    answered = [answered_above(here, each) for each in lower]
    assert all(each.accuracy is not None and each.accuracy < target for each in answered)


def test_a_perfect_order_answers_most_of_what_is_right() -> None:
    ordered = judged(*[(0.5 + place / 200, place >= 20) for place in range(100)])
    chosen = abstain_threshold(ordered, 1.0)
    assert (chosen.threshold, chosen.share) == (0.6, 0.8)
