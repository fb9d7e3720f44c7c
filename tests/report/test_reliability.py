"""What reports say of confidences: nothing where there are none; else a diagram, a table and figures in the files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from grid_folder import learning_rights, write_grid
from study_folder import gold_rows, write_lines, write_study

from sottovoce.report.html import read_report, report_html, write_report
from sottovoce.report.wording import percent
from sottovoce.score.calibration import calibration_errors
from sottovoce.score.confidences import judged_answers
from sottovoce.score.evaluate import read_answers
from sottovoce.score.files import read_gold


def with_confidences(folder: Path, cells: str = "*") -> Path:
    """Gives every answer of these cells a confidence: right ones mostly a high one."""
    gold = {row["id"]: row for row in map(json.loads, (folder / "gold.jsonl").read_text().splitlines())}
    for path in folder.glob(f"cells/{cells}/predictions-*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for number, row in enumerate(rows):
            truth = gold[row["id"]]
            right = (row["scenario"], row["action"]) == (truth["scenario"], truth["action"])
            row["confidence"] = 0.0 if row["status"] == "unreadable" else (0.5 if right else 0.2) + number % 50 / 100
        write_lines(path, rows)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = with_confidences(write_study(tmp_path_factory.mktemp("study"), audio=False))
    write_report(read_report(folder))
    return folder


def ece_of(folder: Path, cell: str, modality: str) -> float:
    answers = read_answers(
        folder / f"cells/{cell}/predictions-{modality}.jsonl", read_gold(folder / "gold.jsonl"), lambda line: None
    )
    judged = judged_answers(answers.all)
    assert judged is not None
    return calibration_errors(judged)[0]


def test_without_confidences_nothing_is_shown(tmp_path: Path) -> None:
    folder = write_study(tmp_path, audio=False)
    page = write_report(read_report(folder)).read_text(encoding="utf-8")
    assert "confidence" not in page and "ECE" not in page
    assert "ece" not in (folder / "report.csv").read_text().splitlines()[0].split(",")
    assert "calibration" not in (folder / "report.json").read_text()


def test_the_best_cell_is_drawn_with_its_errors_in_caption_and_table(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="confidence">') :]
    section = section[: section.index("</section>")]
    speech, text = (percent(ece_of(folder, "curriculum-5pct", each)) for each in ("speech", "text"))
    caption = section[section.index("<figcaption>") : section.index("</figcaption>")]
    assert f"{speech}\u00a0% on speech and {text}\u00a0% on gold text" in caption
    assert section.count("<svg ") == 2 and "Gold text: ECE" in section
    rows = section.split("<tr")[2:]
    assert len([row for row in rows if "Curriculum" in row and 'class="best"' in row]) == 2
    assert any(f"{speech} [" in row for row in rows)
    others = section[section.index("<details>") :]
    assert "The other schemes" in others and "Direct mixing" in others and "Curriculum" not in others


def test_figures_of_one_page_do_not_share_ids(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    sets = [{part.split('"')[0] for part in svg.split('<clipPath id="')[1:]} for svg in page.split("<svg ")[1:]]
    assert len(sets) == 4 and sum(map(len, sets)) == len(set.union(*sets))


def test_csv_and_json_have_the_errors(folder: Path) -> None:
    rows = {(row["cell"], row["input"]): row for row in csv.DictReader((folder / "report.csv").open(encoding="utf-8"))}
    ece = ece_of(folder, "text_only", "speech")
    assert float(rows["text_only", "speech"]["ece"]) == pytest.approx(ece)
    cells = {cell["cell"]: cell for cell in json.loads((folder / "report.json").read_text())["cells"]}
    found = cells["text_only"]["calibration"]["speech"]
    assert found["ece"] == pytest.approx(ece)
    assert sum(each["number"] for each in found["bins"]) == len(gold_rows())


def test_where_the_best_has_none_the_best_that_has_is_drawn(tmp_path: Path) -> None:
    folder = with_confidences(write_study(tmp_path, audio=False), "direct*")
    page = report_html(read_report(folder))
    assert "Shown: direct mixing." in page
    assert "The other schemes" not in page
    (folder / "cells/direct_mixing-5pct/scores.json").unlink()  # unfinished cells are left out
    assert 'id="confidence"' not in report_html(read_report(folder))


def test_a_grid_shows_its_best_cell_by_name(tmp_path: Path) -> None:
    rights = learning_rights({"curriculum-5pct": 0.8, "curriculum-10pct": 0.85}, num_seeds=2)
    page = report_html(read_report(with_confidences(write_grid(tmp_path, rights))))
    assert "Shown: curriculum 10 %, seed 1." in page
    assert "The other cells" in page
