"""Studies of schemes whose text has recognition noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_study import run_tiny_study, tiny_recipe, write_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.core.types import Example, Utterance
from sottovoce.data.audio import audio_sha256
from sottovoce.data.load import load_data
from sottovoce.embedded import mishearings
from sottovoce.study.budget_transcripts import transcribe_budgets
from sottovoce.study.cells import plan_cells
from sottovoce.study.engines import jobs as elsewhere
from sottovoce.study.runner import opened, plan_study, run_study

NOISY = {"schemes": ["text_only", "text_only_noisy", "curriculum_noisy"], "budgets": [0.3]}


def silent(line: str) -> None:
    """Takes what is said to the user."""


def with_noise(model: Path, manifest: Path, source: str = "spelling", **changes: Any) -> dict[str, Any]:
    """The changes of a tiny recipe whose text has a lot of noise."""
    train = tiny_recipe(Path("runs"), model, manifest)["train"]
    return NOISY | {"train": train | {"noise": {"rows": 1, "replace": 0.2, "drop": 0.4, "source": source}}} | changes


def stages_of(folder: Path) -> dict[str, list[str]]:
    return {path.parent.name: json.loads(path.read_text())["stages"] for path in folder.glob("cells/*/cell.json")}


def texts(examples: list[Example]) -> list[str]:
    return [example.utterance.transcript for example in examples if example.modality == "text"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings that a recogniser was asked for; it hears every light as a kite."""
    asked: list[str] = []

    def transcribe(utterances: list[Utterance], model: str, partial: Path, say: object) -> dict[str, str]:
        asked.extend(utterance.id for utterance in utterances)
        return {utterance.id: utterance.transcript.replace("light", "kite") for utterance in utterances}

    monkeypatch.setattr(mishearings, "transcribe", transcribe)
    return asked


def test_a_study_of_noisy_text_is_run_to_its_scores(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    changes = with_noise(tiny_model_dir, tiny_corpus)
    folder = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **changes)
    stages = stages_of(folder)
    assert set(stages) == {"text_only", "text_only_noisy", "curriculum_noisy-30pct"}
    assert stages["curriculum_noisy-30pct"][0] == stages["text_only_noisy"][0]  # in this recipe
    assert stages["text_only_noisy"][0].startswith("noisy-text-")
    for cell in stages:
        assert (folder / "cells" / cell / "scores.json").exists()
    path = tmp_path / "tiny.yaml"
    with opened(load_recipe(path), path, silent) as (study, cells):
        (clean,), (noisy,) = ([item.examples for item in study.work_of([cell])] for cell in cells[:2])
    assert len(noisy) == len(clean) and texts(noisy) != texts(clean)
    assert [example.answer for example in noisy] == [example.answer for example in clean]
    assert all(example.utterance.frame.entities[0].filler in example.utterance.transcript for example in noisy)


def test_noise_names_the_stages_that_have_it_and_no_others(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only", "curriculum"], budgets=[0.3])
    before = stages_of(tmp_path / "runs/tiny")
    changes = with_noise(tiny_model_dir, tiny_corpus, schemes=["text_only", "curriculum", "text_only_noisy"])
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **changes)
    told: list[str] = []
    assert not run_study(load_recipe(path), path, told.append)  # noise is no reason to refuse the study's results
    assert {"text_only: already finished", "curriculum-30pct: already finished"} <= set(told)
    after = stages_of(tmp_path / "runs/tiny")
    assert {name: after[name] for name in before} == before
    with pytest.raises(UserError, match="text_only_noisy holds results from another model or other training data"):
        run_study(load_recipe(path, ["train.noise.seed=1"]), path, silent)


def test_the_budgets_recordings_are_transcribed_once_and_what_was_misheard_is_the_noise(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, written: list[str]
) -> None:
    changes = with_noise(tiny_model_dir, tiny_corpus, "budget", schemes=["curriculum_noisy"], budgets=[0.1, 0.3])
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **changes)
    recipe, told = load_recipe(path), list[str]()
    assert plan_study(recipe, path, silent)[1][0] == "curriculum_noisy-10pct" and not written  # a dry run hears nothing
    assert not run_study(recipe, path, told.append)
    spoken = {audio_sha256(u.audio) for u in load_data(recipe).train if u.audio}
    assert len(written) == len(set(written)) and set(written) <= spoken
    assert any("transcribing" in line for line in told)
    with opened(recipe, path, silent) as (study, cells):
        found = {cell.name: [item.plan.key for item in study.work_of([cell])] for cell in cells}
        shown = texts(study.work_of([cells[1]])[0].examples)
    assert found == stages_of(recipe.folder)
    assert found["curriculum_noisy-10pct"][0] != found["curriculum_noisy-30pct"][0]  # they heard other recordings
    assert any("kite" in text for text in shown)
    again, reopened = elsewhere._reopened(elsewhere.portable(recipe), str(path))
    assert {name: [item.plan.key for item in again.work_of([cell])] for name, cell in reopened.items()} == found
    num_asked = len(written)
    assert not run_study(recipe, path, silent) and len(written) == num_asked
    run_study(load_recipe(path, ["budgets=[0.1, 0.3, all]"]), path, silent)
    assert set(written) == spoken and len(written) == len(spoken)  # only those that were not heard before


def test_the_model_itself_is_the_recogniser_of_the_budget(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    changes = with_noise(tiny_model_dir, tiny_corpus, "budget", schemes=["curriculum_noisy"])
    folder = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, **changes)
    (kept,) = folder.glob("heard-*")
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    clips = json.loads((folder / "cells/curriculum_noisy-30pct/cell.json").read_text())["speech_ids"]
    paths = {u.id: u.audio for u in load_data(load_recipe(tmp_path / "tiny.yaml")).train}
    assert {row["recording"] for row in rows} == {audio_sha256(paths[clip] or Path()) for clip in clips}
    assert all(isinstance(row["text"], str) for row in rows)


def test_without_recordings_of_the_budget_the_noise_is_spelling_and_a_line_says_so(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, written: list[str]
) -> None:
    source = {"sources": {"other": {"manifest": str(tiny_corpus)}}, "mixtures": [["other"]], "budgets": [0.0]}
    first: dict[str, list[str]] = {}
    for kind in ("budget", "spelling"):
        changes = with_noise(tiny_model_dir, tiny_corpus, kind, schemes=["curriculum_noisy"], **source)
        recipe = load_recipe(write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **changes))
        data, told = load_data(recipe), list[str]()
        (cell,) = plan_cells(recipe, data)
        data = transcribe_budgets(data, tmp_path, [cell], told.append)
        first[kind] = texts(cell.examples(data)[0])
        said = [f"{cell.name}: no recordings to learn mishearings from; its noise is sound-alike spelling"]
        assert told == (said if kind == "budget" else [])
    assert first["budget"] == first["spelling"] and not written


def test_a_language_without_a_shipped_table_is_refused_before_anything_is_done(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) | {"locale": "tlh-QO"} for line in tiny_corpus.read_text().splitlines()]
    tiny_corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = with_noise(tiny_model_dir, tiny_corpus, "shipped")
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **changes)
    with pytest.raises(UserError, match="there is no built-in confusion table for the language 'tlh'"):
        run_study(load_recipe(path), path, silent)
    assert not (tmp_path / "runs").exists()
