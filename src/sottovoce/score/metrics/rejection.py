"""False accepts and false rejects: what the product does where it should not, and fails to do where it should.

The false alarms and misses of detection (Martin et al., "The DET curve in assessment of detection task performance",
Eurospeech 1997): what is detected is that there is an intent.
"""

from __future__ import annotations

from sottovoce.core.types import Frame
from sottovoce.score.files import GoldItem
from sottovoce.score.metrics.metric import Figure, Metric, ratio


def rejection_counts(item: GoldItem, predicted: Frame | None) -> dict[str, float]:
    """Whether gold has an intent, and whether one was answered where there is none, or none where there is one.

    Any intent is an accept, right or wrong. No answer (None: missing, unreadable, withheld) does nothing, like a
    rejection.
    """
    accepted = predicted is not None and not predicted.is_rejection
    rejection = item.frame.is_rejection
    return {
        "without_intent": rejection,
        "false_accept": rejection and accepted,
        "with_intent": not rejection,
        "false_reject": not rejection and not accepted,
    }


def _rate(part: str, whole: str) -> Figure:
    return lambda sums: ratio(sums[part], sums[whole])


METRICS = (
    Metric(
        "false_accept_rate", "false accepts", "frames", rejection_counts, _rate("false_accept", "without_intent"),
        higher_is_better=False, official=False,
        meaning="Share of the items without an intent (no speech, out of scope) that were answered with one.",
    ),
    Metric(
        "false_reject_rate", "false rejects", "frames", rejection_counts, _rate("false_reject", "with_intent"),
        higher_is_better=False, official=False,
        meaning="Share of the items with an intent that were answered with none: rejected, withheld or unreadable.",
    ),
)  # fmt: skip
