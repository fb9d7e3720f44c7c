from __future__ import annotations

import math

import numpy as np
import pytest

from sottovoce.score import statistics
from sottovoce.score.statistics import (
    Floats,
    SeedSpread,
    bootstrap,
    holm,
    interval,
    mcnemar_p_value,
    over_seeds,
)


def share(sums: Floats) -> Floats:
    """The one figure of these tests: column 0 over column 1."""
    figures: Floats = sums[..., :1] / sums[..., 1:2]
    return figures


def marks(*right: float) -> Floats:
    return np.array([[each, 1.0] for each in right])


def coin(num_utterances: int, right: float, seed: int) -> Floats:
    return marks(*(np.random.default_rng(seed).random(num_utterances) < right))


def test_an_interval_of_an_accuracy_is_as_wide_as_the_binomials() -> None:
    sums = marks(*[1.0] * 320, *[0.0] * 80)
    samples = bootstrap(sums, share, 4000)
    assert samples.shape == (4000, 1)
    (low, high), deviation = interval(samples)[0], math.sqrt(0.8 * 0.2 / 400)
    assert low == pytest.approx(0.8 - 1.96 * deviation, abs=0.004)
    assert high == pytest.approx(0.8 + 1.96 * deviation, abs=0.004)
    assert interval(samples, 0.5)[0][1] < high


def test_recordings_of_an_utterance_stay_together() -> None:
    """Ten recordings alike say no more than one: drawn apart they would make the interval a third as wide."""
    once = coin(200, 0.7, 1)
    together = interval(bootstrap(once * 10, share, 2000))
    assert together == pytest.approx(interval(bootstrap(once, share, 2000)))
    apart = interval(bootstrap(np.repeat(once, 10, axis=0), share, 2000))
    assert np.diff(together) > 2.5 * np.diff(apart)


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    sums = coin(50, 0.5, 2)
    assert np.array_equal(bootstrap(sums, share, 300, seed=5), bootstrap(sums, share, 300, seed=5))
    assert not np.array_equal(bootstrap(sums, share, 300, seed=5), bootstrap(sums, share, 300, seed=6))
    assert np.array_equal(bootstrap(sums, share, 300), bootstrap(sums, share, 300, seed=0))


def test_one_resample_of_one_utterance_is_that_utterance() -> None:
    assert bootstrap(marks(1.0), share, 1).tolist() == [[1.0]]


def test_work_in_pieces_draws_as_many_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = coin(40, 0.5, 3)
    whole = bootstrap(sums, share, 101)
    monkeypatch.setattr(statistics, "_NUMBERS_AT_ONCE", 39)  # less than one resample: then it is one at once
    assert bootstrap(sums, share, 3).shape == (3, 1)
    monkeypatch.setattr(statistics, "_NUMBERS_AT_ONCE", 400)  # ten resamples at once
    pieces = bootstrap(sums, share, 101)
    assert pieces.shape == whole.shape
    assert len(np.unique(pieces)) > 5


@pytest.mark.parametrize(
    ("better", "worse", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (1, 4, 2 * 6 / 32), (3, 3, 1.0), (2, 8, 2 * 56 / 1024)],
)
def test_mcnemars_p_values_are_the_binomials(better: int, worse: int, p_value: float) -> None:
    first = np.array([1.0] * better + [0.0] * worse + [1.0, 0.0])
    second = np.array([0.0] * better + [1.0] * worse + [1.0, 0.0])
    assert mcnemar_p_value(first, second) == pytest.approx(p_value)


def test_mcnemars_test_bears_thousands_of_utterances() -> None:
    first = np.zeros(6000)
    first[:3200] = 1
    p_value = mcnemar_p_value(first, 1 - first)  # z = 5.2 of the normal approximation
    assert 1e-7 < p_value < 4e-7


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.001]) == pytest.approx([0.5, 0.002])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_seeds_are_averaged_with_their_spread() -> None:
    spread = over_seeds([{"f": 0.5}, {"f": 0.6}, {"f": 0.7}])["f"]
    expected = SeedSpread(0.6, 0.1, 0.5, 0.7, 3)
    assert (spread.mean, spread.deviation) == pytest.approx((expected.mean, expected.deviation))
    assert (spread.lowest, spread.highest, spread.num_seeds) == (0.5, 0.7, 3)
    assert over_seeds([{"f": 0.5}, {"f": 0.7}])["f"].deviation == pytest.approx(math.sqrt(0.02))
    assert over_seeds([{"f": 0.5}])["f"] == SeedSpread(0.5, 0.0, 0.5, 0.5, 1)


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(ValueError, match="resamples of 0 utterances"):
        bootstrap(np.zeros((0, 2)), share)
    with pytest.raises(ValueError, match="0 resamples"):
        bootstrap(marks(1.0), share, 0)
    with pytest.raises(ValueError, match="shapes"):
        mcnemar_p_value(np.ones(1), np.ones(2))
    with pytest.raises(ValueError, match="shapes"):
        mcnemar_p_value(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="different figures"):
        over_seeds([{"a": 1.0}, {"b": 1.0}])
    with pytest.raises(ValueError, match="no scores"):
        over_seeds([])
