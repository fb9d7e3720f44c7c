"""A study's manifest and recordings, found again after its folder was moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_folder import write_study
from tiny_study import run_tiny_study

from sottovoce.core.downloads import sha256_of
from sottovoce.core.recipe import Corpus
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.load import load_data
from sottovoce.data.manifest import read_manifest
from sottovoce.report.html import read_report, write_report
from sottovoce.study.cells import plan_cells
from sottovoce.study.locate import find_manifest, gold_utterances, manifest_name
from sottovoce.study.runner import decode_run
from sottovoce.study.runs import recipe_of
from sottovoce.study.workspace import open_study


def folder_with(tmp_path: Path, corpus: dict[str, Any], gold: list[dict[str, Any]]) -> Path:
    """A study's folder as far as it matters here."""
    (tmp_path / "study").mkdir()
    recipe = {"name": "study", "model": "m", "corpus": corpus}
    (tmp_path / "study/recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "study/gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    return tmp_path / "study"


def rows_of(manifest: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["split"] == "test" and "audio" in row]


def test_what_files_call_a_manifest_holds_nothing_of_the_machine(tmp_path: Path) -> None:
    assert manifest_name(Corpus(builtin="home", locale="fr-FR"), tmp_path) == "home fr-FR"
    own = Corpus(manifest=tmp_path / "data/mine/manifest.jsonl")
    assert manifest_name(own, tmp_path / "runs/mine") == "../../data/mine/manifest.jsonl"


def test_a_study_of_the_built_in_corpus_finds_its_recordings_anywhere(tmp_path: Path) -> None:
    packaged = home_manifest("en-US")
    gold = [{**row, "audio": f"../../was/there/{Path(row['audio']).name}"} for row in rows_of(packaged)[:5]]
    found = gold_utterances(folder_with(tmp_path, {"builtin": "home", "locale": "en-US"}, gold))
    there = {u.id: u.audio for u in read_manifest(packaged)}
    assert [u.audio for u in found] == [there[row["id"]] for row in gold]
    assert all(u.audio and u.audio.is_file() for u in found)


def test_a_recording_is_that_of_the_same_words_in_the_recipes_manifest(tmp_path: Path, tiny_corpus: Path) -> None:
    gold = rows_of(tiny_corpus)
    for row in gold:
        row["audio"] = f"gone/{row['audio']}"
    gold[0]["transcript"] = "other words"
    folder = folder_with(tmp_path, {"manifest": str(tiny_corpus)}, gold)
    found = gold_utterances(folder)
    assert found[0].audio == folder / gold[0]["audio"]
    assert [u.audio for u in found[1:]] == [tiny_corpus.parent / row["audio"].removeprefix("gone/") for row in gold[1:]]


def test_recordings_that_are_where_they_were_are_left_there(tmp_path: Path, tiny_corpus: Path) -> None:
    gold = rows_of(tiny_corpus)
    for row in gold:
        row["audio"] = f"../corpus/{row['audio']}"
    folder = folder_with(tmp_path, {"manifest": "not read.jsonl"}, gold)
    assert [u.audio for u in gold_utterances(folder)] == [folder / row["audio"] for row in gold]


@pytest.mark.parametrize("corpus", [{"manifest": "nowhere.jsonl"}, {"builtin": "home", "locale": "tlh"}, {"new": 1}])
def test_without_a_manifest_recordings_stay_lost(tmp_path: Path, tiny_corpus: Path, corpus: dict[str, Any]) -> None:
    folder = folder_with(tmp_path, corpus, [{**rows_of(tiny_corpus)[0], "audio": "gone.wav"}])
    assert find_manifest(folder) is None
    (found,) = gold_utterances(folder)
    assert found.audio == folder / "gone.wav"


def test_a_manifest_is_where_the_files_say_or_where_the_recipe_does(tmp_path: Path, tiny_corpus: Path) -> None:
    folder = folder_with(tmp_path, {"manifest": str(tiny_corpus)}, [])
    (tmp_path / "here.jsonl").touch()
    assert find_manifest(folder, "../here.jsonl") == folder / "../here.jsonl"
    assert find_manifest(folder, str(tmp_path / "here.jsonl")) == tmp_path / "here.jsonl"  # of earlier versions
    assert find_manifest(folder, "../there.jsonl") == find_manifest(folder) == tiny_corpus
    # By a folder that was moved, another study's manifest may lie where its own was.
    assert find_manifest(folder, "../here.jsonl", sha256_of(tmp_path / "here.jsonl")) == folder / "../here.jsonl"
    assert find_manifest(folder, "../here.jsonl", sha256_of(tiny_corpus)) == tiny_corpus


def test_a_moved_study_s_report_has_its_recordings_and_no_path_of_the_machine(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    cells: dict[str, Any] = {"schemes": ["text_only", "direct_mixing"], "budgets": [0.1]}
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **cells)
    before = write_report(read_report(study)).read_text(encoding="utf-8")
    assert before.count("data:audio/flac") > 0
    moved = tmp_path / "else/where/deep/tiny"
    moved.parent.mkdir(parents=True)
    shutil.move(study, moved)
    after = write_report(read_report(moved)).read_text(encoding="utf-8")
    assert after.count("data:audio/flac") == before.count("data:audio/flac")
    told = json.loads((moved / "report.json").read_text(encoding="utf-8"))
    assert [cell["data"]["manifest"] for cell in told["cells"]] == ["../../corpus/manifest.jsonl"] * 2
    assert (told["study"]["recipe"], told["study"]["model"]) == ("tiny.yaml", tiny_model_dir.name)
    for path in (*moved.glob("report.*"), moved / "figure.svg"):
        text = path.read_text(encoding="utf-8")
        assert str(tmp_path) not in text and str(tiny_model_dir) not in text, path


def test_a_study_that_is_gone_on_with_from_its_folder_keeps_what_its_recipe_was_called(
    tiny_study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(tiny_study, folder, ignore=shutil.ignore_patterns("stages"))
    before = json.loads((folder / "study.json").read_text())["recipe"]
    assert Path(before).name == "tiny.yaml"
    decode_run(folder / "cells/text_only", lambda line: None)
    assert json.loads((folder / "study.json").read_text())["recipe"] == before
    recipe = recipe_of(folder)
    data = load_data(recipe)
    open_study(recipe, Path("another.yaml"), data, plan_cells(recipe, data), lambda line: None)
    assert json.loads((folder / "study.json").read_text())["recipe"] == "another.yaml"


def test_a_damaged_manifest_costs_a_moved_study_its_recordings_alone(tmp_path: Path, tiny_corpus: Path) -> None:
    gold = [{**row, "audio": f"gone/{row['audio']}"} for row in rows_of(tiny_corpus)]
    tiny_corpus.write_text(tiny_corpus.read_text(encoding="utf-8") + "{half a li", encoding="utf-8")
    folder = folder_with(tmp_path, {"manifest": str(tiny_corpus)}, gold)
    assert [u.audio for u in gold_utterances(folder)] == [folder / row["audio"] for row in gold]


def test_a_report_of_an_earlier_version_s_study_keeps_the_manifest_s_name_alone(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    for path in folder.glob("cells/*/cell.json"):
        card = json.loads(path.read_text())
        path.write_text(json.dumps({**card, "data": {**card["data"], "manifest": "/home/me/mine/manifest.jsonl"}}))
    write_report(read_report(folder))
    told = (folder / "report.json").read_text(encoding="utf-8")
    assert "/home/me" not in told and '"manifest": "manifest.jsonl"' in told
