"""What a report says of dev: which cell it chooses, and how training went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from study_folder import write_study

from sottovoce.core.errors import UserError
from sottovoce.report.html import read_report, report_html

HISTORY = [
    {"step": 5, "loss": 2.5, "learning_rate": 1e-3}, {"step": 10, "loss": 0.5},
    {"step": 10, "eval_intent_accuracy": 0.7, "eval_slu_f1": 0.6, "eval_loss": 0.4},
]  # fmt: skip


def note(folder: Path, name: str, **facts: Any) -> None:
    path = folder / "cells" / name / "cell.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def dev(metric: str = "intent_accuracy", **scores: float) -> dict[str, Any]:
    fixed = {"modality": "speech", "num_utterances": 40, "metric": metric, "step": 10, "num_steps": 20}
    return fixed | {"intent_accuracy": 0.5, "slu_f1": 0.5, "loss": 1.0} | scores


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path, audio=False)


def test_the_best_on_dev_is_named_with_its_test_score(study: Path) -> None:
    note(study, "text_only", dev=dev(intent_accuracy=0.8))
    note(study, "curriculum-5pct", dev=dev(intent_accuracy=0.75))  # the best on test
    said = read_report(study).chosen_on_dev
    assert said.startswith("Chosen on dev: Text-only, with the best intent accuracy (80.0 %) on 40 dev recordings.")
    assert "intent accuracy 60.0 %" in said and "81.0" not in said
    assert said.replace(" %", "\u00a0%") in report_html(read_report(study))


def test_the_lowest_loss_is_the_best(study: Path) -> None:
    note(study, "text_only", dev=dev("loss", loss=0.9))
    note(study, "direct_mixing-5pct", dev=dev("loss", loss=0.3))
    said = read_report(study).chosen_on_dev
    assert "Direct mixing" in said and "the best loss (0.300 nats a token)" in said


def test_one_cell_is_no_choice(study: Path) -> None:
    assert not read_report(study).chosen_on_dev
    note(study, "text_only", dev=dev())
    assert not read_report(study).chosen_on_dev


def test_training_is_drawn_where_it_was_kept(study: Path) -> None:
    assert "How training went" not in report_html(read_report(study))
    note(study, "text_only", stages=["text-1"])
    note(study, "curriculum-5pct", stages=["text-1", "text+speech-2"])
    for key in ("text-1", "text+speech-2"):
        (study / "stages" / key).mkdir(parents=True)
        (study / "stages" / key / "history.json").write_text(json.dumps(HISTORY))
    page = report_html(read_report(study))
    assert "How training went" in page and "dev intent accuracy" in page
    assert page.count("text_only: text") == 2  # the shared stage once in each of the two figures
    assert "curriculum-5pct: text+speech" in page


@pytest.mark.parametrize("damaged", ["", "[1]", '[{"step": 1, "loss": "x"}]', '[{"loss": 1}]'])
def test_a_damaged_history_is_named(study: Path, damaged: str) -> None:
    note(study, "text_only", stages=["text-1"])
    (study / "stages/text-1").mkdir(parents=True)
    (study / "stages/text-1/history.json").write_text(damaged)
    with pytest.raises(UserError, match=r"history\.json"):
        report_html(read_report(study))
