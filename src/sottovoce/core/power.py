"""How many test utterances show a difference between two systems, and which difference so many show.

Both systems answer the same utterances, so only those count that one has right and the other has wrong: their share is
the disagreement. With it, n utterances show a difference d of accuracy with the wanted chance if

    n = (z1 sqrt(disagreement) + z2 sqrt(disagreement - d ** 2)) ** 2 / d ** 2

where z1 is the normal quantile of the two-sided test and z2 that of the chance (Connor, "Sample size for testing
differences in proportions for the paired-sample design", Biometrics 43, 1987).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist

from sottovoce.core.types import Utterance

LEVEL = 0.95
POWER = 0.8
WANTED = 0.03
"""Three points: less is seldom worth a training."""
USUAL_DISAGREEMENT = 0.2
"""Assumed before any system is there. docs/evidence/scores.md has what was seen."""


def num_independent(utterances: Iterable[Utterance]) -> int:
    """How many different utterances there are: recordings of the same words and labels count as one."""
    return len({(each.locale, each.transcript, each.frame) for each in utterances})


def utterances_to_see(difference: float, disagreement: float) -> int:
    """How many test utterances show a difference of accuracy with a chance of POWER, in a test at LEVEL.

    Args:
        difference: 0..1, above 0.
        disagreement: the share of the utterances that exactly one of the two systems has right; at least
            ``difference``, and taken to be so.
    """
    return math.ceil(_needed(difference, max(difference, disagreement)))


def difference_to_see(num_utterances: int, disagreement: float) -> float:
    """The smallest difference that so many test utterances show with a chance of POWER; at most 1.

    Above ``disagreement`` the systems are taken to disagree wherever they differ.
    """
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        enough = _needed(middle, max(middle, disagreement)) <= num_utterances
        low, high = (low, middle) if enough else (middle, high)
    return high


def power_sentence(num_utterances: int, disagreement: float | None = None) -> str:
    """What so many test utterances can show; ``disagreement`` as it was seen, None: assumed."""
    share = USUAL_DISAGREEMENT if disagreement is None else disagreement
    least = 100 * difference_to_see(num_utterances, share)
    if disagreement is None:
        reason = f"assuming that two systems disagree on {100 * share:.0f} % of them"
    else:
        reason = f"as these systems disagree on {100 * share:.0f} % of them"
    needed = utterances_to_see(WANTED, share)
    enough = "enough" if num_utterances >= needed else "too few"
    return (
        f"{num_utterances} test utterances show a difference of {least:.1f} points of accuracy or more; to see "
        f"{100 * WANTED:.0f} points takes about {needed}, so they are {enough} ({100 * POWER:.0f} % power, {reason})"
    )


def _needed(difference: float, disagreement: float) -> float:
    test, chance = NormalDist().inv_cdf((1 + LEVEL) / 2), NormalDist().inv_cdf(POWER)
    spread = math.sqrt(max(0.0, disagreement - difference**2))
    return (test * math.sqrt(disagreement) + chance * spread) ** 2 / difference**2
