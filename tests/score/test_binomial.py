"""The numbers of tables, and what must hold of every interval."""

from __future__ import annotations

import math

import pytest

from sottovoce.score.binomial import beta_cdf, share_bounds, t_quantile, t_two_sided


def tail(right: int, number: int, share: float) -> float:
    """The chance of more than ``right``, and half of that of just as many."""
    chances = [math.comb(number, k) * share**k * (1 - share) ** (number - k) for k in range(number + 1)]
    return sum(chances[right + 1 :]) + chances[right] / 2


@pytest.mark.parametrize(("right", "number"), [(1, 10), (5, 10), (9, 10), (3, 40), (39, 40), (150, 200)])
def test_the_ends_of_an_interval_leave_half_of_the_rest_on_each_side(right: int, number: int) -> None:
    for level in (0.8, 0.95):
        low, high = share_bounds(right, number, level)
        assert tail(right, number, low) == pytest.approx((1 - level) / 2)
        assert 1 - tail(right, number, high) == pytest.approx((1 - level) / 2)


def test_none_and_all_have_a_width() -> None:
    assert share_bounds(10, 10, 0.95) == (pytest.approx(0.05**0.1), 1.0)  # half of p^10 is 0.025
    assert share_bounds(0, 10, 0.95) == (0.0, pytest.approx(1 - 0.05**0.1))
    assert share_bounds(0, 0, 0.95) == (0.0, 1.0)


def test_more_answers_or_a_lower_level_narrow_an_interval_also_between_whole_numbers() -> None:
    widths = [high - low for low, high in (share_bounds(0.9 * n, n, 0.95) for n in (3, 7.5, 20, 20.5, 1000, 100_000))]
    assert widths == sorted(widths, reverse=True) and widths[0] > 0.4 and widths[-1] < 0.004
    inner, outer = share_bounds(8.2, 11.7, 0.8), share_bounds(8.2, 11.7, 0.95)
    assert outer[0] < inner[0] < 8.2 / 11.7 < inner[1] < outer[1]


def test_the_beta_function_is_the_binomials() -> None:
    for x in (0.01, 0.3, 0.77, 0.999):
        assert beta_cdf(x, 3, 5) == pytest.approx(sum(math.comb(7, k) * x**k * (1 - x) ** (7 - k) for k in range(3, 8)))
    assert (beta_cdf(0, 2, 2), beta_cdf(1, 2, 2)) == (0, 1)


@pytest.mark.parametrize(("degrees", "t"), [(1, 12.706), (2, 4.303), (4, 2.776), (30, 2.042), (120, 1.980)])
def test_students_t_is_that_of_the_tables(degrees: float, t: float) -> None:
    assert t_quantile(0.95, degrees) == pytest.approx(t, abs=5e-4)
    assert t_two_sided(t, degrees) == t_two_sided(-t, degrees) == pytest.approx(0.05, abs=1e-4)


def test_with_many_degrees_of_freedom_t_is_normal() -> None:
    assert t_quantile(0.95, math.inf) == pytest.approx(1.959964, abs=1e-6)
    assert t_quantile(0.95, 999) == pytest.approx(t_quantile(0.95, 1001), rel=2e-3)
    assert t_two_sided(1.959964, math.inf) == pytest.approx(0.05, abs=1e-6)
