import json
from pathlib import Path

import pytest
from rich.console import Console
from study_folder import write_planned, write_study

from sottovoce.core.errors import UserError
from sottovoce.report.curves import Curves, study_curves
from sottovoce.report.estimates import study_samples
from sottovoce.report.html import read_report, report_html
from sottovoce.report.measures import (
    Difference,
    gap_closed,
    intent_differences,
    share_closed,
    share_unreadable,
    standard_error,
)
from sottovoce.report.results import (
    CellResult,
    StudyResults,
    read_predictions,
    read_study,
)
from sottovoce.report.table import markdown_table, terminal_table
from sottovoce.report.wording import comparison, headline, label
from sottovoce.score.metrics.registry import metric_named
from sottovoce.study.locate import gold_utterances


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", audio=False)


def cell(results: StudyResults, scheme: str) -> CellResult:
    return next(cell for cell in results.cells if cell.scheme == scheme)


def curves_of(folder: Path) -> Curves:
    results = read_study(folder)
    return study_curves(results, study_samples(results))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_gap_closed_is_the_share_of_text_onlys_loss_won_back(folder: Path) -> None:
    results = read_study(folder)
    text_only, curriculum = cell(results, "text_only"), cell(results, "curriculum")
    assert gap_closed(curriculum, text_only, "intent_accuracy") == pytest.approx((81 - 60) / (90 - 60))
    assert gap_closed(curriculum, text_only, "slu_f1") == pytest.approx((72.9 - 54) / (81 - 54))
    assert gap_closed(text_only, text_only, "slu_f1") == 0
    assert results.best is curriculum


def test_answers_with_unknown_labels_are_counted_under_the_table(folder: Path) -> None:
    assert read_study(folder).num_unknown_labels == 0
    for name, number in (("text_only", 3), ("curriculum-5pct", 4)):
        path = folder / f"cells/{name}/scores.json"
        scores = json.loads(path.read_text())
        scores["speech"]["strict"]["num_unknown_label"] = number
        path.write_text(json.dumps(scores))
    assert read_study(folder).num_unknown_labels == 7
    assert str(terminal_table(curves_of(folder)).caption).endswith("; 7 answers to speech name unknown labels")
    assert "7 answers to speech, over all cells, name an intent or a slot" in report_html(read_report(folder))


@pytest.mark.parametrize(("gap", "told"), [(0.09, False), (0.11, True)])
def test_a_share_of_a_small_gap_is_not_told(gap: float, told: bool) -> None:
    assert (share_closed(0.65, 0.6, 0.6 + gap) is not None) == told


def test_no_gap_is_nothing_to_close(folder: Path) -> None:
    path = folder / "cells/text_only/scores.json"
    scores = json.loads(path.read_text())
    path.write_text(json.dumps({"speech": scores["text"], "text": scores["speech"]}))
    results = read_study(folder)
    assert gap_closed(cell(results, "curriculum"), cell(results, "text_only"), "intent_accuracy") is None


def test_standard_error_and_share_unreadable(folder: Path) -> None:
    scores = {"intent_accuracy": 0.6, "slu_f1": 0.6, "num_scored": 100}
    assert standard_error(scores, metric_named("intent_accuracy")) == pytest.approx(0.049, abs=1e-3)
    assert 0 < (standard_error(scores | {"intent_accuracy": 1.0}, metric_named("intent_accuracy")) or 0) < 0.02
    assert standard_error(scores, metric_named("slu_f1")) is None  # no share of items
    # Of the 40 wrong answers (60 to 99) those to 63, 70, 77, 84, 91 and 98 are unreadable.
    assert share_unreadable(cell(read_study(folder), "text_only").strict("speech")) == 0.06


def test_the_difference_of_two_schemes_is_paired_by_utterance(folder: Path) -> None:
    results = read_study(folder)
    answers = {
        scheme: read_predictions(results, cell(results, scheme), "speech")
        for scheme in ("text_only", "direct_mixing", "curriculum")
    }
    gold = gold_utterances(folder)
    gain, small = intent_differences(gold, [answers["text_only"], answers["direct_mixing"]], answers["curriculum"])
    assert gain.value == pytest.approx(0.21)
    assert 0.1 < gain.low < 0.21 < gain.high < 0.31
    assert gain.distinguishable
    # Three utterances won and none lost.
    assert small.value == pytest.approx(0.03) and small.low < 0 < small.high
    assert not small.distinguishable
    (alone,) = intent_differences(gold, [answers["text_only"]], answers["curriculum"])
    assert gain.low < alone.low  # as the smaller p-value of two it is corrected, and the other is not


