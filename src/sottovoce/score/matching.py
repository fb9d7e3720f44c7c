"""Matches predictions to gold items. Rows may come from a generator: only frame and confidence are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from sottovoce.core.errors import UserError
from sottovoce.core.types import ANSWERED, Frame, RowStatus
from sottovoce.score.files import Gold, GoldItem, KeyKind, PredictionRow

ItemStatus = Literal[RowStatus, "missing", "duplicate"]
View = Literal["official", "strict"]
Pair = tuple[Frame, Frame | None]
"""A gold frame and the predicted one; None means no answer: every label is wrong and every gold entity missed."""

VIEWS: tuple[View, ...] = ("official", "strict")


@dataclass(frozen=True, slots=True)
class Answer:
    """A gold item and its answer. ``frame`` and ``confidence`` are the last row's, whatever its status; None if there
    is no row."""

    item: GoldItem
    status: ItemStatus
    frame: Frame | None
    confidence: float | None = None

    @property
    def given(self) -> Frame | None:
        """What was answered as far as it counts in the strict view: None if missing, unreadable, repeated, withheld."""
        return self.frame if self.status in ANSWERED else None

    def pair(self, view: View) -> Pair | None:
        """Gold and predicted frame in a view; None if the view skips the item."""
        if view == "strict":
            return self.item.frame, self.given
        return None if self.frame is None else (self.item.frame, self.frame)


@dataclass(frozen=True, slots=True)
class Answers:
    """All gold items in the gold file's order, with their answers.

    ``num_unknown`` counts the rows that answer no gold item. ``first_unknown`` describes the first of them and
    ``first_duplicate`` the first row that answers an item again, each "" if there is none.
    """

    kind: KeyKind
    all: list[Answer] = field(repr=False)
    num_rows: int
    num_unknown: int
    first_unknown: str
    first_duplicate: str


def same_intent(gold: Frame, predicted: Frame | None) -> bool:
    """Whether scenario and action are both right."""
    return predicted is not None and (predicted.scenario, predicted.action) == (gold.scenario, gold.action)


def match_answers(gold: Gold, predictions: Iterable[PredictionRow]) -> Answers:
    """Finds the answer to each gold item. Memory grows with the gold file, not with the predictions.

    Raises:
        UserError: the rows have several kinds of keys, or gold has no items, or duplicate ones, of that kind.
    """
    kind: KeyKind = "id"
    items: dict[str, GoldItem] | None = None
    found: dict[str, tuple[ItemStatus, Frame, float | None]] = {}
    num_rows = num_unknown = 0
    first_unknown = first_duplicate = ""
    for row in predictions:
        if items is None:
            kind, items = row.kind, gold.items(row.kind)
        if row.kind != kind:
            raise UserError(f"{row.where}: keyed by {row.kind}, the rows above by {kind}", "use one key in all rows")
        num_rows += 1
        if row.key not in items:
            num_unknown += 1
            first_unknown = first_unknown or f"{row.where}: {kind} {row.key!r} is not in {gold.path}"
        elif row.key in found:
            found[row.key] = "duplicate", row.frame, row.confidence
            first_duplicate = first_duplicate or f"{row.where}: {kind} {row.key!r} is answered a second time"
        else:
            found[row.key] = row.status, row.frame, row.confidence
    missing: tuple[ItemStatus, None] = "missing", None
    items = gold.items(kind) if items is None else items
    answers = [Answer(item, *found.get(key, missing)) for key, item in items.items()]
    return Answers(kind, answers, num_rows, num_unknown, first_unknown, first_duplicate)
