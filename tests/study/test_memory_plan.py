"""What is said of a recipe's memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_study import tiny_recipe, write_recipe
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.recipe import Recipe
from sottovoce.study import memory_plan as module
from sottovoce.study.memory import GIB, Memory, RowSize
from sottovoce.study.memory_plan import plan_lines


def test_plan_says_how_many_cards_hold_what_none_holds_alone(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Recipe.model_validate(tiny_recipe(tmp_path, tiny_model_dir, tiny_corpus))
    assert not any("Sharded" in line for line in plan_lines(settings, RowSize(48, 16), None)[1])
    large = Memory(34 * GIB, 30 * GIB, 60 * GIB, 15 * GIB, 1.0, audio_part=2 * GIB)
    monkeypatch.setattr(module, "forecast_memory", lambda *_: large)
    said = plan_lines(settings, RowSize(48, 16), None)[1][-1]
    # 80 GB: 3 cards, (2 + 32/3 + 30/3 + 60/3 + 15) x 1.1 + 1 = 64.4 GiB of 74.5; with 2 it is 86.8
    assert said.endswith("the whole language model is trained on 3 of 80 GB or 2 of 141 GB.")


def test_the_verb_shows_methods_batches_and_cards(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus)
    result = CliRunner().invoke(app, ["plan-memory", str(path)])
    assert result.exit_code == 0, result.output
    assert "The recipe as it is (lora, batch 4, rows of up to" in result.output
    assert "Its largest epoch, 23 rows" in result.output
    assert "24 GB, 48 GB, 80 GB, 141 GB: full with per_device_train_batch_size=4 gradient_accumulation" in result.output
    given = CliRunner().invoke(app, ["plan-memory", str(path), "corpus.manifest=not_here.jsonl", "--num-tokens", "77"])
    assert "rows of up to 77 tokens" in given.output and "largest epoch" not in given.output
