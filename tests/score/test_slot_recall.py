from __future__ import annotations

import numpy as np
import pytest
from score_rows import answer, frame

from sottovoce.core.types import Frame
from sottovoce.score.counts import CountsTable, counts_table, counts_tables

KEY = "entity_recall_by_slot"


def table(*pairs: tuple[Frame, Frame | None]) -> CountsTable:
    return counts_table([answer(gold, predicted, str(n)) for n, (gold, predicted) in enumerate(pairs)], "strict")


def test_a_rare_slot_weighs_as_much_as_a_common_one() -> None:
    gold = frame("a b", "time:five")
    figures = table((gold, gold), (gold, frame("a b", "time:six")), (gold, None), (frame("a b", "room:hall"),) * 2)
    assert figures.figures()["entity_recall"] == 2 / 4
    assert figures.figures()[KEY] == pytest.approx((1 / 3 + 1 / 1) / 2)


def test_an_entity_is_found_as_often_as_it_is_answered_and_only_with_slot_and_filler() -> None:
    gold = frame("a b", "level:ten", "level:ten", "room:hall")
    assert table((gold, frame("a b", "level:ten", "room:Hall"))).figures()[KEY] == (1 / 2 + 0) / 2
    assert table((gold, frame("x y", "room:ten", "level:ten", "level:ten", "level:ten"))).figures()[KEY] == 1 / 2


def test_slots_that_gold_lacks_do_not_count_and_without_entities_it_is_0() -> None:
    gold = frame("a b", "room:hall")
    assert table((gold, frame("a b", "room:hall", "time:five"))).figures()[KEY] == 1.0
    assert table((frame("a b"), frame("a b", "time:five"))).figures()[KEY] == 0.0


def test_a_resample_averages_over_the_slots_that_it_has_drawn() -> None:
    time, room = frame("a b", "time:five"), frame("a b", "room:hall")
    counts = table((time, time), (room, None), (frame("a b"), frame("a b")))
    weights = np.array([[1, 1, 1], [3, 0, 0], [0, 2, 1], [0, 0, 3]], dtype=np.float64)
    drawn = counts.figures_of(weights @ counts.per_utterance())
    place = [metric.key for metric in counts.metrics].index(KEY)
    assert drawn[:, place].tolist() == [1 / 2, 1.0, 0.0, 0.0]


def test_no_official_scorer_prints_it_so_it_is_strict_only() -> None:
    official, strict = counts_tables([answer(frame("a b", "t:x"), frame("a b", "t:x"))]).values()
    assert KEY in strict.figures() and KEY not in official.figures()
