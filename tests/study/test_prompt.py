"""A recipe's own prompt is what a study trains, decodes, serves and exports with; without one nothing changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_study import run_tiny_study, tiny_recipe

from sottovoce.core.recipe import Recipe
from sottovoce.core.types import Example
from sottovoce.data.load import load_data
from sottovoce.data.prompts import SLU_INSTRUCTION
from sottovoce.decode import batches
from sottovoce.export.export import export_run
from sottovoce.inference.model import load_model_of
from sottovoce.study.cells import plan_cells
from sottovoce.study.runs import instruction_in
from sottovoce.study.work import cell_stage_plans
from sottovoce.study.workspace import deciding_settings

PROMPT = {"instruction": "Frame:", "list_labels": True}
ASKED = "\nScenarios and their actions: light: off, on; music: play\nSlots: room\nFrame:"


def stage_keys(manifest: Path, **changes: object) -> list[str]:
    recipe = Recipe.model_validate(tiny_recipe(Path("runs"), Path("m"), manifest, **changes))
    data = load_data(recipe)
    cells = plan_cells(recipe, data)
    return [plan.key for cell in cells for plan in cell_stage_plans(recipe, cell, cell.examples(data))]


def test_stages_and_settings_are_named_by_the_prompt_only_where_there_is_one(tiny_corpus: Path) -> None:
    plain = stage_keys(tiny_corpus)
    assert stage_keys(tiny_corpus, prompt={"list_labels": False}) == plain
    for prompt in ({"list_labels": True}, {"instruction": "Frame:"}):
        assert not set(stage_keys(tiny_corpus, prompt=prompt)) & set(plain)
    recipe = Recipe.model_validate(tiny_recipe(Path("runs"), Path("m"), tiny_corpus))
    assert "prompt" not in deciding_settings(recipe) and "prompt" not in recipe.model_dump()
    asked = Recipe.model_validate(tiny_recipe(Path("runs"), Path("m"), tiny_corpus, prompt=PROMPT))
    assert deciding_settings(asked)["prompt"] == PROMPT


def test_training_decoding_answering_and_export_ask_alike(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = list[Example]()
    kept = batches.tokenize

    def noted(example: Example, *rest: object) -> object:
        shown.append(example)
        return kept(example, *rest)  # type: ignore[arg-type]

    for name in ("decode.batches", "models.audio_states", "inference.model", "study.answer_cost"):
        monkeypatch.setattr(f"sottovoce.{name}.tokenize", noted)
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only"], prompt=PROMPT)
    assert instruction_in(study) == ASKED
    run = study / "cells/text_only"
    num_studied = len(shown)
    load_model_of(run).understand_all([np.ones(8_000, np.float32) / 9, "light on"])
    assert len(shown) == num_studied + 2
    assert {example.instruction for example in shown} == {ASKED}
    out = export_run(run, tmp_path / "model", verify=False, say=lambda line: None)
    assert repr(ASKED) in (out / "README.md").read_text(encoding="utf-8")


def test_a_study_from_before_prompts_asks_as_ever(tmp_path: Path) -> None:
    assert instruction_in(tmp_path) == SLU_INSTRUCTION
