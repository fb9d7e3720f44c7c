"""What a cell's card says, also one of an earlier version; and schemes that no other file knows by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from study_folder import write_study
from tiny_study import tiny_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe, Train
from sottovoce.data.load import load_data
from sottovoce.report.curves import study_curves
from sottovoce.report.estimates import study_samples
from sottovoce.report.html import read_report, report_html
from sottovoce.report.results import read_study
from sottovoce.report.table import gaps_closed, markdown_table
from sottovoce.study.card import add_facts, read_card, trained_alike, write_card
from sottovoce.study.cells import plan_cells
from sottovoce.study.layout import CellFolder, StudyFolder
from sottovoce.train.schemes import SCHEMES, Scheme, Sources, Stage, text_only


def two_texts(train: Train, sources: Sources) -> list[Stage]:
    return text_only(train, sources) * 2


@pytest.fixture
def two_stages_of_text(monkeypatch: pytest.MonkeyPatch) -> str:
    """A scheme that trains twice, and on text alone."""
    monkeypatch.setitem(SCHEMES, "two_texts", Scheme("Two texts", two_texts, colour="#000000", marker="1"))
    return "two_texts"


def written(folder: Path, **facts: object) -> CellFolder:
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(json.dumps(facts), encoding="utf-8")
    return CellFolder(folder)


@pytest.mark.parametrize(
    ("name", "uses_speech", "size"),
    [
        ("zero_shot", False, ""),
        ("text_only-seed1", False, ""),
        ("cascade-Qwen2-Audio-7B", False, ""),
        ("curriculum-from-en-2.5pct-seed1", True, "2.5pct"),
        ("ramp-all", True, "all"),
        ("speech_only-20utterances-Qwen2-Audio-7B", True, "20utterances"),
    ],
)
def test_a_card_of_an_earlier_version_is_completed(tmp_path: Path, name: str, uses_speech: bool, size: str) -> None:
    card = read_card(written(tmp_path / name, name=name, scheme=name.split("-")[0]))
    assert (card.uses_speech, card.size, card.stages) == (uses_speech, size, None)


def test_what_a_card_says_goes_before_what_its_scheme_or_name_would(tmp_path: Path) -> None:
    files = written(tmp_path / "curriculum-5pct", scheme="curriculum", uses_speech=False, size="10pct")
    card = read_card(files)
    assert (card.uses_speech, card.size, card.name) == (False, "10pct", "curriculum-5pct")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        ('{"scheme": "telepathy"}', "scheme: no such scheme: 'telepathy'"),
        ('{"scheme": "ramp", "num_speech_rows": "many"}', "num_speech_rows: "),
    ],
)
def test_a_damaged_card_is_named(tmp_path: Path, content: str, fault: str) -> None:
    files = written(tmp_path / "ramp")
    files.card.write_text(content)
    with pytest.raises(UserError) as caught:
        read_card(files)
    assert caught.value.what.startswith(f"{files.card}: {fault}") and "rerun the study" in str(caught.value)


def test_facts_are_added_and_nothing_else_is_said(tmp_path: Path) -> None:
    files = written(tmp_path / "cells/ramp-all", scheme="ramp", size="all", stages=["text-1"])
    add_facts(files, num_parameters=None, seconds_per_utterance=0.5)
    said = {"name": "ramp-all", "scheme": "ramp", "uses_speech": True, "size": "all", "stages": ["text-1"]}
    assert json.loads(files.card.read_text()) == {**said, "num_parameters": None, "seconds_per_utterance": 0.5}
    assert {"num_parameters", "seconds"} & read_card(files).model_fields_set == {"num_parameters"}


def test_cells_of_the_same_stages_are_found(tmp_path: Path) -> None:
    layout = StudyFolder(tmp_path)
    for name, stages in (("text_only", ["a"]), ("cascade", ["a"]), ("ramp-all", ["a", "b"]), ("zero_shot", [])):
        written(layout.cell(name).path, scheme=name.split("-")[0], stages=stages)
    written(layout.cell("curriculum-all").path, scheme="curriculum")
    alike = {name: [other.name for other in trained_alike(layout.cell(name))] for name in ("cascade", "zero_shot")}
    assert alike == {"cascade": ["text_only"], "zero_shot": []}
    assert trained_alike(layout.cell("curriculum-all")) == []


def test_a_cell_of_text_alone_has_no_budget_and_says_so(
    two_stages_of_text: str, tiny_corpus: Path, tmp_path: Path
) -> None:
    schemes = [two_stages_of_text, "curriculum"]
    recipe = Recipe.model_validate(tiny_recipe(tmp_path, Path("m"), tiny_corpus, schemes=schemes, seeds=[3]))
    cells = {cell.name: cell for cell in plan_cells(recipe, load_data(recipe))}
    assert list(cells) == ["two_texts-seed3", "curriculum-10pct-seed3", "curriculum-30pct-seed3"]
    for cell in cells.values():
        (tmp_path / cell.name).mkdir()
        write_card(CellFolder(tmp_path / cell.name), cell.card())
    cards = [read_card(CellFolder(tmp_path / name)) for name in cells]
    assert cards == [cell.card() for cell in cells.values()]
    assert [(card.uses_speech, card.size, len(card.speech_ids)) for card in cards] == [
        (False, "", 0), (True, "10pct", 2), (True, "30pct", 5),
    ]  # fmt: skip


def with_two_texts(folder: Path) -> Path:
    """The small study whose curriculum has been trained on two stages of text instead, and is best on speech."""
    study = write_study(folder, audio=False)
    (study / "cells/curriculum-5pct").rename(study / "cells/two_texts")
    card = json.loads((study / "cells/two_texts/cell.json").read_text())
    card |= {"name": "two_texts", "scheme": "two_texts", "budget_share": 0.0, "num_speech_rows": 0}
    (study / "cells/two_texts/cell.json").write_text(json.dumps(card))
    told = json.loads((study / "study.json").read_text())
    told["cells"] = ["zero_shot", "text_only", "direct_mixing-5pct", "two_texts"]
    (study / "study.json").write_text(json.dumps(told))
    return study


def test_two_stages_of_text_are_not_reported_as_speech(two_stages_of_text: str, tmp_path: Path) -> None:
    study = with_two_texts(tmp_path / "study")
    report = read_report(study)
    results = report.curves.results
    cells = {cell.scheme: cell for cell in results.cells}
    assert results.best is cells["direct_mixing"]
    assert report.headline.startswith("With 20 spoken training examples, direct mixing raises")
    page = report_html(report)
    assert "With 0 spoken" not in page
    assert [line.scheme for line in report.curves.budgeted] == ["direct_mixing"]
    assert gaps_closed(results, cells["two_texts"]) == (None, None)
    row = markdown_table(report.curves).splitlines()[-1]
    assert row.startswith("| Two texts | none | 81.0 ")


def test_a_study_of_text_alone_has_no_answer_about_speech(two_stages_of_text: str, tmp_path: Path) -> None:
    study = with_two_texts(tmp_path / "study")
    told = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps(told | {"cells": ["text_only", "two_texts"]}))
    results = read_study(study)
    assert results.best is None and study_curves(results, study_samples(results)).best is None
    assert read_report(study).headline == "This study has no scheme with training speech to compare with text-only."


def test_every_scheme_with_speech_is_drawn_apart_from_the_others() -> None:
    spoken = [scheme for scheme in SCHEMES.values() if scheme.uses_speech]
    assert len({scheme.colour for scheme in spoken}) == len({scheme.marker for scheme in spoken}) == len(spoken)
    assert all(scheme.without_speech is None or not SCHEMES[scheme.without_speech].uses_speech for scheme in spoken)
