"""Two real processes (gloo, on the CPU) against one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import two_processes
from spoken_rows import tensors
from tiny_study import results_of, write_recipe
from two_processes import launched

from sottovoce.core.errors import UserError
from sottovoce.train.processes import accumulation_of


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_one_reads_text_and_the_other_hears_speech_and_the_result_is_that_of_one(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(two_processes.module, "training_order", None)  # put back afterwards
    alone = tensors(two_processes.train(tiny_model_dir, tmp_path / "one", kind))
    launched(two_processes.__file__, str(tiny_model_dir), str(tmp_path / "two"), kind, "1")
    (done,) = (tmp_path / "two").glob("*/done.json")
    assert json.loads(done.read_text())["steps"] == 3
    together = tensors(done.parent / "weights")
    assert together.keys() == alone.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.slow
def test_what_two_began_one_finishes_as_if_it_had_been_alone(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_processes.module, "training_order", None)
    alone = tensors(two_processes.train(tiny_model_dir, tmp_path / "one", "lora"))
    launched(two_processes.__file__, str(tiny_model_dir), str(tmp_path / "two"), "lora", "1", "3", dies=True)
    assert [path.name for path in (tmp_path / "two").glob("*/checkpoint-*")] == ["checkpoint-2"]
    finished = tensors(two_processes.train(tiny_model_dir, tmp_path / "two", "lora"))
    for name, tensor in alone.items():
        torch.testing.assert_close(finished[name], tensor, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.slow
def test_a_study_in_two_processes_gives_the_files_of_one(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    stage = {"num_train_epochs": 1, "learning_rate": 1e-2}
    train = {"language_model": "lora", "bf16": False, "stage": stage, "first_stage": stage, "last_stage": stage}
    train |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    schemes = ["text_only", "curriculum"]
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=schemes, budgets=[0.3], train=train)
    said = launched("-m", "sottovoce", "study", str(path))
    assert said.count("preflight proofs passed") == 1
    study = tmp_path / "runs/tiny"
    found = results_of(study)
    assert (study / "report.html").exists() and len([name for name in found if name.endswith("scores.json")]) == 2
    again = launched("-m", "sottovoce", "study", str(path))
    assert "everything is already finished" in again and results_of(study) == found


def test_batches_that_cannot_be_shared_are_refused() -> None:
    assert [accumulation_of(6, number) for number in (1, 2, 3)] == [6, 3, 2]
    with pytest.raises(UserError, match="a multiple of 4, and train"):
        accumulation_of(6, 4)
