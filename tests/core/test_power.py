from __future__ import annotations

import numpy as np
import pytest

from sottovoce.core.power import (
    POWER,
    USUAL_DISAGREEMENT,
    WANTED,
    difference_to_see,
    power_sentence,
    utterances_to_see,
)
from sottovoce.score.intervals import Difference


@pytest.mark.parametrize(("difference", "disagreement"), [(0.03, 0.2), (0.1, 0.2), (0.1, 0.5)])
def test_so_many_utterances_show_the_difference_as_often_as_they_should(difference: float, disagreement: float) -> None:
    number, rng = utterances_to_see(difference, disagreement), np.random.default_rng(0)
    better, worse = (disagreement + difference) / 2, (disagreement - difference) / 2
    shown = 0
    for won, lost, _ in rng.multinomial(number, [better, worse, 1 - disagreement], 3000):
        value = (won - lost) / number
        shown += Difference(value, (won + lost) / number**2 - value**2 / number, number, True).p_value < 0.05
    assert shown / 3000 == pytest.approx(POWER, abs=0.03)


def test_number_and_difference_are_each_others_inverse() -> None:
    for number in (50, 400, 10_000):
        least = difference_to_see(number, 0.15)
        assert utterances_to_see(least, 0.15) == pytest.approx(number, abs=1)
    assert utterances_to_see(0.03, 0.2) == 1742


def test_more_disagreement_needs_more_and_a_larger_difference_fewer() -> None:
    assert utterances_to_see(0.03, 0.1) < utterances_to_see(0.03, 0.2) < utterances_to_see(0.02, 0.2)
    assert difference_to_see(1000, 0.2) < difference_to_see(100, 0.2) < difference_to_see(5, 0.2) <= 1
    assert difference_to_see(1, 0.2) == 1


def test_where_systems_hardly_disagree_they_disagree_wherever_they_differ() -> None:
    assert utterances_to_see(0.1, 0.0) == utterances_to_see(0.1, 0.1) < utterances_to_see(0.1, 0.2)
    assert 0 < difference_to_see(100, 0.0) < 0.1


def test_the_sentence_names_its_assumption() -> None:
    assumed, seen = power_sentence(24), power_sentence(5000, 0.1)
    assert assumed.startswith("24 test utterances show a difference of ")
    assert f"to see {100 * WANTED:.0f} points takes about {utterances_to_see(WANTED, USUAL_DISAGREEMENT)}" in assumed
    assert "too few" in assumed and "assuming that two systems disagree on 20 %" in assumed
    assert "they are enough" in seen and "as these systems disagree on 10 %" in seen
