"""QLoRA: an adapter on a language model in 4 bits. The tests that need bitsandbytes are left out where it is not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from spoken_rows import mixed_rows, utterance
from tiny_model import save_tiny_model
from tiny_study import run_tiny_study

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.data.prompts import slu_example
from sottovoce.export.export import export_run
from sottovoce.models import load as load_module
from sottovoce.models.load import load_model
from sottovoce.study.preflight import PROOFS, prove
from sottovoce.study.resources.activations import RowSize
from sottovoce.study.resources.memory import forecast_memory

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (extra qlora)"
)
QLORA: dict[str, Any] = {"language_model": "lora", "load_in_4bit": True, "per_device_train_batch_size": 4}


def test_without_bitsandbytes_one_line_says_what_to_install(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'sottovoce\[qlora\]'"):
        load_model(str(tiny_model_dir), load_in_4bit=True)


def test_the_whole_language_model_is_not_trained_in_four_bits() -> None:
    with pytest.raises(ValidationError, match="load_in_4bit needs language_model: lora"):
        Train(load_in_4bit=True)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, bf16_everywhere: None) -> Path:
    """A tiny model of a width that bitsandbytes takes on a CPU."""
    return save_tiny_model(tmp_path_factory.mktemp("wide") / "model", hidden_size=128)


@needs_bitsandbytes
def test_only_the_language_models_layers_are_quantised_and_the_forecast_counts_them(wide: Path) -> None:
    loaded = load_model(str(wide), load_in_4bit=True)
    quantised = {name for name, module in loaded.model.named_modules() if type(module).__name__ == "Linear4bit"}
    assert len(quantised) == 2 * 7 and all(name.startswith("model.language_model.layers.") for name in quantised)
    settings = [Train.model_validate(QLORA | {"load_in_4bit": in_4bit}) for in_4bit in (False, True)]
    plain, small = (forecast_memory(str(wide), setting, RowSize(32, 8)) for setting in settings)
    layers = [module for name, module in load_model(str(wide)).model.named_modules() if name in quantised]
    numbers = sum(layer.weight.numel() for layer in layers)
    assert plain.weights - small.weights == pytest.approx(numbers * (2 - 0.5159), rel=1e-3)
    kept = [loaded.model.get_submodule(name).weight for name in quantised]
    assert sum(weight.nbytes for weight in kept) == numbers / 2


@needs_bitsandbytes
def test_the_preflight_proofs_hold_in_four_bits(wide: Path) -> None:
    loaded = load_model(str(wide), load_in_4bit=True)
    examples = [slu_example(utterance("x"), modality) for modality in ("text", "speech") * 2]
    held = list(prove(loaded, Train.model_validate(QLORA), examples, mixed_rows(loaded)))
    assert [proof.name for proof in held] == list(PROOFS)


@needs_bitsandbytes
def test_a_study_in_four_bits_is_trained_decoded_and_exported_in_full_precision(
    wide: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    stages = {name: {"num_train_epochs": 1, "learning_rate": 1e-2} for name in ("stage", "first_stage", "last_stage")}
    study = run_tiny_study(tmp_path, wide, tiny_corpus, schemes=["curriculum"], budgets=[0.3], train=QLORA | stages)
    run = study / "cells/curriculum-30pct"
    assert json.loads((run / "scores.json").read_text())["speech"]["strict"]["num_scored"] == 6
    said: list[str] = []
    folder = export_run(run, tmp_path / "exported", verify=True, say=said.append)
    assert any("verified" in line for line in said)
    assert "on 4-bit weights, here merged" in (folder / "README.md").read_text()
    exported, before = (load_model(str(place)).model.model.language_model for place in (folder, wide))
    weights = [model.layers[0].mlp.up_proj.weight for model in (exported, before)]
    assert weights[0].dtype == torch.bfloat16 and not torch.equal(*weights)
