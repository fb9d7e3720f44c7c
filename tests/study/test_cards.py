"""What is said of a recipe's memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_study import tiny_recipe, write_recipe
from typer.testing import CliRunner

from sottovoce.cli.main import app
from sottovoce.core.recipe import Recipe, Train
from sottovoce.study.resources import cards as module
from sottovoce.study.resources import this_machine
from sottovoce.study.resources.cards import plan_lines
from sottovoce.study.resources.memory import GIB, Memory, RowSize
from sottovoce.study.resources.this_machine import HereForecast, here_row, here_sentence


def test_plan_says_how_many_cards_hold_what_none_holds_alone(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Recipe.model_validate(tiny_recipe(tmp_path, tiny_model_dir, tiny_corpus))
    assert not any("Sharded" in line for line in plan_lines(settings, RowSize(48, 16), None)[1])
    large = Memory(34 * GIB, 30 * GIB, 60 * GIB, 15 * GIB, 1.0, audio_part=2 * GIB)
    monkeypatch.setattr(module, "forecast_memory", lambda *_: large)
    said = plan_lines(settings, RowSize(48, 16), None)[1][-2]
    # 80 GB: 3 cards, (2 + 32/3 + 30/3 + 60/3 + 15) x 1.1 + 1 = 64.4 GiB of 74.5; with 2 it is 86.8
    assert said.endswith("the whole language model needs 3 of 80 GB or 2 of 141 GB.")


def test_plan_says_what_fits_with_gradient_checkpointing_where_that_is_more(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Recipe.model_validate(tiny_recipe(tmp_path, tiny_model_dir, tiny_corpus))  # LoRA, batches of 4

    def forecast(name: str, train: Train, row: RowSize) -> Memory:
        each = 2 if train.gradient_checkpointing is True else 10  # GiB a row; of whole weights twice as much
        factor = 2 if train.language_model == "full" else 1
        return Memory(2 * GIB, 0, 0, factor * each * train.per_device_train_batch_size * GIB, 1.0)

    monkeypatch.setattr(module, "forecast_memory", forecast)
    said = plan_lines(settings, RowSize(48, 16), 100)[1]
    # A tenth and 1 GiB on top of (2 + 10 x 4) are 47.2 GiB, of (2 + 2 x 4) 12.
    assert said[0].endswith("needs 47.2 GiB: fits 80 GB, 141 GB.")
    assert said[1].endswith("switched on and reduces that to 12.0 GiB: fits 24 GB, 48 GB, 80 GB, 141 GB.")
    assert said[2].endswith("batches can be up to: 24 GB full 4 and lora 4, 48 GB full 4 and lora 4, 80 GB full 4.")
    assert "on one A100" in said[3]
    for asked in (True, False):
        train = settings.train.model_copy(update={"gradient_checkpointing": asked})
        said = plan_lines(settings.model_copy(update={"train": train}), RowSize(48, 16), None)[1]
        assert not any("checkpointing" in line for line in said)
        assert f"needs {12.0 if asked else 47.2} GiB" in said[0]


def test_the_verb_shows_methods_batches_and_cards(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus)
    result = CliRunner().invoke(app, ["plan-memory", str(path)])
    assert result.exit_code == 0, result.output
    assert "The recipe as it is (lora, batch 4, rows of up to" in result.output
    assert "Its largest epoch, 23 rows" in result.output
    assert "24 GB, 48 GB, 80 GB, 141 GB: full with per_device_train_batch_size=4 gradient_accumulation" in result.output
    given = CliRunner().invoke(app, ["plan-memory", str(path), "corpus.manifest=not_here.jsonl", "--num-tokens", "77"])
    assert "rows of up to 77 tokens" in given.output and "largest epoch" not in given.output
    assert "Text-only fine-tuning here (400 sentences, 3 epochs, LoRA, " in given.output


def test_this_machine_has_a_row_by_its_memory_and_its_own_rate(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 15 GiB and a tenth; 2 TFLOP a row at 40 % of 1 TFLOP/s are 5 s
    memory = Memory(14 * GIB, 0.25 * GIB, 0.5 * GIB, 0.25 * GIB, 2e12)
    here = HereForecast(memory, 23 * GIB, 1e12, "bfloat16", is_gpu=False)
    assert here_row(here) == ["lora, text", "1", "14.0", "0.8", "0.2", "16.5", "this machine", "83 min"]
    assert "needs 16.5 GiB of 23.0 and takes about 100 min, at 40% of 1 TFLOP/s" in here_sentence(here)
    small = HereForecast(memory, 16 * GIB, 1e12, "bfloat16", is_gpu=False)
    assert here_row(small)[-2:] == ["not this machine", "–"]
    assert here_sentence(small).endswith("does not fit: it needs 16.5 GiB of 16.0.")
    assert HereForecast(memory, 23 * GIB, 1e12, "bfloat16", is_gpu=True).bytes == pytest.approx(17.5 * GIB)

    settings = Recipe.model_validate(tiny_recipe(tmp_path, tiny_model_dir, tiny_corpus))
    asked: list[Train] = []
    monkeypatch.setattr(this_machine, "forecast_memory", lambda name, train, row: asked.append(train) or memory)
    monkeypatch.setattr(this_machine, "product_rate", lambda device, bf16: 4e12)
    monkeypatch.setattr(this_machine, "computes_bf16", lambda: False)
    found = this_machine.here_forecast(settings, RowSize(48, 16, 2.0))
    assert (asked[0].language_model, asked[0].per_device_train_batch_size, asked[0].bf16) == ("lora", 1, False)
    assert found.seconds(1) == pytest.approx(1.25)
