"""Answers with labels that training did not have: the unknown ones are wrong, the others count, and all are counted."""

from __future__ import annotations

from pathlib import Path

from score_rows import answer, frame, manifest_row, matched, prediction_row, write_rows

from sottovoce.score.breakdown import confusions
from sottovoce.score.confidences import judged_answers
from sottovoce.score.counts import counts_tables
from sottovoce.score.evaluate import score, score_answers
from sottovoce.score.files import read_gold, read_predictions
from sottovoce.score.tables import score_table

GOLD = frame("alarm set", "time:noon")


def test_an_unknown_intent_is_wrong_and_an_unknown_slot_a_false_entity() -> None:
    predicted = [frame("siren set", "time:noon"), frame("alarm set", "hour:noon"), GOLD, None]
    answers = matched([GOLD] * 4, predicted, "unknown_label")
    strict = score_answers(answers, counts_tables(answers.all))["strict"]
    assert strict["num_unknown_label"] == 3 and strict["num_missing"] == 1 and strict["num_scored"] == 4
    assert (strict["intent_accuracy"], strict["action_accuracy"], strict["frame_accuracy"]) == (0.5, 0.75, 0.25)
    assert (strict["entity_precision"], strict["entity_recall"]) == (2 / 3, 0.5)


def test_a_file_s_rows_are_counted_and_shown(tmp_path: Path) -> None:
    gold = write_rows(tmp_path / "gold.jsonl", manifest_row(1), manifest_row(2))
    rows = prediction_row(1), prediction_row(2, scenario="siren", status="unknown_label")
    predictions = read_predictions(write_rows(tmp_path / "answers.jsonl", *rows))
    assert [row.status for row in predictions] == ["ok", "unknown_label"]
    scores = score(read_gold(gold), predictions)
    assert {view: figures["num_unknown_label"] for view, figures in scores.items()} == {"official": 1, "strict": 1}
    assert "num unknown label" in [str(cell) for cell in score_table(scores).columns[0].cells]
    assert "num_unknown_label" not in score(read_gold(gold), predictions[:1])["strict"]


def test_confusions_name_the_unknown_intent() -> None:
    (row,) = confusions([answer(GOLD, frame("siren set"), status="unknown_label")])
    assert (row["gold"], row["predicted"]) == ("alarm_set", "siren_set")


def test_a_known_intent_beside_an_unknown_slot_is_right_by_its_confidence() -> None:
    known = answer(GOLD, frame("alarm set", "hour:noon"), status="unknown_label")
    judged = judged_answers([type(known)(known.item, known.status, known.frame, 0.9)])
    assert judged is not None and judged.right.tolist() == [1.0]
