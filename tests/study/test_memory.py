"""The memory forecast: what it counts is what a real forward pass keeps, to the byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from spoken_rows import tone
from tiny_study import run_tiny_study, tiny_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Recipe, Train
from sottovoce.models.load import LoadedModel, load_model, load_skeleton, processor_of
from sottovoce.study.resources import fit as module
from sottovoce.study.resources.activations import AudioInputs, RowSize, SavedBytes, saved_activations
from sottovoce.study.resources.cards import plan_lines
from sottovoce.study.resources.fit import check_memory
from sottovoce.study.resources.memory import (
    CARDS,
    GIB,
    Memory,
    forecast_memory,
    longest_row,
)
from sottovoce.train.parts import with_weights

ROW = RowSize(48, 16)
HEARD = replace(ROW, seconds=0.9)
KINDS = pytest.mark.parametrize("kind", ["lora", "full"])


def train(kind: str, batch_size: int = 3, bf16: bool = True) -> Train:
    return Train(language_model=kind, per_device_train_batch_size=batch_size, bf16=bf16)  # type: ignore[arg-type]


def hearing_anew(tower: str, batch_size: int, bf16: bool) -> Train:
    parts = {"language_model": "frozen", "projector": "full", "audio_tower": tower}
    return Train.model_validate(parts | {"per_device_train_batch_size": batch_size, "bf16": bf16})


def kept(loaded: LoadedModel, settings: Train, attention: str, clip: AudioInputs | None = None) -> float:
    return parts_kept(loaded, settings, attention, clip).num_bytes


def parts_kept(loaded: LoadedModel, settings: Train, attention: str, clip: AudioInputs | None = None) -> SavedBytes:
    loaded.model.set_attn_implementation(attention)
    device = next(loaded.model.parameters()).device
    with device:
        model = with_weights(loaded, settings, None)
    batch_size = settings.per_device_train_batch_size
    return saved_activations(loaded.family, model, batch_size, ROW, settings.bf16, clip)


@KINDS
@pytest.mark.parametrize("bf16", [True, False])
def test_a_real_forward_pass_keeps_what_was_counted(tiny_model_dir: Path, kind: str, bf16: bool) -> None:
    source, settings = str(tiny_model_dir), train(kind, 5, bf16)
    real = kept(load_model(source, bf16), settings, "eager")
    assert kept(load_skeleton(source, bf16), settings, "eager") == real > 1e5
    # With fused attention transformers makes a mask for fake tensors that real ones do without.
    fused = kept(load_model(source, bf16), settings, "sdpa")
    assert fused <= kept(load_skeleton(source, bf16), settings, "sdpa") <= 1.1 * fused


@pytest.mark.parametrize("tower", ["lora", "full"])
@pytest.mark.parametrize("bf16", [True, False])
def test_a_real_trained_tower_keeps_what_was_counted(tiny_model_dir: Path, tower: str, bf16: bool) -> None:
    source, settings = str(tiny_model_dir), hearing_anew(tower, 3, bf16)
    loaded = load_model(source, bf16)
    clip = loaded.family.audio_inputs(loaded.processor, tone(HEARD.seconds))
    real = kept(loaded, settings, "eager", clip)
    assert kept(load_skeleton(source, bf16), settings, "eager", clip) == real
    assert real > kept(load_model(source, bf16), settings, "eager") + 3e5  # a tower of two layers, three clips


def test_a_forecast_counts_the_longest_clip_where_the_tower_is_trained(tiny_model_dir: Path) -> None:
    source, settings = str(tiny_model_dir), hearing_anew("full", 7, True)
    loaded = load_skeleton(source)
    clip = loaded.family.audio_inputs(processor_of(source, loaded), tone(HEARD.seconds))
    memory = forecast_memory(source, settings, HEARD)
    assert memory.activations == kept(load_skeleton(source), settings, "sdpa", clip) and not memory.uncounted
    frozen = train("lora", 7)
    assert forecast_memory(source, frozen, HEARD) == forecast_memory(source, frozen, ROW)


def test_without_a_processor_what_the_tower_keeps_is_not_counted_and_said_so(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text((tiny_model_dir / "config.json").read_text())
    settings = hearing_anew("full", 2, True)
    memory = forecast_memory(str(tmp_path), settings, HEARD)
    assert memory == replace(forecast_memory(str(tmp_path), settings, ROW), uncounted=memory.uncounted)
    assert "cannot load the processor" in memory.uncounted
    parts = {"projector": "full", "audio_tower": "full", "per_device_train_batch_size": 4}
    for model, said in ((tmp_path, "could not be counted: cannot load"), (tiny_model_dir, "encodes up to 0.9 s")):
        changed = recipe(tmp_path, model, tiny_corpus, train=parts)
        assert any(said in sentence for sentence in plan_lines(changed, HEARD, None)[1])
        assert ("not counted" in check_memory(changed, HEARD)) == (model == tmp_path)


@KINDS
def test_any_batch_size_is_forecast_from_two(tiny_model_dir: Path, kind: str) -> None:
    source, settings = str(tiny_model_dir), train(kind, 7)
    assert forecast_memory(source, settings, ROW).activations == kept(load_skeleton(source), settings, "sdpa")


@KINDS
def test_weights_gradients_and_moments_are_those_of_training(tiny_model_dir: Path, kind: str) -> None:
    forecast = forecast_memory(str(tiny_model_dir), train(kind), ROW)
    model = with_weights(load_model(str(tiny_model_dir)), train(kind), None)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.AdamW(trained)
    optimizer.step()
    sizes = [t.nbytes for state in optimizer.state.values() for t in state.values() if t.ndim]
    assert forecast.weights == sum(parameter.nbytes for parameter in model.parameters())
    assert forecast.gradients == sum(parameter.nbytes for parameter in trained)
    assert forecast.optimizer == sum(sizes)


def test_nothing_but_the_configuration_is_needed(tiny_model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((tiny_model_dir / "config.json").read_text())
    assert forecast_memory(str(tmp_path), train("lora"), ROW) == forecast_memory(
        str(tiny_model_dir), train("lora"), ROW
    )


def test_a_missing_configuration_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing or names no model_type"):
        forecast_memory(str(tmp_path), train("lora"), ROW)


def test_longer_rows_and_larger_batches_need_more_and_the_full_model_needs_most(tiny_model_dir: Path) -> None:
    def activations(kind: str, batch_size: int, row: RowSize) -> float:
        return forecast_memory(str(tiny_model_dir), train(kind, batch_size), row).activations

    assert activations("lora", 2, ROW) < activations("lora", 4, ROW) < activations("lora", 4, RowSize(96, 16))
    full, lora = (forecast_memory(str(tiny_model_dir), train(kind), ROW) for kind in ("full", "lora"))
    assert full.total > lora.total and full.operations > lora.operations


def test_a_card_fits_what_is_not_more_than_it_has() -> None:
    memory = Memory(weights=20 * GIB, gradients=0, optimizer=0, activations=0, operations=1.0)
    assert memory.total == pytest.approx(23 * GIB)  # a tenth and one more
    assert [memory.fits(card) for card in CARDS] == [False, True, True, True]


def test_sharded_each_card_holds_its_part_of_all_but_the_audio_part_and_the_first_proves_with_the_whole() -> None:
    memory = Memory(10.0, 8.0, 16.0, 3.0, 1.0, audio_part=2.0)
    four = memory.sharded(4)
    assert (four.weights, four.gradients, four.optimizer, four.activations) == (4.0, 2.0, 4.0, 3.0)
    assert four.held == 13.0 and memory.held == 37.0
    assert memory.sharded(2).held == 6.0 + 4.0 + 8.0 + 3.0
    assert memory.sharded(2, weights_too=False).held == 10.0 + 4.0 + 8.0 + 3.0


def test_the_audio_part_is_counted(tiny_model_dir: Path) -> None:
    model = load_model(str(tiny_model_dir)).model.model
    parts = (model.audio_tower, model.multi_modal_projector)
    bytes_of = sum(p.nbytes for part in parts for p in part.parameters())
    assert forecast_memory(str(tiny_model_dir), train("full"), ROW).audio_part == bytes_of


# --- the recipe's rows


def recipe(folder: Path, model: Path, corpus: Path, **changes: Any) -> Recipe:
    return Recipe.model_validate(tiny_recipe(folder, model, corpus, **changes))


def test_the_longest_row_is_no_shorter_than_its_tokens(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    row, num_rows = longest_row(recipe(tmp_path, tiny_model_dir, tiny_corpus))
    assert row.seconds == 0.7  # of the recordings of 0.5, 0.6 and 0.7 s
    assert num_rows == 18 + 5  # all as text, and the larger budget as speech
    answers = [len(json.dumps(json.loads(line)["entities"])) for line in tiny_corpus.read_text().splitlines()]
    assert max(answers) / 3 < row.num_answer_tokens < row.num_tokens


def test_a_recipe_that_trains_nothing_has_no_rows(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trains nothing"):
        longest_row(recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["zero_shot"]))


# --- before training


def test_a_step_that_cannot_fit_is_refused_before_training(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(tmp_path, tiny_model_dir, tiny_corpus)
    row, _ = longest_row(settings)
    held = forecast_memory(settings.model, settings.train, row).held
    monkeypatch.setattr(module, "machine_bytes", lambda: held + 1)
    assert check_memory(settings, row).startswith("warning: a training step needs about 1.0 GiB")
    monkeypatch.setattr(module, "machine_bytes", lambda: held - 1)
    with pytest.raises(UserError, match="plan-memory RECIPE"):
        run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus)
    assert not list(tmp_path.glob("runs/tiny/stages/*"))


def test_before_sharded_training_a_process_s_share_is_what_must_fit(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {**tiny_recipe(tmp_path, tiny_model_dir, tiny_corpus)["train"], "language_model": "full"}
    settings = recipe(tmp_path, tiny_model_dir, tiny_corpus, train=train)
    memory = forecast_memory(settings.model, settings.train, ROW)
    monkeypatch.setattr(module, "machine_bytes", lambda: memory.sharded(4).held + 1)
    with pytest.raises(UserError, match="plan-memory RECIPE"):
        check_memory(settings, ROW)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setattr(module, "processes", lambda: SimpleNamespace(num_processes=4))
    assert check_memory(settings, ROW).startswith("warning: a training step needs")
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr(module, "machine_bytes", lambda: memory.sharded(4, weights_too=False).held - 1)
    with pytest.raises(UserError, match="plan-memory RECIPE"):
        check_memory(settings, ROW)
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    assert check_memory(settings, ROW).startswith("warning: a training step needs")
