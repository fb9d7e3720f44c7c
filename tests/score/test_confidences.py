"""Confidences from prediction files to `sottovoce score`, and which answers are judged by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from score_rows import manifest_row, prediction_row, write_rows

from sottovoce.core.errors import UserError
from sottovoce.score.confidences import by_confidence, judged_answers
from sottovoce.score.evaluate import read_answers, score_report
from sottovoce.score.files import read_gold, read_predictions, stream_predictions, write_predictions
from sottovoce.score.matching import match_answers

UNREADABLE = {"scenario": "", "action": "", "entities": []}


def silent(line: str) -> None:
    """Takes what is said to the user."""


def report_of(tmp_path: Path, *rows: dict[str, Any], target: float | None = None) -> dict[str, Any]:
    gold = write_rows(tmp_path / "gold.jsonl", *map(manifest_row, range(6)))
    predictions = write_rows(tmp_path / "predictions.jsonl", *rows)
    return score_report(read_answers(predictions, read_gold(gold), silent), target_accuracy=target)


def test_a_confidence_is_read_and_written_where_there_is_one(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", prediction_row(0, confidence=0.93), prediction_row(1, confidence=None))
    rows = read_predictions(path)
    assert [row.confidence for row in rows] == [0.93, None]
    write_predictions(rows, tmp_path / "b.jsonl")
    assert read_predictions(tmp_path / "b.jsonl") == rows
    assert ["confidence" in json.loads(line) for line in (tmp_path / "b.jsonl").open()] == [True, False]


@pytest.mark.parametrize("value", ["1.2", "-0.1", "NaN", '"0.5"', "true"])
def test_what_is_no_confidence_is_refused_by_its_line(tmp_path: Path, value: str) -> None:
    row = json.dumps(prediction_row(0))[:-1] + f', "confidence": {value}}}'
    path = write_rows(tmp_path / "a.jsonl", prediction_row(1, confidence=1), row)
    with pytest.raises(UserError, match=r"a\.jsonl:2: confidence"):
        read_predictions(path)


def test_which_answers_are_judged_and_how(tmp_path: Path) -> None:
    gold = read_gold(write_rows(tmp_path / "gold.jsonl", *map(manifest_row, range(8))))
    predictions = write_rows(
        tmp_path / "predictions.jsonl",
        prediction_row(0, confidence=0.9, entities=[]),  # the intent is right, whatever the entities
        prediction_row(1, confidence=0.8, action="stop"),
        prediction_row(2, confidence=0.3, status="abstained"),  # judged by what it would have answered
        {"id": "u3", **UNREADABLE, "status": "unreadable", "confidence": 0},
        {"id": "u4", "status": "unreadable_input", "confidence": None},
        prediction_row(5),
        prediction_row(6, confidence=0.5),
        prediction_row(6, confidence=0.6),  # twice; and u7 never
    )
    answers = match_answers(gold, stream_predictions(predictions))
    judged = judged_answers(answers.all)
    assert judged is not None
    assert judged.confidence.tolist() == [0.9, 0.8, 0.3, 0.0]
    assert judged.right.tolist() == [1, 0, 1, 0]
    assert len(set(judged.groups.tolist())) == 4
    assert judged.num_without == 2
    assert judged_answers([each for each in answers.all if each.confidence is None]) is None
    confidence, right = by_confidence(judged)
    assert (confidence.tolist(), right.tolist()) == ([0.0, 0.3, 0.8, 0.9], [0, 1, 0, 1])


def test_what_is_withheld_or_not_heard_is_wrong_strictly_and_counted_where_there_is_any(tmp_path: Path) -> None:
    unheard = {"id": "u2", "status": "unreadable_input"}
    scores = report_of(tmp_path, prediction_row(0), prediction_row(1, status="abstained"), unheard)
    assert scores["strict"]["intent_accuracy"] == pytest.approx(1 / 6)
    assert scores["official"]["intent_accuracy"] == pytest.approx(2 / 3)  # SLURP's scorer knows no status
    for view in ("official", "strict"):
        assert (scores[view]["num_abstained"], scores[view]["num_unreadable_input"]) == (1, 1)
        assert (scores[view]["num_unreadable"], scores[view]["num_missing"]) == (0, 3)
    assert "num_abstained" not in report_of(tmp_path, prediction_row(0))["strict"]


def test_a_report_has_calibration_where_there_are_confidences(tmp_path: Path) -> None:
    assert "calibration" not in report_of(tmp_path, prediction_row(0))
    rows = [prediction_row(n, confidence=0.95 - n / 10, action="set" if n < 4 else "stop") for n in range(6)]
    report = report_of(tmp_path, *rows, target=1.0)
    found = report["calibration"]
    assert (found["number"], found["accuracy"]) == (6, pytest.approx(4 / 6))
    assert found["ece"] == pytest.approx((0.05 + 0.15 + 0.25 + 0.35 + 0.55 + 0.45) / 6)
    assert report["abstain"] == {
        "target_accuracy": 1.0, "threshold": 0.6, "number": 4, "share": pytest.approx(4 / 6), "accuracy": 1.0,
        "accuracy_interval": report["abstain"]["accuracy_interval"],
        "false_accept_rate": 0.0, "false_reject_rate": pytest.approx(2 / 6),
    }  # fmt: skip
    json.dumps(report, allow_nan=False)


def test_a_threshold_chosen_on_dev_is_only_tested_on_the_others(tmp_path: Path) -> None:
    """On dev 0.6 is needed; the same rows as test alone would need 0.8."""
    labels = ("scenario", "action", "entities")
    unwanted = {key: value for key, value in manifest_row(3).items() if key not in labels} | {"intent": "out_of_scope"}
    gold = [*map(manifest_row, range(3)), unwanted, *(manifest_row(n, split="dev") for n in range(4, 7))]
    path = write_rows(tmp_path / "gold.jsonl", *gold)
    dev = [prediction_row(n, confidence=0.6 if n < 6 else 0.5, action="set" if n < 6 else "stop") for n in range(4, 7)]
    test = [prediction_row(n, confidence=c) for n, c in enumerate((0.9, 0.8, 0.3, 0.7))]
    answers, on_dev = (
        read_answers(write_rows(tmp_path / f"{split}.jsonl", *rows), read_gold(path, split), silent)
        for split, rows in (("test", test), ("dev", dev))
    )
    found = score_report(answers, target_accuracy=1.0, dev=on_dev)["abstain"]
    assert (found["threshold"], found["dev"]["number"], found["dev"]["accuracy"]) == (0.6, 2, 1.0)
    assert (found["number"], found["accuracy"]) == (3, pytest.approx(2 / 3))
    assert (found["false_accept_rate"], found["false_reject_rate"]) == (1.0, pytest.approx(1 / 3))
    alone = score_report(answers, target_accuracy=1.0)["abstain"]
    assert (alone["threshold"], alone["false_accept_rate"]) == (0.8, 0.0)
    with pytest.raises(UserError, match="no target accuracy"):
        score_report(answers, dev=on_dev)
    with pytest.raises(UserError, match="the dev predictions have no confidences"):
        bare = write_rows(tmp_path / "bare.jsonl", prediction_row(4))
        score_report(answers, target_accuracy=1.0, dev=read_answers(bare, read_gold(path, "dev"), silent))


def test_a_target_without_confidences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no confidences; make them with `sottovoce decode RUN --confidence`"):
        report_of(tmp_path, prediction_row(0), target=0.9)
