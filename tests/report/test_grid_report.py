"""The report of a study of several budgets, seeds and mixtures, from its files."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from cell_names import cell_named
from grid_folder import write_grid
from made_curves import made_curves
from study_folder import write_planned

from sottovoce.report.cost import study_cost
from sottovoce.report.figures.figure import figure_svg
from sottovoce.report.html import read_report, report_html, write_report
from sottovoce.report.results import StudyResults
from sottovoce.report.table import latex_table, table_rows
from sottovoce.study import workspace as opening

SCRIPT = "<script>alert('heard')</script>"


def rights() -> dict[str, tuple[float, float]]:
    cells = {"zero_shot": (0.11, 0.15)}
    for seed in ("", "-seed1"):
        shares = {"text_only": 0.6, "direct_mixing-2pct": 0.66, "direct_mixing-50pct": 0.9}
        shares |= {"curriculum-2pct": 0.78, "curriculum-50pct": 0.91}
        cells |= {f"{name}{seed}": (share, 0.95) for name, share in shares.items()}
    return cells


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_grid(tmp_path_factory.mktemp("grid") / "study", rights(), num_test=120, audio=True)
    write_report(read_report(folder))
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "study"))


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_page_says_what_speech_brings_and_which_schemes_differ(page: str) -> None:
    assert (
        "<h1>With 50\u00a0% speech (1000 clips), curriculum raises intent accuracy on speech from text-only’s "
        "60.0\u00a0% to 90.8\u00a0%; 18.3 of the 30.8 points come from the first 2\u00a0%.</h1>"
    ) in page
    assert "Curriculum is better than direct mixing at 2\u00a0% speech; at 50\u00a0% they cannot be told apart." in page
    assert page.count('class="verdict ') == 3
    assert "The other 0" not in page and "Unfinished" not in page and 'http-equiv="refresh"' not in page
    assert page.count('src="data:audio/flac;base64,') == 16


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert not re.search(r"https?://", page)
    assert all(target.startswith(("data:", "#")) for target in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert {"#differences"} < set(re.findall(r'href="(#[^"]*)"', page)) and 'id="differences"' in page


def test_every_cell_tells_its_provenance(page: str) -> None:
    for name in rights():
        assert f"<code>cells/{name}</code>" in page
    assert page.count("<code>aaaaaaaaaaaa</code>") == len(rights())
    assert "sha256 <code>" + "a" * 64 in page


def test_the_table_has_a_row_a_point(folder: Path) -> None:
    headers, rows = table_rows(read_report(folder).curves)
    assert headers[2] == "Seeds"
    assert [row.columns[:3] for row in rows][1:4] == [
        ("Text-only", "none", "2"),
        ("Direct mixing", "2 % (40 clips)", "2"),
        ("Direct mixing", "50 % (1000 clips)", "2"),
    ]
    assert len(rows) == 6
    assert len((folder / "report.md").read_text().splitlines()) == 8
    with (folder / "report.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * len(rights())
    last = lines[-2]
    told = [last[key] for key in ("cell", "seed", "num_clips", "speech_seconds")]
    assert told == ["curriculum-50pct-seed1", "1", "1000", "2500.0"]
    assert (last["model_name"], last["sources"], last["failed"]) == ("embedded", "", "")


def test_json_has_what_the_page_says(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    line = next(line for line in report["lines"] if line["scheme"] == "curriculum")
    point = line["points"][0]
    assert point["cells"] == ["cells/curriculum-2pct", "cells/curriculum-2pct-seed1"]
    assert (point["share"], point["num_clips"], point["speech_seconds"]) == (0.02, 40, 100.0)
    intent = point["speech"]["intent_accuracy"]
    assert intent["num_seeds"] == 2 and intent["low"] < intent["mean"] < intent["high"]
    scores = [json.loads((folder / cell / "scores.json").read_text())["speech"]["strict"] for cell in point["cells"]]
    for metric in ("intent_accuracy", "slu_f1"):
        assert point["speech"][metric]["mean"] == pytest.approx(sum(score[metric] for score in scores) / 2)
    assert report["differences"][0]["first_minus_second"]["intent_accuracy"]["better"] == "curriculum"
    assert [finding["verdict"] for finding in report["findings"]][1] == "seen"
    assert {cell["state"] for cell in report["cells"]} == {"finished"}


def test_latex_is_escaped(folder: Path, copy: Path) -> None:
    table = (folder / "report.tex").read_text()
    assert r"Curriculum & 2 \% (40 clips) & 2 & 78.3 $\pm$ " in table
    assert table.count(r"\\") == 7 and r"\toprule" in table
    edit(copy / "study.json", title=r"a_b & {c} 5 % \input{x} $y^2$ ~#")
    escaped = latex_table(read_report(copy).curves)
    assert r"a\_b \& \{c\} 5 \% \textbackslash{}input\{x\} \$y\textasciicircum{}2\$ \textasciitilde{}\#" in escaped


def test_hostile_text_is_escaped(copy: Path) -> None:
    edit(copy / "study.json", title=SCRIPT, corpus=f"home {SCRIPT} $x^2$ $", machine=SCRIPT, model=SCRIPT)
    for path in copy.glob("cells/*/cell.json"):
        edit(path, model_name=SCRIPT, versions={SCRIPT: SCRIPT})
    (copy / "cells/curriculum-2pct/scores.json").unlink()
    (copy / "cells/curriculum-2pct/failed.json").write_text(json.dumps({"what": SCRIPT}))
    own = copy / "own.yaml"
    own.write_text(json.dumps([{"model": SCRIPT, "source": f"{SCRIPT} $a_b", "slu_f1": 70}]))
    page = write_report(read_report(copy, own)).read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "<script" not in (copy / "figure.svg").read_text(encoding="utf-8")
    assert "published, &lt;script&gt;" in page


def test_a_study_has_a_page_at_every_moment(copy: Path) -> None:
    cells = sorted((copy / "cells").iterdir())
    for number, cell in enumerate(cells):
        if number % 2:
            write_planned(cell, **cell_named(cell.name, ("embedded",)))  # not begun
        else:
            (cell / "scores.json").unlink()  # not scored
            (cell / "failed.json").write_text(json.dumps({"what": "out of memory"}))
        if number not in (0, 3, 7, len(cells) - 1):
            continue
        report = read_report(copy)
        page = write_report(report).read_text(encoding="utf-8")
        assert f"{len(cells) - number - 1} of {len(cells)} cells are finished" in page
        assert page.count(" failed: out of memory. ") == number // 2 + 1
        assert {row.state for row in table_rows(report.curves)[1]} >= {"failed"}
    assert "No answer yet: 0 of 11 cells have scores." in page
    assert {row.state for row in table_rows(report.curves)[1]} == {"failed"}


def test_a_failed_cell_that_left_nothing_else_is_shown(copy: Path) -> None:
    cell = copy / "cells/curriculum-50pct-seed1"
    write_planned(cell, **cell_named(cell.name, ("embedded",)))
    (copy / "cells/curriculum-50pct-seed1/failed.json").write_text(json.dumps({"what": "disk on fire"}))
    report = read_report(copy)
    page = report_html(report)
    assert "Curriculum 50 %, seed 1 failed: disk on fire." in page
    row = table_rows(report.curves)[1][-1]
    assert (row.columns[2], row.state) == ("1 of 2", "failed")
    assert row.columns[3].startswith("90.")


def test_the_figure_has_a_zero_and_budgets_in_percent_and_recordings(folder: Path) -> None:
    svg = (folder / "figure.svg").read_text(encoding="utf-8")
    for text in (
        ">0<",
        ">2 %<",
        ">40<",
        ">50 %<",
        ">1,000<",
        "text-only, gold text",
        ">Curriculum<",
        ">Direct mixing<",
    ):
        assert text in svg
    assert "currentColor" in svg and svg == figure_svg(read_report(folder).curves)
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_mixtures_and_models_are_told_apart_in_the_figure() -> None:
    names = {"text_only": (0.5, 0.9), "curriculum-5pct": (0.6, 0.9), "curriculum-10pct": (0.7, 0.9)}
    names |= {
        name.replace("-", "-from-en-") if "-" in name else f"{name}-from-en": both for name, both in names.items()
    }
    names |= {f"{name}-big": both for name, both in names.items()}
    svg = figure_svg(made_curves(names, ("m/small", "m/big")))
    for text in (
        "Curriculum alone",
        "Curriculum from en",
        "Intent accuracy on speech, %, small",
        "SLU-F1 on speech, %, big",
    ):
        assert text in svg
    dashes = set(re.findall(r"stroke-dasharray: ([\d., ]+)", svg))
    assert dashes


def test_published_figures_are_drawn_and_marked(copy: Path) -> None:
    assert "published" not in figure_svg(read_report(copy).curves)
    edit(copy / "study.json", corpus="slurp en-US")
    report = read_report(copy)
    svg, page = figure_svg(report.curves, report.published), report_html(report)
    assert "published, 7B model, Choi et al. 2025" in svg
    assert "Music-Flamingo" in page and "Music-Flamingo" not in svg


def test_costs_are_measured_or_said_not_to_be(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not measured, or no GPU was used" in page and "<dt>Energy</dt><dd>not measured</dd>" in page
    results = made_curves({"text_only": (0.5, 0.9), "curriculum-5pct": None}).results
    monkeypatch.setattr(opening.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(opening.torch.cuda, "get_device_name", lambda number: "NVIDIA H200")
    machine = opening.machine(bf16=False)
    assert machine.endswith(", float32, 1 GPU (NVIDIA H200)")
    facts: dict[str, Any] = {**vars(results), "seconds": 1800.0}
    assert study_cost(StudyResults(**{**facts, "machine": machine})).gpu_hours == 0.5
    cost = study_cost(StudyResults(**{**facts, "machine": machine.replace("1 GPU", "4 GPU")}))
    assert (cost.gpu_hours, cost.seconds) == (2.0, 1800.0)
    assert [(line.label, line.seconds) for line in cost.lines] == [("Text-only", None), ("Curriculum", None)]
