from __future__ import annotations

import json

import numpy as np
import pytest
from score_rows import answer, frame
from shared_data import SHARED, needs_shared

from sottovoce.core.types import Entity, Frame
from sottovoce.data.corpora.brackets import parse_brackets
from sottovoce.score.metrics.massive import (
    OTHER,
    is_exact_match,
    massive_counts,
    slot_counts,
    slot_tags,
    span_counts,
    tokens_of,
)
from sottovoce.score.metrics.metric import Counts, Sums
from sottovoce.score.metrics.registry import metric_named

MASSIVE = SHARED / "massive"
SAID = "wake me at five am today at five"


def tags(text: str) -> list[str]:
    """``tags("- x x")``: a dash is a token outside all slots."""
    return [OTHER if tag == "-" else tag for tag in text.split()]


def f1_of(counts: Counts) -> float:
    named = counts.named("massive_slot")
    sums = Sums({name: place for place, name in enumerate(named)}, np.array([*named.values()]))
    return float(metric_named("massive_slot_f1").figure(sums))


# The cases, and the F1 of each, of MASSIVE's own tests of its evaluation (test/test_eval_metrics.py).
@pytest.mark.parametrize(
    ("gold", "predicted", "f1"),
    [
        ("x y", "x y", 1.0),
        ("x x y", "x x z", 0.5),
        ("x x y - y", "x x y -", 0.8),  # too short: filled with tokens outside all slots
        ("x x y", "x x z z", 0.5),  # too long: cut
        ("x x - x x z y", "x x - x x y z", 0.5),
        ("x x - y y", "x x x y y", 0.5),
        ("x x - y y", "x - - y y", 0.5),
    ],
)
def test_the_repositorys_own_cases(gold: str, predicted: str, f1: float) -> None:
    assert f1_of(span_counts(tags(gold), tags(predicted))) == pytest.approx(f1)


def test_a_prediction_that_is_too_long_is_cut_before_its_spans_are_counted() -> None:
    assert span_counts(tags("x -"), tags("x - y")) == Counts(1, 0, 0)


def test_counts_are_summed_over_utterances_before_dividing() -> None:
    total = span_counts(tags("y"), tags("-")) + span_counts(tags("x"), tags("x"))
    assert (total, round(f1_of(total), 2)) == (Counts(1, 0, 1), 0.67)


def test_neighbouring_entities_of_one_slot_are_one_span() -> None:
    gold, split = frame("a b", "time:five am", "time:today"), frame("a b", "time:five am today")
    assert slot_counts(gold, split, SAID) == Counts(1, 0, 0)
    apart = frame("a b", "time:five am", "time:five")
    assert slot_counts(apart, apart, SAID) == Counts(2, 0, 0)


def test_entities_take_the_next_free_tokens_in_the_order_they_are_said() -> None:
    entities = frame("a b", "time:at five", "date:Today", "hour:five").entities
    assert slot_tags(SAID.split(), entities)[0] == tags("- - time time - date - hour")
    # Out of order the last is looked for from the start again.
    entities = frame("a b", "hour:five", "date:today", "time:five am").entities
    found, missed = slot_tags(SAID.split(), entities)
    assert found == tags("- - - hour - date - -")
    assert missed == [Entity("time", "five am")]


def test_a_filler_that_is_said_twice_is_placed_first_and_no_token_has_two_slots() -> None:
    assert slot_tags(["five", "or", "five"], frame("a b", "time:five").entities)[0] == tags("time - -")
    found, missed = slot_tags(SAID.split(), frame("a b", "time:five am", "date:am today").entities)
    assert (found, missed) == (tags("- - - time time - - -"), [Entity("date", "am today")])


@pytest.mark.parametrize("filler", ["six", "five pm", "fiv", "", "wake me at five am today at five and on"])
def test_a_filler_that_was_not_said_is_a_false_positive(filler: str) -> None:
    predicted = Frame("a", "b", (Entity("time", filler),))
    assert slot_counts(frame("a b", "time:five am"), predicted, SAID) == Counts(0, 1, 1)
    assert slot_counts(frame("a b"), predicted, SAID) == Counts(0, 1, 0)


def test_a_gold_filler_that_cannot_be_placed_is_found_by_slot_and_filler() -> None:
    gold = frame("a b", "change:increase", "time:five am")
    assert slot_counts(gold, gold, SAID) == Counts(2, 0, 0)
    assert slot_counts(gold, frame("a b", "change:decrease", "time:five am"), SAID) == Counts(1, 1, 1)


def test_no_answer_misses_every_span() -> None:
    assert slot_counts(frame("a b", "time:five am", "date:today"), None, SAID) == Counts(0, 0, 2)
    assert slot_counts(frame("a b"), None, SAID) == Counts(0, 0, 0)


def test_an_exact_match_needs_the_intent_and_every_span_and_none_too_many() -> None:
    gold = frame("a b", "time:five am")
    for predicted, right in (
        (gold, True),
        (frame("a b", "time:FIVE am"), True),  # spans are places, not spellings
        (frame("a c", "time:five am"), False),
        (frame("a b"), False),
        (frame("a b", "time:five am", "date:today"), False),
        (None, False),
    ):
        assert is_exact_match(gold, predicted, slot_counts(gold, predicted, SAID)) is right
        assert massive_counts(answer(gold, predicted, SAID).item, predicted)["massive_exact"] == right


def test_japanese_and_chinese_are_split_into_letters_and_latin_words_are_not() -> None:
    assert tokens_of("朝7時 wifi", "ja-JP") == ["朝", "7", "時", "wifi"]
    assert tokens_of("朝7時 wifi", "ko-KR") == ["朝7時", "wifi"]
    gold = frame("a b", "time:七時")
    assert slot_counts(gold, frame("a b", "time:七"), "朝七時", "ja-JP") == Counts(0, 1, 1)
    assert slot_counts(gold, gold, "朝七時", "ja-JP") == Counts(1, 0, 0)


@needs_shared
@pytest.mark.parametrize(("locale", "elsewhere"), [("en-US", 1), ("fr-FR", 1), ("de-DE", 0)])
def test_fillers_are_placed_where_the_annotation_has_them(locale: str, elsewhere: int) -> None:
    """All but one utterance of each locale, whose filler is said twice and meant the second time."""
    others = 0
    for line in (MASSIVE / f"{locale}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        expected: list[str] = []
        slot = OTHER
        parts = iter(row["annot_utt"].split())
        for part in parts:
            if part.startswith("["):
                slot = part[1:]
                next(parts)  # the colon
                continue
            expected.append(slot)
            slot = OTHER if part.endswith("]") else slot
        found, missed = slot_tags(tokens_of(row["utt"], locale), parse_brackets(row["annot_utt"], "")[1], locale)
        assert not missed
        others += found != expected
    assert others == elsewhere
