"""False accepts and false rejects, and how the other figures see items without an intent."""

from __future__ import annotations

from pathlib import Path

import pytest
from score_rows import frame, manifest_row, matched, prediction_row, write_rows

from sottovoce.core.types import Frame
from sottovoce.score.counts import counts_table
from sottovoce.score.evaluate import score
from sottovoce.score.files import read_gold, read_predictions

SET, NOISE, OTHER = frame("alarm set"), Frame("no_speech", ""), Frame("out_of_scope", "")


def rates(gold: list[Frame], predicted: list[Frame | None]) -> tuple[float, float]:
    figures = counts_table(matched(gold, predicted).all, "strict").figures()
    return figures["false_accept_rate"], figures["false_reject_rate"]


def test_by_hand() -> None:
    gold = [SET, SET, SET, SET, NOISE, OTHER, OTHER]
    predicted = [SET, frame("alarm query"), OTHER, None, SET, NOISE, None]
    # Of three items without an intent one was given one; of four with one, one was rejected and one not answered.
    assert rates(gold, predicted) == (pytest.approx(1 / 3), pytest.approx(1 / 2))


def test_a_wrong_intent_is_no_false_reject_and_the_wrong_rejection_no_false_accept() -> None:
    assert rates([SET, NOISE], [frame("alarm query"), OTHER]) == (0, 0)
    intents = counts_table(matched([SET, NOISE], [frame("alarm query"), OTHER]).all, "strict").figures()
    assert intents["intent_accuracy"] == 0


def test_with_nothing_to_count_they_are_0() -> None:
    assert rates([SET], [SET]) == rates([NOISE], [NOISE]) == (0, 0)


def test_rows_say_so_by_their_status_alone_and_only_strict_scores_have_the_rates(tmp_path: Path) -> None:
    labels = ("scenario", "action", "entities")
    silent = {key: value for key, value in manifest_row(2).items() if key not in labels}
    silent |= {"transcript": "", "audio": "2.wav", "intent": "no_speech"}
    other = {key: value for key, value in manifest_row(3).items() if key not in labels} | {"intent": "out_of_scope"}
    gold = read_gold(write_rows(tmp_path / "gold.jsonl", manifest_row(1), silent, other))
    empty = {"scenario": "", "action": "", "entities": []}
    rows = write_rows(
        tmp_path / "rows.jsonl",
        {"id": "u1", "status": "no_speech"} | empty,
        {"id": "u2", "status": "no_speech"},
        prediction_row(3),
    )
    scores = score(gold, read_predictions(rows))
    strict = scores["strict"]
    assert (strict["false_accept_rate"], strict["false_reject_rate"]) == (0.5, 1.0)
    assert (strict["intent_accuracy"], strict["num_no_speech"]) == (pytest.approx(1 / 3), 2)
    assert "num_out_of_scope" not in strict and "false_accept_rate" not in scores["official"]
