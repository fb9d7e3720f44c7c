"""The names of a study's files stand in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sottovoce
from sottovoce.study.layout import CellFolder, StudyFolder

SOURCE = Path(sottovoce.__file__).parent


@pytest.mark.parametrize(
    "name",
    [
        *("recipe.yaml", "study.json", "gold.jsonl", "ontology.lark", "preflight.json", "processes.txt"),
        *("cell.json", "scores.json", "failed.json", "predictions-", "transcripts-", "heard-"),
    ],
)
def test_no_other_file_writes_the_name_down(name: str) -> None:
    written = re.compile(rf"""[f/"']{re.escape(name)}""")
    found = [path for path in SOURCE.rglob("*.py") if written.search(_code(path))]
    assert [path.relative_to(SOURCE).as_posix() for path in found] == ["study/layout.py"]


def _code(path: Path) -> str:
    """Without what is quoted as an example."""
    return re.sub(r"``.*?``", "", path.read_text(encoding="utf-8"))


def test_a_cell_finds_its_study_from_inside_and_outside(tiny_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = StudyFolder(tiny_study).cell("text_only")
    assert cell.is_in_study() and cell.study.path == tiny_study.resolve() and cell.card.is_file()
    assert not CellFolder(tiny_study).is_in_study() and not CellFolder(cell.weights).is_in_study()
    monkeypatch.chdir(cell.path)
    here = CellFolder(Path())
    assert here.name == "text_only" and here.is_in_study() and here.study.gold == tiny_study.resolve() / "gold.jsonl"


def test_everything_in_a_finished_studys_folder_is_named(tiny_study: Path) -> None:
    study = StudyFolder(tiny_study)
    known = {*vars(study).values(), *study.all_transcripts()}
    reports = {"report", "figure", ".lock"}
    assert {path for path in tiny_study.iterdir() if path.stem not in reports} <= known
    for cell in map(CellFolder, study.cells.iterdir()):
        known = {*vars(cell).values(), cell.scores(), cell.predictions("speech"), cell.predictions("text")}
        assert set(cell.path.iterdir()) <= known
