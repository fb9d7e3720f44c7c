"""What each gold item adds to every figure, as rows of numbers: what intervals, tests and breakdowns are made from.

Every figure is a quotient of two sums over items (accuracy: right answers over items; F1: 2 tp over 2 tp + fp + fn), so
sums of rows, of any items, with any weights, are all that is needed to compute it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.score.files import GoldItem
from sottovoce.score.matching import VIEWS, Answer, Pair, View
from sottovoce.score.metrics.frame import same_frame
from sottovoce.score.metrics.massive import is_exact_match, slot_counts
from sottovoce.score.metrics.slurp import char_distance, distance_counts, entity_counts, word_distance

Floats = NDArray[np.float64]

_KINDS = ("entity", "word", "char", "massive_slot")
COLUMNS = (
    *("item", "scenario", "action", "intent", "frame", "massive_exact"),
    *(f"{kind}_{part}" for kind in _KINDS for part in ("tp", "fp", "fn")),
)
_ACCURACIES = {
    "scenario_accuracy": "scenario",
    "action_accuracy": "action",
    "intent_accuracy": "intent",
    "frame_accuracy": "frame",
    "massive_exact_match": "massive_exact",
}
_F1_OF = {"entity": ("entity",), "word": ("word",), "char": ("char",), "slu": ("word", "char")} | {
    "massive_slot": ("massive_slot",)
}
FIGURES: tuple[str, ...] = (
    *_ACCURACIES,
    *(f"{name}_{figure}" for name in _F1_OF for figure in ("precision", "recall", "f1")),
)


@dataclass(frozen=True, slots=True)
class CountsTable:
    """``rows``: items x COLUMNS; ``groups``: each item's utterance as a number from 0 to ``num_utterances`` - 1.

    An item that the view skips is a row of zeros.
    """

    rows: Floats
    groups: NDArray[np.int64]
    num_utterances: int

    def per_utterance(self) -> Floats:
        """The sums of each utterance's items: utterances x COLUMNS."""
        sums = np.zeros((self.num_utterances, self.rows.shape[1]))
        np.add.at(sums, self.groups, self.rows)
        return sums

    def figures(self) -> dict[str, float]:
        """Every figure of all items (0..1), each recording counting as one."""
        return dict(zip(FIGURES, figures_of(self.rows.sum(axis=0)).tolist(), strict=True))

    def figures_per_utterance(self) -> dict[str, float]:
        """Every figure (0..1) with each utterance counting as one, however many of its recordings are scored."""
        sums = self.per_utterance()
        means = sums / np.maximum(sums[:, :1], 1.0)
        return dict(zip(FIGURES, figures_of(means.sum(axis=0)).tolist(), strict=True))


def counts_table(answers: Sequence[Answer], view: View) -> CountsTable:
    """The counts of all answers, in their order, in one view."""
    return counts_tables(answers)[view]


def counts_tables(answers: Sequence[Answer]) -> dict[View, CountsTable]:
    """The counts of all answers, in their order, in each view; what both count alike is counted once."""
    numbers: dict[str, int] = {}
    groups = np.array(
        [numbers.setdefault(answer.item.utterance or answer.item.key, len(numbers)) for answer in answers],
        dtype=np.int64,
    )
    rows: dict[View, Floats] = {view: np.zeros((len(answers), len(COLUMNS))) for view in VIEWS}
    for index, answer in enumerate(answers):
        counted: dict[Pair, list[float]] = {}
        for view in VIEWS:
            if (pair := answer.pair(view)) is not None:
                if pair not in counted:
                    counted[pair] = _counts_of(answer.item, pair)
                rows[view][index] = counted[pair]
    return {view: CountsTable(table, groups, len(numbers)) for view, table in rows.items()}


def figures_of(sums: Floats) -> Floats:
    """FIGURES of sums of rows: (..., COLUMNS) to (..., FIGURES), each 0..1; 0.0 where the denominator is 0."""
    tops, bottoms = sums @ _TOPS, sums @ _BOTTOMS
    return np.divide(tops, bottoms, out=np.zeros_like(tops), where=bottoms > 0)


def _counts_of(item: GoldItem, pair: Pair) -> list[float]:
    gold, predicted = pair
    slots = slot_counts(gold, predicted, item.transcript, item.locale)
    scenario = predicted is not None and predicted.scenario == gold.scenario
    action = predicted is not None and predicted.action == gold.action
    exact = is_exact_match(gold, predicted, slots)
    counts = [1.0, scenario, action, scenario and action, same_frame(gold, predicted), exact]
    if gold.entities or (predicted is not None and predicted.entities):
        word, char = (distance_counts([pair], distance) for distance in (word_distance, char_distance))
        for each in (entity_counts([pair]), word, char, slots):
            counts += [each.tp, each.fp, each.fn]
        return counts
    return counts + [0.0] * (len(COLUMNS) - len(counts))


def _quotients() -> tuple[Floats, Floats]:
    """How often each column counts in the numerator and in the denominator of each figure: COLUMNS x FIGURES."""
    tops, bottoms = np.zeros((2, len(COLUMNS), len(FIGURES)))
    for figure, column in _ACCURACIES.items():
        tops[COLUMNS.index(column), FIGURES.index(figure)] = 1
        bottoms[COLUMNS.index("item"), FIGURES.index(figure)] = 1
    weights = {"precision": (1, 1, 1, 0), "recall": (1, 1, 0, 1), "f1": (2, 2, 1, 1)}  # tp above; tp, fp, fn below
    for name, kinds in _F1_OF.items():
        for figure, (top, *below) in weights.items():
            place = FIGURES.index(f"{name}_{figure}")
            for kind in kinds:
                tops[COLUMNS.index(f"{kind}_tp"), place] = top
                for part, weight in zip(("tp", "fp", "fn"), below, strict=True):
                    bottoms[COLUMNS.index(f"{kind}_{part}"), place] = weight
    return tops, bottoms


_TOPS, _BOTTOMS = _quotients()
