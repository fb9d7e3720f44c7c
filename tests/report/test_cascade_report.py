"""The cascade in what is read off a study: table, figure, differences, plan, files."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from grid_folder import learning_rights, write_grid
from rich.console import Console
from study_folder import NUM_TEST, answer, gold_rows, scores, write_lines, write_study

from sottovoce.cli import main as cli
from sottovoce.plan.planner import make_plan, parse_target
from sottovoce.plan.text import plan_json, plan_sentences, plan_tables
from sottovoce.report.html import read_report, report_html, write_report
from sottovoce.report.table import markdown_table, table_rows, terminal_table

ASR = "openai/whisper-large-v3"
NAME = "Cascade (whisper-large-v3)"
SPEECH = {f"{scheme}-{size}": right for scheme, gain in (("curriculum", 0.02), ("direct_mixing", 0.0))
          for size, right in (("1pct", 0.66 + gain), ("5pct", 0.72 + gain), ("20pct", 0.78 + gain))}  # fmt: skip


def note(study: Path, cells: list[str], **facts: Any) -> None:
    """Adds facts to cells' cell.json."""
    for name in cells:
        path = study / f"cells/{name}/cell.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | facts), encoding="utf-8")


def with_cascade(folder: Path, right: int = 70) -> Path:
    """The small study with a cascade beside its four cells; ``right`` of its answers to speech are."""
    study, gold = write_study(folder), gold_rows()
    cards = {"name": "cascade", "scheme": "cascade", "asr": ASR, "word_error_rate": 0.123, "num_text_rows": 400}
    figures = {}
    for modality, number in (("speech", right), ("text", 90)):
        answers = [answer(row, place < number) for place, row in enumerate(gold)]
        write_lines(study / f"cells/cascade/predictions-{modality}.jsonl", answers)
        figures[modality] = scores(number, sum(row["status"] == "unreadable" for row in answers))
    (study / "cells/cascade/cell.json").write_text(json.dumps(cards), encoding="utf-8")
    (study / "cells/cascade/scores.json").write_text(json.dumps(figures), encoding="utf-8")
    card = json.loads((study / "study.json").read_text())
    card["cells"].insert(2, "cascade")
    (study / "study.json").write_text(json.dumps(card), encoding="utf-8")
    return study


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two schemes at three budgets, three seeds of each, and a cascade that reads 70 % right."""
    rights = learning_rights({**SPEECH, "cascade": 0.70})
    study = write_grid(tmp_path_factory.mktemp("grid") / "study", rights)
    note(study, [name for name in rights if name.startswith("cascade")], asr=ASR)
    return study


def test_the_table_has_a_row_for_the_cascade_with_the_gap_that_it_closes(tmp_path: Path) -> None:
    lines = markdown_table(read_report(with_cascade(tmp_path)).curves).splitlines()
    (row,) = (line for line in lines if NAME in line)
    # Of 60 right on speech and 90 on gold text, 70 close a third.
    assert row.startswith(f"| {NAME} | none | 70.0 ± 4.6 |") and "| 33.3 |" in row


def test_cascades_of_several_seeds_are_one_row_of_a_grid(grid: Path) -> None:
    headers, rows = table_rows(read_report(grid).curves)
    (row,) = (row for row in rows if row.columns[0] == NAME)
    assert row.columns[1:3] == ("none", "3") and len(row.columns) == len(headers)


@pytest.mark.parametrize("size", [0.0042, 0.35, 9.96, 123.4])
def test_what_an_answer_costs_has_columns_where_it_was_measured(tmp_path: Path, size: float) -> None:
    study = with_cascade(tmp_path)
    assert "Seconds" not in markdown_table(read_report(study).curves)
    assert "Cost per answer" not in report_html(read_report(study))
    note(study, ["cascade"], seconds_per_utterance=size, num_parameters=9_940_000_000)
    report = read_report(study)
    table = markdown_table(report.curves)
    assert table.splitlines()[0].endswith("| Seconds per answer | Parameters, M |")
    shown = {0.0042: "0.0042", 0.35: "0.35", 9.96: "10", 123.4: "123"}[size]
    (row,) = (line for line in table.splitlines() if NAME in line)
    assert row.endswith(f"| {shown} | 9,940 |")
    assert all(line.endswith("| – | – |") for line in table.splitlines()[2:] if NAME not in line)
    page = report_html(report)
    assert "Cost per answer" in page and ">9,940<" in page and f"{NAME}: 12.3 % word errors." in page


def test_the_files_have_the_recogniser_and_the_costs_only_where_there_are_any(tmp_path: Path) -> None:
    study = with_cascade(tmp_path / "with")
    note(study, ["cascade", "text_only"], seconds_per_utterance=0.5, num_parameters=7)
    plain = write_study(tmp_path / "without")
    for folder in (study, plain):
        write_report(read_report(folder))
    rows = list(csv.DictReader((study / "report.csv").open()))
    facts = {(row["cell"], row["asr"], row["word_error_rate"], row["num_parameters"]) for row in rows}
    assert {("cascade", ASR, "0.123", "7"), ("text_only", "", "", "7"), ("zero_shot", "", "", "")} <= facts
    cells = {cell["cell"]: cell for cell in json.loads((study / "report.json").read_text())["cells"]}
    assert (cells["cascade"]["asr"], cells["cascade"]["seconds_per_utterance"]) == (ASR, 0.5)
    assert "asr" not in (plain / "report.csv").read_text()
    assert "num_parameters" not in (plain / "report.json").read_text()


def test_a_recogniser_s_folder_is_not_told(tmp_path: Path) -> None:
    study = with_cascade(tmp_path)
    note(study, ["cascade"], asr="/home/someone/models/own-asr")
    write_report(read_report(study))
    for name in ("html", "csv", "json", "md", "tex"):
        content = (study / f"report.{name}").read_text()
        assert "own-asr" in content and "someone" not in content


def test_the_terminal_table_fits_eighty_columns_with_costs(tmp_path: Path) -> None:
    study = with_cascade(tmp_path)
    note(study, ["cascade"], seconds_per_utterance=0.5, num_parameters=7)
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    console.print(terminal_table(read_report(study).curves))
    told = console.export_text()
    assert "Cascade" in told and "Parameters" not in told


def test_the_best_has_training_speech_and_is_compared_to_the_cascade(tmp_path: Path) -> None:
    report = read_report(with_cascade(tmp_path, right=NUM_TEST))
    assert report.answer is not None
    assert report.answer.label == "Curriculum"  # though the cascade is better
    assert f"Curriculum is worse than {NAME.lower()} (−19.0 points, −27.8 to −9.4)." in report.answer.notes


def test_a_study_without_training_speech_sets_the_cascade_beside_text_only(tmp_path: Path) -> None:
    study = with_cascade(tmp_path)
    card = json.loads((study / "study.json").read_text())
    cells = card["cells"]
    for kept, headline in (
        (["text_only", "cascade"], f"{NAME} and text-only cannot be told apart."),
        (["text_only"], "This study has no scheme with training speech to compare with text-only."),
    ):
        card["cells"] = kept
        (study / "study.json").write_text(json.dumps(card))
        assert read_report(study).headline == headline
    (study / "cells/cascade/scores.json").unlink()
    card["cells"] = cells[1:3]
    (study / "study.json").write_text(json.dumps(card))
    assert read_report(study).headline == "No answer yet: 1 of 2 cells have scores."


def test_differences_are_paired_with_the_cascade_at_every_budget(grid: Path) -> None:
    report = read_report(grid)
    pairs = [(each.first, each.second, each.size) for each in report.comparisons]
    assert [pair for pair in pairs if "cascade" in pair] == [
        *(("curriculum", "cascade", size) for size in ("1pct", "5pct", "20pct")),
        *(("direct_mixing", "cascade", size) for size in ("1pct", "5pct", "20pct")),
        ("cascade", "text_only", ""),
    ]
    found = dict(zip(pairs, report.comparisons, strict=True))
    gain = found["curriculum", "cascade", "20pct"].figures[0]
    assert round(gain.mean, 6) == 0.10 and gain.num_seeds == 3
    page = report_html(report)
    assert f"{NAME} − text-only" in page and f"Curriculum − {NAME.lower()}" in page
    assert f"{NAME} and text-only cannot be told apart." in page


def test_the_curves_have_the_cascade_as_a_level(grid: Path) -> None:
    write_report(read_report(grid))
    assert NAME in (grid / "figure.svg").read_text()


def test_the_plan_says_what_the_cascade_reaches_without_training_speech(grid: Path) -> None:
    targets = [parse_target(text) for text in ("intent_accuracy=0.5", "intent_accuracy=0.7", "intent_accuracy=0.9")]
    plan = make_plan(grid, targets)
    assert "cascade" not in {curve.scheme for curve in plan.curves}
    told = [line for line in plan_sentences(plan) if line.startswith(NAME)]
    assert [line.partition(", at 70.0 % (")[0] for line in told] == [
        f"{NAME}, intent accuracy 50.0 %: reached without training speech",
        f"{NAME}, intent accuracy 70.0 %: it is unclear whether it is reached without training speech",
        f"{NAME}, intent accuracy 90.0 %: not reached without training speech",
    ]
    levels = plan_json(plan)["levels"]
    assert [round(level["score"]["value"], 3) for level in levels] == [0.7] * 3
    console = Console(width=100, record=True, file=(grid / "out").open("w"))
    console.print(*plan_tables(plan))
    assert "none: 70.0 %" in console.export_text()


def test_compare_takes_its_predictions_as_any_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = with_cascade(tmp_path)
    systems = [str(study / f"cells/{name}/predictions-speech.jsonl") for name in ("text_only", "cascade")]
    monkeypatch.setattr("sys.argv", ["sottovoce", "compare", *systems, "--gold", str(study / "gold.jsonl"), "--json"])
    cli.main()
    (found,) = json.loads(capsys.readouterr().out)["pairs"]
    assert round(abs(found["figures"]["intent_accuracy"]["difference"]), 6) == 0.1
