"""What a metric is: what one item adds to named sums, and the figure computed from such sums.

A figure can be computed from sums over any items, with any weights. So the same function gives the score of a file, of
a part of it, of a bootstrap resample and of a random swap between two systems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sottovoce.core.types import Frame
from sottovoce.score.files import GoldItem

Floats = NDArray[np.float64]
Shown = Literal["headline", "tables", "data"]
ITEMS = "items"  # counted by CountsTable: 1 for each item that the view does not skip


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over items, by name; ``values``: (..., columns)."""

    columns: Mapping[str, int]
    values: Floats

    def __getitem__(self, name: str) -> Floats:
        """One sum: (...)."""
        column: Floats = self.values[..., self.columns[name]]
        return column

    def starting(self, start: str) -> Floats:
        """The sums whose names start with ``start``, in order: (..., number of such sums)."""
        columns: Floats = self.values[..., [place for name, place in self.columns.items() if name.startswith(start)]]
        return columns


Counting = Callable[[GoldItem, Frame | None], Mapping[str, float]]
"""What an item adds to each sum, given the predicted frame (None: no answer); the names depend on the item alone."""
Figure = Callable[[Sums], Floats]
"""From sums (..., columns) to the figure (...)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; README.md in this folder says how to add one.

    Args:
        key, label: its name in JSON, CSV and on the command line; its name in tables and sentences.
        of: "items" if it is the share of items that are right, so that sqrt(p (1 - p) / n) is its standard error;
            "entities" if it is computed from entities alone, so that a breakdown by slot can include it; else "frames".
        counts, figure: what an item adds (metrics can share the function), and the figure from the sums.
        shown: "data" in `score` and the data files; "tables" also in the tables of `compare`, `gap`, breakdowns,
            decodings and the model card; "headline" also in a study's table, figure, differences and plan.
        short: a shorter label for narrow columns; "": the label.
        unit: "%" for a share from 0 to 1, shown in percent; "" for a number shown unchanged.
        official: whether it is in the official view too; leave it out if no published scorer prints it.
        meaning: one sentence for a report's glossary.

    Raises:
        ValueError: a headline metric that is not a share, or for which higher is not better: gaps closed, learning
            curves and figures assume both.
    """

    key: str
    label: str
    of: Literal["items", "entities", "frames"]
    counts: Counting
    figure: Figure
    shown: Shown = "data"
    short: str = ""
    unit: Literal["%", ""] = "%"
    higher_is_better: bool = True
    official: bool = True
    meaning: str = ""

    def __post_init__(self) -> None:
        if self.shown == "headline" and not (self.unit and self.higher_is_better):
            raise ValueError(f"{self.key} cannot be a headline metric")

    @property
    def heading(self) -> str:
        """The label over a column, with the unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def column(self) -> str:
        """The label over a narrow column."""
        return self.short or self.label

    @property
    def title(self) -> str:
        """The label at the start of a line, capitalised."""
        return self.label[:1].upper() + self.label[1:]

    def text(self, value: float, digits: int = 1, sign: str = "") -> str:
        """A figure without its unit; with ``sign`` "+", a difference."""
        return f"{100 * value if self.unit else value:{sign}.{digits}f}"

    def bounds(self, interval: Iterable[float], digits: int = 1, sign: str = "") -> str:
        """An interval in brackets."""
        return f"[{', '.join(self.text(end, digits, sign) for end in interval)}]"


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives; fractions where distances are summed."""

    tp: float = 0.0
    fp: float = 0.0
    fn: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @classmethod
    def of(cls, gold: Iterable[Hashable], predicted: Iterable[Hashable]) -> Counts:
        """Counts what is in both, only in the prediction and only in gold; repeated items count each time."""
        wanted, given = Counter(gold), Counter(predicted)
        both = (wanted & given).total()
        return cls(both, given.total() - both, wanted.total() - both)

    def named(self, kind: str) -> dict[str, float]:
        """As sums: ``KIND_tp``, ``KIND_fp`` and ``KIND_fn``."""
        return {f"{kind}_tp": self.tp, f"{kind}_fp": self.fp, f"{kind}_fn": self.fn}


def ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole; 0 if the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def share(name: str) -> Figure:
    """The share of items that count under a name."""
    return lambda sums: ratio(sums[name], sums[ITEMS])


def precision(*kinds: str) -> Figure:
    """tp / (tp + fp), 0 if nothing was predicted; the Counts of several kinds are summed."""
    return lambda sums: ratio(_sum(sums, kinds, "tp"), _sum(sums, kinds, "tp") + _sum(sums, kinds, "fp"))


def recall(*kinds: str) -> Figure:
    """tp / (tp + fn), 0 if gold has none."""
    return lambda sums: ratio(_sum(sums, kinds, "tp"), _sum(sums, kinds, "tp") + _sum(sums, kinds, "fn"))


def f1(*kinds: str) -> Figure:
    """2 tp / (2 tp + fp + fn), the harmonic mean of precision and recall."""

    def figure(sums: Sums) -> Floats:
        twice = 2 * _sum(sums, kinds, "tp")
        return ratio(twice, twice + _sum(sums, kinds, "fp") + _sum(sums, kinds, "fn"))

    return figure


def _sum(sums: Sums, kinds: tuple[str, ...], part: str) -> Floats:
    total: Floats = np.sum([sums[f"{kind}_{part}"] for kind in kinds], axis=0)
    return total
