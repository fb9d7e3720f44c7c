"""Cells over seeds, mixtures of languages, models and further schemes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_study import results_of, run_tiny_study, tiny_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe
from sottovoce.data.load import Data, load_data
from sottovoce.study.cells import Cell, plan_cells


def planned(manifest: Path, **changes: Any) -> tuple[Data, dict[str, Cell]]:
    recipe = Recipe.model_validate(tiny_recipe(Path("runs"), Path("m"), manifest, **changes))
    data = load_data(recipe)
    return data, {cell.name: cell for cell in plan_cells(recipe, data)}


def source(manifest: Path, **changes: Any) -> dict[str, Any]:
    """The corpus as a source language of its own: other ids, other words."""
    folder = manifest.parent.parent / "source"
    shutil.copytree(manifest.parent, folder, dirs_exist_ok=True)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [row | {"id": f"s-{row['id']}", "transcript": f"{row['transcript']} oui", "locale": "fr-FR"} for row in rows]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"manifest": str(folder / "manifest.jsonl"), **changes}


def heard(cell: Cell, data: Data) -> list[set[str]]:
    """The ids heard in each stage."""
    return [{e.utterance.id for e in stage if e.modality == "speech"} for stage in cell.examples(data)]


def test_each_seed_draws_its_own_clips_and_zero_shot_has_none(tiny_corpus: Path) -> None:
    _, cells = planned(tiny_corpus, seeds=[0, 1, 2], budgets=[0.3], schemes=["zero_shot", "text_only", "curriculum"])
    assert list(cells) == [
        "zero_shot", "text_only", "text_only-seed1", "text_only-seed2",
        "curriculum-30pct", "curriculum-30pct-seed1", "curriculum-30pct-seed2",
    ]  # fmt: skip
    clips = [cell.budget.ids for cell in cells.values() if cell.budget]
    assert len(set(clips)) > 1 and {len(ids) for ids in clips} == {5}
    assert [cell.seed for cell in cells.values() if cell.budget] == [0, 1, 2]


def test_a_source_joins_every_stage_and_its_speech_is_kept_at_budget_0(tiny_corpus: Path) -> None:
    sources = {"fr": source(tiny_corpus)}
    data, cells = planned(
        tiny_corpus, sources=sources, budgets=[0, 0.3], schemes=["text_only", "direct_mixing", "curriculum"]
    )
    assert list(cells) == [
        "text_only-from-fr", "direct_mixing-from-fr-0pct", "direct_mixing-from-fr-30pct",
        "curriculum-from-fr-0pct", "curriculum-from-fr-30pct",
    ]  # fmt: skip
    spoken = {u.id for u in data.others["fr"] if u.audio}
    assert spoken and all(identity.startswith("s-") for identity in spoken)
    assert heard(cells["direct_mixing-from-fr-0pct"], data) == [spoken]
    budget = cells["direct_mixing-from-fr-30pct"].budget
    assert budget is not None and heard(cells["direct_mixing-from-fr-30pct"], data) == [spoken | set(budget.ids)]
    texts = {e.utterance.id for e in cells["text_only-from-fr"].examples(data)[0]}
    assert texts == {u.id for u in data.train} | {u.id for u in data.others["fr"]}


def test_mixtures_are_an_axis_and_schemes_that_need_a_source_run_with_one_only(tiny_corpus: Path) -> None:
    _, cells = planned(
        tiny_corpus, sources={"fr": source(tiny_corpus)}, mixtures=[[], ["fr"]], budgets=[0.3],
        schemes=["text_only", "source_first", "source_then_curriculum"],
    )  # fmt: skip
    assert list(cells) == [
        "text_only", "text_only-from-fr", "source_first-from-fr-30pct", "source_then_curriculum-from-fr-30pct",
    ]  # fmt: skip
    assert [len(cell.stages) for cell in cells.values()] == [1, 1, 2, 3]


def test_a_source_s_speech_can_be_limited(tiny_corpus: Path) -> None:
    limited = source(tiny_corpus, speech={"utterances": 3}, num_train_utterances=12)
    data, _ = planned(tiny_corpus, sources={"fr": limited})
    assert len(data.others["fr"]) == 12
    assert sum(u.audio is not None for u in data.others["fr"]) == 3


def test_budget_0_without_sources_is_text_only_s(tiny_corpus: Path) -> None:
    _, cells = planned(tiny_corpus, budgets=[0, 0.3], schemes=["text_only", "direct_mixing", "curriculum"])
    assert list(cells) == ["text_only", "direct_mixing-30pct", "curriculum-30pct"]


def test_budgets_in_hours_and_speakers(tiny_corpus: Path) -> None:
    rows = [json.loads(line) for line in tiny_corpus.read_text().splitlines()]
    rows = [row | {"speaker": f"v{number % 3}"} for number, row in enumerate(rows)]
    tiny_corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, cells = planned(tiny_corpus, schemes=["curriculum"], budgets=[{"hours": 0.001}, {"speakers": 2}])
    assert list(cells) == ["curriculum-0.001hours", "curriculum-2speakers"]
    hours, speakers = (cell.budget for cell in cells.values())
    assert hours and speakers and 0 < hours.seconds <= 3.6 and speakers.num_utterances > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schemes": ["curiculum"]}, "did you mean 'curriculum'"),
        ({"schemes": ["source_first"]}, "nothing to train on; name a source language"),
        ({"schemes": ["direct_mixing"], "budgets": [0]}, "nothing to train on; give budgets above 0"),
        ({"schemes": ["direct_mixing"], "budgets": []}, "nothing to train on; give budgets above 0"),
        ({"schemes": ["synthetic_curriculum"]}, "needs synthetic speech"),
        ({"synthetic_speech": "nowhere"}, "no such folder: nowhere"),
        ({"models": ["m", "a/x", "b/x"]}, "two cells would be named zero_shot-x"),
    ],
)
def test_what_cannot_be_planned_is_refused(tiny_corpus: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(tiny_corpus, **changes)


def test_synthetic_speech_is_taken_from_a_folder_by_id(tiny_corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "synthetic"
    folder.mkdir()
    for number in (0, 2, 4):
        shutil.copy(next((tiny_corpus.parent / "audio").glob("train-*.wav")), folder / f"train-{number}.wav")
    (folder / "notes.txt").write_text("not a recording")
    data, cells = planned(tiny_corpus, schemes=["synthetic_curriculum"], budgets=[0, 0.3], synthetic_speech=str(folder))
    spoken = {"train-0", "train-2", "train-4"}
    assert heard(cells["synthetic_curriculum-0pct"], data) == [set(), spoken, set()]
    clips = heard(cells["synthetic_curriculum-30pct"], data)
    assert clips[1] == spoken and len(clips[2]) == 5
    second = cells["synthetic_curriculum-0pct"].examples(data)[1]
    paths = {e.utterance.audio.parent for e in second if e.utterance.audio and e.modality == "speech"}
    assert paths == {folder}
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UserError, match="holds no recording of any training utterance"):
        planned(tiny_corpus, synthetic_speech=str(folder))


def test_seeds_sources_and_models_can_be_added_to_a_study(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    small: dict[str, Any] = {"schemes": ["direct_mixing"], "budgets": [0.3]}
    other = shutil.copytree(tiny_model_dir, tmp_path / "other")
    kept = results_of(run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **small))
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **small, seeds=[0, 1])
    assert kept.items() < results_of(study).items()
    wider = {
        "sources": {"fr": source(tiny_corpus)},
        "mixtures": [[], ["fr"]],
        "models": [str(tiny_model_dir), str(other)],
    }
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **{**small, **wider})
    card = json.loads((study / "cells/direct_mixing-from-fr-30pct-other/cell.json").read_text())
    assert (card["sources"], card["model_name"], card["seed"]) == (["fr"], str(other), 0)
    names = {path.parent.name for path in study.glob("cells/*/scores.json")}
    expected = {"direct_mixing-30pct", "direct_mixing-30pct-seed1", "direct_mixing-from-fr-30pct"}
    assert names == expected | {"direct_mixing-30pct-other", "direct_mixing-from-fr-30pct-other"}
