"""What was found, made up and missed, and the three figures that follow from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives; fractions of one where distances are summed."""

    tp: float = 0.0
    fp: float = 0.0
    fn: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """tp / (tp + fp), 0..1; 0.0 where nothing was predicted."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """tp / (tp + fn), 0..1; 0.0 where there was nothing to find."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0..1; 0.0 where both are 0."""
        return ratio(2 * self.precision * self.recall, self.precision + self.recall)


def ratio(part: float, whole: float) -> float:
    """part / whole; 0.0 where the whole is empty."""
    return part / whole if whole else 0.0
