"""The interval of a share, and Student's t: both from the incomplete beta function, which numpy lacks.

The interval is Clopper and Pearson's with mid-p (Lancaster, "Significance tests in discrete distributions", JASA 56,
1961; Berry and Armitage, "Mid-P confidence intervals: a brief review", The Statistician 44, 1995): it holds each share
for which the observed count, itself counted by half, is not among the outermost (1 - level) / 2 at either end. Written
with the beta function it also takes numbers that are not whole, such as an effective number of answers.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_TINY = 1e-300
_PRECISION = 1e-13
_MOST_TERMS = 100_000  # a fraction takes about as many as the square root of its larger parameter
_NOTHING = 1e-9  # answers, that rounding may leave of none
_LIKE_NORMAL = 1000.0  # degrees of freedom from which Student's t counts as normal; it differs by 0.1 %


def share_bounds(right: float, number: float, level: float) -> tuple[float, float]:
    """The mid-p interval (low, high), 0..1, of the share of ``number`` answers of which so many are right.

    It has one end at 0 or 1 where none or all are right, and is all of 0..1 where there are no answers.
    """
    tail = (1 - level) / 2
    return _lowest(right, number - right, tail), 1 - _lowest(number - right, right, tail)


def t_two_sided(t: float, degrees: float) -> float:
    """The chance that Student's t is at least as far from 0 as ``t``."""
    if degrees > _LIKE_NORMAL:
        return math.erfc(abs(t) / math.sqrt(2))
    return beta_cdf(degrees / (degrees + t * t), degrees / 2, 0.5)


def t_quantile(level: float, degrees: float) -> float:
    """How far from 0 Student's t stays with the chance ``level``."""
    if degrees > _LIKE_NORMAL:
        return NormalDist().inv_cdf((1 + level) / 2)
    low, high = 0.0, 1.0  # of degrees / (degrees + t^2)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if beta_cdf(middle, degrees / 2, 0.5) > 1 - level else (middle, high)
    return math.sqrt(degrees * (1 - low) / max(low, _TINY))


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for x in 0..1 and a, b above 0.

    The continued fraction 6.4.5 of Press et al., "Numerical Recipes" (third edition), by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast below that
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    numerator, denominator = 1.0, 1 / _off_zero(1 - (a + b) * x / (a + 1))
    fraction, step = denominator, 0.0
    for term in range(1, _MOST_TERMS):
        even = term * (b - term) * x / ((a + 2 * term - 1) * (a + 2 * term))
        odd = -(a + term) * (a + b + term) * x / ((a + 2 * term) * (a + 2 * term + 1))
        for part in (even, odd):
            denominator, numerator = 1 / _off_zero(1 + part * denominator), _off_zero(1 + part / numerator)
            step = denominator * numerator
            fraction *= step
        if abs(step - 1) < _PRECISION:
            break
    return front * fraction


def _lowest(right: float, wrong: float, tail: float) -> float:
    """The share for which so many right or more, those themselves by half, have the chance ``tail``: by Newton's method
    between bounds that close in."""
    if right < _NOTHING:
        return 0.0
    number, low, high = right + max(0.0, wrong), 0.0, 1.0
    share = right / (number + 1)
    combinations = math.lgamma(number + 1) - math.lgamma(right + 1) - math.lgamma(number - right + 1)
    for _ in range(200):
        exactly = math.exp(combinations + right * math.log(share) + (number - right) * math.log1p(-share))
        beyond = exactly / 2 + (beta_cdf(share, right + 1, wrong) if wrong > _NOTHING else 0.0) - tail
        low, high = (low, share) if beyond > 0 else (share, high)
        slope = exactly / 2 * (right / share + wrong / (1 - share))
        better = share - beyond / slope if slope > 0 else low
        better = better if low < better < high else (low + high) / 2
        if abs(better - share) <= 1e-12:
            break
        share = better
    return share


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
