"""What each gold item adds to the sums of every metric: the basis of scores, intervals, tests and breakdowns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sottovoce.score.intervals import Scored
from sottovoce.score.matching import VIEWS, Answer, Pair, View
from sottovoce.score.metrics import registry
from sottovoce.score.metrics.metric import ITEMS, Floats, Metric, Sums

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class CountsTable:
    """The counts of all answers in one view.

    Args:
        metrics: the metrics that the counts are for.
        columns: each count's name and column; the same for any answers to the same gold items.
        rows: items x columns; an item that the view skips is a row of zeros.
        groups: (items,), each item's utterance as a number from 0 to ``num_utterances`` - 1.
    """

    metrics: tuple[Metric, ...]
    columns: Mapping[str, int]
    rows: Floats
    groups: NDArray[np.int64]
    num_utterances: int

    def counted(self, name: str) -> Floats:
        """One count of each item: (items,)."""
        column: Floats = self.rows[:, self.columns[name]]
        return column

    def summed(self, rows: Floats) -> Floats:
        """Sums any values per item by utterance: items x k to utterances x k."""
        sums = np.zeros((self.num_utterances, rows.shape[1]))
        np.add.at(sums, self.groups, rows)
        return sums

    def per_utterance(self) -> Floats:
        """The sums of each utterance's items: utterances x columns."""
        return self.summed(self.rows)

    def figures_of(self, sums: Floats) -> Floats:
        """The metrics of sums of rows: (..., columns) to (..., metrics)."""
        return figures_of(self.metrics, Sums(self.columns, sums))

    def scored(self, sums: Floats | None = None) -> Scored:
        """The metrics with what each utterance contributes; ``sums``: others than its own, utterances x columns."""
        rows = self.per_utterance() if sums is None else sums
        return Scored.of(rows, self.figures_of, [metric.unit == "%" for metric in self.metrics])

    def named(self, values: Iterable[_Value]) -> dict[str, _Value]:
        """Values in the order of the metrics, keyed by metric."""
        return dict(zip((metric.key for metric in self.metrics), values, strict=True))

    def figures(self) -> dict[str, float]:
        """Every metric over all items; each recording counts once."""
        return self.named(self.figures_of(self.rows.sum(axis=0)).tolist())

    def figures_per_utterance(self) -> dict[str, float]:
        """Every metric with each utterance counting once, however many of its recordings are scored."""
        sums = self.per_utterance()
        means = sums / np.maximum(sums[:, [self.columns[ITEMS]]], 1.0)
        return self.named(self.figures_of(means.sum(axis=0)).tolist())


def counts_table(answers: Sequence[Answer], view: View, metrics: Sequence[Metric] | None = None) -> CountsTable:
    """:func:`counts_tables` for one view."""
    return counts_tables(answers, metrics)[view]


def counts_tables(answers: Sequence[Answer], metrics: Sequence[Metric] | None = None) -> dict[View, CountsTable]:
    """The counts of all answers, in order, in each view; a pair that both views score is counted only once.

    Args:
        answers: to one gold file.
        metrics: None: all.
    """
    wanted = tuple(registry.METRICS if metrics is None else metrics)
    counting = tuple(dict.fromkeys(metric.counts for metric in wanted))  # several metrics can share one
    counts: dict[View, list[dict[str, float]]] = {view: [] for view in VIEWS}
    for answer in answers:
        counted: dict[Pair, dict[str, float]] = {}
        for view in VIEWS:
            pair = answer.pair(view)
            if pair is not None and pair not in counted:
                counted[pair] = {ITEMS: 1.0}
                for each in counting:
                    counted[pair] |= each(answer.item, pair[1])
            counts[view].append({} if pair is None else counted[pair])
    names = dict.fromkeys(name for row in counts["strict"] for name in row)
    columns = {name: place for place, name in enumerate(names)}
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(answer.item.utterance or answer.item.key, len(numbers)) for answer in answers]
    return {
        view: CountsTable(
            tuple(metric for metric in wanted if metric.official or view == "strict"),
            columns, _filled(counts[view], columns), np.array(groups, dtype=np.int64), len(numbers),
        )
        for view in VIEWS
    }  # fmt: skip


def figures_of(metrics: Sequence[Metric], sums: Sums) -> Floats:
    """The metrics of sums (..., columns): (..., metrics)."""
    return np.stack([metric.figure(sums) for metric in metrics], axis=-1)


def _filled(counts: Sequence[Mapping[str, float]], columns: Mapping[str, int]) -> Floats:
    rows = np.zeros((len(counts), len(columns)))
    for row, counted in zip(rows, counts, strict=True):
        for name, number in counted.items():
            row[columns[name]] = number
    return rows