def test_small_differences_are_not_called_wins(folder: Path) -> None:
    results = read_study(folder)
    assert "cannot be told apart" in headline(results, Difference(0.03, -0.01, 0.07))
    assert "is worse than text-only" in headline(results, Difference(-0.2, -0.24, -0.16))
    won = headline(results, Difference(0.21, 0.13, 0.29)).replace("\u00a0", " ")
    assert won == (
        "With 20 spoken training examples, curriculum raises intent accuracy on speech from text-only’s 60.0 % "
        "to 81.0 %, closing 70 % of the gap to gold text."
    )
    assert "cannot be told apart (+0.0 points, −1.0 to +1.0)" in comparison("A", "B", Difference(0.0, -0.01, 0.01))


def test_an_unfinished_cell_keeps_its_row(folder: Path) -> None:
    (folder / "cells/curriculum-5pct/scores.json").unlink()
    write_planned(folder / "cells/direct_mixing-5pct", scheme="direct_mixing", size="5pct", budget_share=0.05)
    results = read_study(folder)
    assert [cell.name for cell in results.finished] == ["zero_shot", "text_only"]
    lines = markdown_table(curves_of(folder)).splitlines()
    assert lines[4].startswith("| Direct mixing | 5 % | unfinished |")
    assert lines[5].startswith("| Curriculum | 5 % (20 clips) | unfinished |")
    assert headline(results, None) == "No answer yet: 2 of 4 cells have scores."


def test_the_tables_tell_the_same(folder: Path) -> None:
    row = "| Curriculum | 5 % (20 clips) | 81.0 ± 3.9 | 72.9 | 89.0 ± 3.2 | 80.1 | 3.0 | 70.0 | 70.0 |"
    assert row in markdown_table(curves_of(folder))
    console = Console(width=80, record=True, file=(folder / "out").open("w"))
    console.print(terminal_table(curves_of(folder)))
    assert "Curriculum    5 % (20 clips) 81.0±3.9 72.9 89.0±3.2 80.1     3.0   70.0 70.0" in console.export_text()


def test_several_budgets_stand_in_the_names(folder: Path) -> None:
    edit(folder / "study.json", cells=["text_only", "curriculum-5pct", "curriculum-10pct"])
    write_planned(folder / "cells/curriculum-10pct", scheme="curriculum", size="10pct", budget_share=0.1)
    results = read_study(folder)
    names = [label(results, cell) for cell in results.cells]
    assert names == ["Text-only", "Curriculum 5 %", "Curriculum 10 %"]
    rows = markdown_table(curves_of(folder)).splitlines()[2:]
    assert [row.split(" |")[:2] for row in rows][1:] == [["| Curriculum", " 5 % (20 clips)"], ["| Curriculum", " 10 %"]]


def test_no_study_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a study folder"):
        read_study(tmp_path)


def test_a_cell_without_a_card_is_named_with_what_to_do(folder: Path) -> None:
    (folder / "cells/curriculum-5pct/cell.json").unlink()
    with pytest.raises(UserError, match=r"no such file: .*cells/curriculum-5pct/cell.json; rerun the study"):
        read_study(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("study.json", '{"name": "home'),
        ("study.json", "[]"),
        ("cells/text_only/scores.json", "{"),
        ("cells/text_only/cell.json", b"\xff\xfe"),
        ("cells/text_only/cell.json", '{"scheme": "telepathy"}'),
        ("cells/text_only/cell.json", '{"scheme": "text_only", "seed": "none"}'),
    ],
)
def test_a_damaged_file_is_named(folder: Path, name: str, content: str | bytes) -> None:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=name):
        read_study(folder)


def test_a_score_that_cannot_be_is_named(folder: Path) -> None:
    path = folder / "cells/text_only/scores.json"
    path.write_text(path.read_text().replace('"slu_f1": 0.54', '"slu_f1": NaN'))
    with pytest.raises(UserError, match=r"scores.json: speech: official.slu_f1"):
        read_study(folder)
