"""Stages on a GPU: killed and resumed, on upper layers alone, in 4 bits, and in a whole study; on the CPU too."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from on_devices import loaded_on
from spoken_rows import mixed_rows, tensors, utterance
from test_stage import FIRST, Killed, plan, train
from tiny_model import save_tiny_model
from tiny_study import run_tiny_study

from sottovoce.core.recipe import Lora, Train
from sottovoce.data.prompts import slu_example
from sottovoce.study.preflight import PROOFS, prove
from sottovoce.train import stage as module
from sottovoce.train.stage import run_stage
from sottovoce.train.trainer import AnswerTrainer


def trained(model: Path, device: torch.device, folder: Path, settings: Train) -> dict[str, torch.Tensor]:
    """The weights after the first stage, trained in ``folder`` or resumed there."""
    loaded = loaded_on(device, model, settings.bf16)
    return tensors(run_stage(loaded, plan(FIRST), mixed_rows(loaded), settings, folder, seed=0))


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages log nothing: tensorboard is not carried to a GPU machine."""
    arguments_of = module.training_arguments

    def arguments(*args: Any) -> Any:
        made = arguments_of(*args)
        made.report_to = []
        return made

    monkeypatch.setattr(module, "training_arguments", arguments)


@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_killed_stage_comes_to_the_weights_of_one_that_was_not(
    tiny_model_dir: Path, tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch, kind: str, bf16: bool
) -> None:
    """The same bits on a CPU; on a GPU sums are added in any order, and bits differ from run to run."""
    settings = train(kind, bf16=bf16)
    whole = trained(tiny_model_dir, device, tmp_path / "whole", settings)
    step = AnswerTrainer.training_step

    def stopping(self: AnswerTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step == 4:
            raise Killed
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(AnswerTrainer, "training_step", stopping)
        trained(tiny_model_dir, device, tmp_path / "stopped", settings)
    assert list(tmp_path.glob("stopped/*/checkpoint-4"))
    resumed = trained(tiny_model_dir, device, tmp_path / "stopped", settings)
    assert resumed.keys() == whole.keys()
    tolerance = 0.0 if device.type == "cpu" else 0.02 if bf16 else 1e-3  # of updates that are 0.01 a step
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.usefixtures("unlogged")
def test_upper_layers_alone_are_trained_from_kept_lower_states(
    tiny_model_dir: Path, tmp_path: Path, device: torch.device
) -> None:
    weights = trained(tiny_model_dir, device, tmp_path, train("lora", lora=Lora(r=4, first_layer=1)))
    assert weights and all(".layers.1." in name and bool(tensor.isfinite().all()) for name, tensor in weights.items())
    assert any(bool(tensor.any()) for name, tensor in weights.items() if "lora_B" in name)
    assert json.loads(next(tmp_path.glob("*/done.json")).read_text())["steps"] == 6


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (extra qlora)")
def test_the_preflight_proofs_hold_in_four_bits(tmp_path: Path, device: torch.device) -> None:
    loaded = loaded_on(device, save_tiny_model(tmp_path, hidden_size=128), bf16=True, load_in_4bit=True)
    settings = Train(language_model="lora", load_in_4bit=True, per_device_train_batch_size=4)
    examples = [slu_example(utterance("x"), modality) for modality in ("text", "speech") * 2]
    assert [proof.name for proof in prove(loaded, settings, examples, mixed_rows(loaded))] == list(PROOFS)


def test_a_study_is_trained_decoded_and_scored(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, device: torch.device
) -> None:
    for name in ("tensorboard", "matplotlib"):
        pytest.importorskip(name, reason=f"{name} is not carried to a GPU machine, and not here")
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["curriculum"], budgets=[0.3])
    scores = json.loads((study / "cells/curriculum-30pct/scores.json").read_text())
    assert {scores[modality]["strict"]["num_scored"] for modality in ("speech", "text")} == {6}
