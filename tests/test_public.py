"""What ``import sottovoce`` offers, as somebody would use it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
from command_line import run_main
from score_rows import manifest_row, prediction_row, write_rows
from tiny_study import write_recipe

import sottovoce
import sottovoce.score.evaluate  # the room of the same name as a function
from sottovoce.report.results import read_study
from sottovoce.study import runner
from sottovoce.study.engines.base import Failure


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Gold of four rows, predictions ``a`` (all right) and ``b`` (one intent wrong, one answer missing)."""
    b = (prediction_row(0), prediction_row(1, action="cancel"), prediction_row(2))
    return {
        "gold": write_rows(tmp_path / "gold.jsonl", *map(manifest_row, range(4))),
        "a": write_rows(tmp_path / "a.jsonl", *map(prediction_row, range(4))),
        "b": write_rows(tmp_path / "b.jsonl", *b),
    }


def test_what_is_public_has_docstrings_and_names_what_it_raises() -> None:
    assert sottovoce.__all__ == ["UserError", "__version__", "compare", "load", "run_study", "score"]
    for name in ("compare", "load", "run_study", "score"):
        text = inspect.getdoc(getattr(sottovoce, name)) or ""
        assert all(part in text for part in ("Args:", "Returns:", "Raises:", "Examples:")), name


def test_the_room_score_does_not_take_the_functions_place() -> None:
    assert inspect.isfunction(sottovoce.score)


def test_score_returns_what_the_verb_prints(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notes: list[str] = []
    report = sottovoce.score(str(files["b"]), files["gold"], by=["intent"], intervals=True, say=notes.append)
    assert report["strict"]["intent_accuracy"] == 0.5
    assert len(notes) == 1 and "1 of 4 gold items have no prediction" in notes[0]
    options = ("--by", "intent", "--intervals", "--json")
    printed = run_main(monkeypatch, capsys, "score", files["b"], "--gold", files["gold"], *options)
    assert json.loads(printed.out) == json.loads(json.dumps(report))


def test_score_is_silent_unless_asked(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    sottovoce.score(files["b"], files["gold"])
    assert capsys.readouterr() == ("", "")


def test_compare_takes_seeds_as_a_list(files: dict[str, Path]) -> None:
    compared = sottovoce.compare([[files["a"], files["b"]], str(files["b"])], files["gold"])
    assert [len(system["files"]) for system in compared["systems"]] == [2, 1]
    assert compared == sottovoce.compare([f"{files['a']},{files['b']}", files["b"]], files["gold"])


def test_a_mistake_is_the_error_that_the_package_names(tmp_path: Path) -> None:
    with pytest.raises(sottovoce.UserError, match="no such recipe"):
        sottovoce.run_study(tmp_path / "none.yaml")
    with pytest.raises(sottovoce.UserError):
        sottovoce.load(tmp_path)


def test_run_study_returns_the_folder_and_names_cells_that_failed(
    tmp_path: Path, tiny_model_dir: Path, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, lines = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only"]), list[str]()
    folder = sottovoce.run_study(recipe, ["schemes=[zero_shot]"], say=lines.append)
    assert folder == tmp_path / "runs" / "tiny"
    assert [cell.name for cell in read_study(folder).finished] == ["zero_shot"]
    assert (folder / "report.html").is_file() and lines
    monkeypatch.setattr(runner, "run_study", lambda *arguments: [Failure("zero_shot", "out of memory")])
    (folder / "report.html").unlink()
    with pytest.raises(sottovoce.UserError, match="1 cells failed: zero_shot"):
        sottovoce.run_study(str(recipe), ["schemes=[zero_shot]"], say=lines.append)
    assert (folder / "report.html").is_file()
