"""The promise of docs/scores.md, counted: the slow test prints its table."""

import numpy as np
import pytest
from interval_simulation import accuracy_coverage, difference_coverage, table


@pytest.mark.parametrize("number", [10, 20, 50])
def test_intervals_of_an_accuracy_hold_it_as_often_as_they_say(number: int) -> None:
    held = accuracy_coverage(number)
    assert 0.94 <= held.mean() <= 0.97
    assert held.min() >= 0.9


@pytest.mark.parametrize("disagreement", [0.1, 0.5])
def test_few_utterances_find_no_difference_where_none_is(disagreement: float) -> None:
    held, false = difference_coverage(10, disagreement)
    assert held.min() >= 0.94
    assert false <= 0.05


@pytest.mark.slow
def test_every_number_of_utterances_from_10_to_1000() -> None:
    for number in (*range(10, 101), *range(125, 1001, 25)):
        held = accuracy_coverage(number)
        assert 0.94 <= held.mean() <= 0.97, number
        assert held.min() >= 0.9, number


@pytest.mark.slow
def test_the_table_of_coverages() -> None:
    rows = list(table((10, 20, 50, 100, 300, 1000), 400))
    for name, mean, least in rows:
        print(f"| {name} | {100 * mean:.1f} | {100 * least:.1f} |")
    assert all(mean >= 0.94 for _, mean, _ in rows)
    # 400 draws: a standard error of 1.1 points, and the lowest of many.
    assert all(least >= 0.9 for _, _, least in rows)
    assert np.mean([mean for name, mean, _ in rows if name.startswith("SLU-F1")]) <= 0.98
