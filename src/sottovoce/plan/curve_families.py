"""The forms that a learning curve may have: which share of its rise is done after n recordings.

| family | share of the rise, before it is scaled to 1 at the largest number measured |
| --- | --- |
| power | 1 - (1 + n / offset) ** -exponent |
| exponential | 1 - exp(-n / scale) |
| logistic | 1 / (1 + exp((middle - n) / width)), less what that is at n = 0 |

The power law is that of most learning curves (Cortes, Jackel, Solla, Vapnik and Denker, NIPS 1993; Hestness et al.,
"Deep Learning Scaling is Predictable, Empirically", 2017). The offset makes it hold at n = 0, where the model has
learned from text alone: text is worth ``offset`` recordings (as in Hernandez et al., "Scaling Laws for Transfer",
2021). Exponential and logistic curves are those that Viering and Loog's review, "The Shape of Learning Curves" (2022),
names next: curves that are soon level, and curves that first wait for enough recordings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Shape = Callable[[Floats, Floats, Floats], Floats]
"""From n and the family's two parameters (one of which it may not use), which broadcast, to the unscaled share."""


@dataclass(frozen=True)
class Family:
    """A form of curves, and the grid of its two parameters for a smallest budget above 0 and a largest one.

    The grids are log-uniform. A curve beyond them is one that the budgets cannot tell from one within."""

    name: str
    shape: Shape
    first: Callable[[float, float], Floats]
    second: Callable[[float, float], Floats]

    def grid(self, smallest: float, largest: float) -> tuple[Floats, Floats]:
        """All pairs of parameters: two arrays as long."""
        first, second = np.meshgrid(self.first(smallest, largest), self.second(smallest, largest))
        return first.ravel(), second.ravel()


def _power(n: Floats, exponent: Floats, offset: Floats) -> Floats:
    return 1 - (1 + n / offset) ** -exponent


def _exponential(n: Floats, scale: Floats, _: Floats) -> Floats:
    return 1 - np.exp(-n / scale)


def _logistic(n: Floats, middle: Floats, width: Floats) -> Floats:
    def done(n: Floats) -> Floats:
        left: Floats = np.exp(np.minimum((middle - n) / width, 500.0))  # beyond, it is 0 to the last digit of a double
        return 1 / (1 + left)

    return done(n) - done(np.zeros(()))


FAMILIES = (
    # Exponents: 0.07 to 0.35 in Hestness et al., 0.5 to 1 in Cortes et al.
    Family(
        "power", _power, lambda smallest, largest: np.geomspace(0.1, 1.2, 12),
        lambda smallest, largest: np.geomspace(smallest, 2 * largest, 14),
    ),
    Family(
        "exponential", _exponential, lambda smallest, largest: np.geomspace(smallest / 2, 2 * largest, 16),
        lambda smallest, largest: np.ones(1),
    ),
    Family(
        "logistic", _logistic, lambda smallest, largest: np.geomspace(smallest / 2, largest, 10),
        lambda smallest, largest: np.geomspace(smallest / 3, largest / 2, 8),
    ),
)  # fmt: skip
