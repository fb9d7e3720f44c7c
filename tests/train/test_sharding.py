"""FSDP2 and DeepSpeed's ZeRO in two real processes (gloo, on the CPU) against one, and what of them is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import two_processes
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from spoken_rows import tensors
from tiny_study import run_tiny_study, write_recipe
from two_processes import CONFIGS, LEARNING_RATE, NUM_STEPS, launched

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.models.load import LoadedModel
from sottovoce.train.parts import with_weights
from sottovoce.train.sharding import Engine, audio_part_apart, engine_of, note_zero, refuse_foreign, set_up

has_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed (the extra `deepspeed`)"
)
FLOAT32 = {"rtol": 1e-3, "atol": 2e-5}
# Each step of AdamW moves a weight by about the learning rate at most, by a gradient rounded to bfloat16.
BFLOAT16 = {"rtol": 1e-3, "atol": NUM_STEPS * LEARNING_RATE * torch.finfo(torch.bfloat16).eps}
ZERO = [pytest.param(f"zero{stage}.yaml", marks=has_deepspeed) for stage in (2, 3)]


def same(weights: Path, others: Path, **tolerance: float) -> None:
    some, expected = tensors(weights), tensors(others)
    assert some.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(some[name], tensor, msg=name, **(tolerance or FLOAT32))


def weights_in(out: Path) -> Path:
    """The weights of the last stage that was trained."""
    return max(out.glob("*/done.json"), key=lambda path: path.stat().st_mtime).parent / "weights"


def by_one(monkeypatch: pytest.MonkeyPatch, model: Path, out: Path, kind: str, num_stages: int = 1) -> Path:
    monkeypatch.setattr(two_processes.module, "training_order", None)  # put back afterwards
    return two_processes.train(model, out, kind, "frozen", num_stages)


def by_two(config: str, model: Path, out: Path, *rest: str, dies: bool = False) -> str:
    return launched(two_processes.__file__, str(model), str(out), *rest, config=config, dies=dies)


@pytest.mark.slow
def test_sharded_one_reads_text_and_the_other_hears_speech_and_the_result_is_that_of_one(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = by_one(monkeypatch, tiny_model_dir, tmp_path / "one", "lora")
    by_two("fsdp2.yaml", tiny_model_dir, tmp_path / "two", "lora", "1")
    same(weights_in(tmp_path / "two"), alone)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["fsdp2.yaml", *ZERO])
@pytest.mark.parametrize(("kind", "num_stages"), [("full", 2), ("lora", 2), ("full+bf16", 1)])
def test_stages_sharded_come_to_the_weights_of_one_process(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, kind: str, num_stages: int
) -> None:
    alone = by_one(monkeypatch, tiny_model_dir, tmp_path / "one", kind, num_stages)
    by_two(config, tiny_model_dir, tmp_path / "two", kind, str(num_stages))
    assert len(list((tmp_path / "two").glob("*/done.json"))) == num_stages
    same(weights_in(tmp_path / "two"), alone, **(BFLOAT16 if kind.endswith("+bf16") else FLOAT32))


@pytest.mark.slow
@pytest.mark.parametrize("config", ["fsdp2.yaml", *ZERO])
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_layers_that_are_computed_again_may_be_sharded(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, kind: str
) -> None:
    alone = by_one(monkeypatch, tiny_model_dir, tmp_path / "one", kind)
    by_two(config, tiny_model_dir, tmp_path / "two", f"{kind}+again", "1")
    same(weights_in(tmp_path / "two"), alone)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["fsdp2.yaml", *ZERO])
def test_two_that_were_killed_go_on_as_if_they_had_not_been(tiny_model_dir: Path, tmp_path: Path, config: str) -> None:
    by_two(config, tiny_model_dir, tmp_path / "whole", "full", "1")
    by_two(config, tiny_model_dir, tmp_path / "cut", "full", "1", "3", dies=True)
    assert [path.name for path in (tmp_path / "cut").glob("*/checkpoint-*")] == ["checkpoint-2"]
    by_two(config, tiny_model_dir, tmp_path / "cut", "full", "1")
    same(weights_in(tmp_path / "cut"), weights_in(tmp_path / "whole"), rtol=0.0, atol=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_what_fsdp2_began_one_finishes_and_the_other_way_round(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    alone = by_one(monkeypatch, tiny_model_dir, tmp_path / "one", kind)
    by_two("fsdp2.yaml", tiny_model_dir, tmp_path / "two", kind, "1", "3", dies=True)
    by_one(monkeypatch, tiny_model_dir, tmp_path / "two", kind)
    same(weights_in(tmp_path / "two"), alone)
    monkeypatch.setattr(two_processes.AnswerTrainer, "training_step", stopping_at(3))
    with pytest.raises(KeyboardInterrupt):
        by_one(monkeypatch, tiny_model_dir, tmp_path / "other", kind)
    by_two("fsdp2.yaml", tiny_model_dir, tmp_path / "other", kind, "1")
    same(weights_in(tmp_path / "other"), alone)


def stopping_at(last: int) -> Any:
    step = two_processes.AnswerTrainer.training_step

    def stopping(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step + 1 == last:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    return stopping


@pytest.mark.slow
@pytest.mark.parametrize("config", ZERO)
def test_what_zero_began_another_number_does_not_finish(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    by_two(config, tiny_model_dir, tmp_path, "full", "1", "3", dies=True)
    with pytest.raises(UserError, match=r"checkpoint-2 was written by ZeRO-. in 2 processes, and cannot be read"):
        by_one(monkeypatch, tiny_model_dir, tmp_path, "full")


@pytest.mark.slow
@pytest.mark.parametrize("config", ["fsdp2.yaml", *ZERO])
def test_a_sharded_study_gives_the_weights_of_one_process_and_is_scored(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, config: str
) -> None:
    stage = {"num_train_epochs": 1, "learning_rate": 1e-2}
    train = {"language_model": "full", "bf16": False, "stage": stage, "first_stage": stage, "last_stage": stage}
    train |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    asked = {"schemes": ["text_only", "curriculum"], "budgets": [0.3], "train": train}
    (tmp_path / "one").mkdir()
    alone = run_tiny_study(tmp_path / "one", tiny_model_dir, tiny_corpus, **asked)
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, **asked)
    said = launched(two_processes.__file__, "study", str(path), config=config)
    assert said.count("preflight proofs passed") == 1
    study = tmp_path / "runs/tiny"
    assert (study / "report.html").exists() and len(list(study.glob("cells/*/scores.json"))) == 2
    for cell in study.glob("cells/*"):
        same(cell / "weights", alone / "cells" / cell.name / "weights")


# --- without other processes


def test_a_checkpoint_of_zero_is_read_by_as_many_processes_of_the_same_stage_alone(tmp_path: Path) -> None:
    for engine in ("", "FSDP2"):
        refuse_foreign(tmp_path, engine, 4)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="written by another engine, and cannot be read by ZeRO-2 in 4"):
        refuse_foreign(tmp_path, "ZeRO-2", 4)
    note_zero(tmp_path, "ZeRO-3", 2)
    refuse_foreign(tmp_path, "ZeRO-3", 2)
    others: list[tuple[Engine, int]] = [("ZeRO-3", 4), ("ZeRO-2", 2), ("FSDP2", 2), ("", 1)]
    for other, number in others:
        with pytest.raises(UserError, match="written by ZeRO-3 in 2 processes"):
            refuse_foreign(tmp_path, other, number)


def asking(**plugins: Any) -> Any:
    return SimpleNamespace(state=SimpleNamespace(**plugins))


def fsdp(**settings: Any) -> Any:
    calm = {"fsdp_version": 2, "cpu_ram_efficient_loading": False, "activation_checkpointing": False}
    return asking(fsdp_plugin=SimpleNamespace(**calm | settings))


def test_the_engine_is_what_the_launcher_asks_for_and_what_was_not_tried_is_refused() -> None:
    assert engine_of(asking()) == "" and engine_of(fsdp()) == "FSDP2"
    for stage in (2, 3):
        assert engine_of(asking(deepspeed_plugin=SimpleNamespace(zero_stage=stage))) == f"ZeRO-{stage}"
    for asked, fault in (
        (fsdp(fsdp_version=1), "FSDP 1 is not"),
        (fsdp(cpu_ram_efficient_loading=True), "fsdp_cpu_ram_efficient_loading is not supported"),
        (fsdp(activation_checkpointing=True), "fsdp_activation_checkpointing is not supported"),
        (asking(deepspeed_plugin=SimpleNamespace(zero_stage=1)), "ZeRO stage 1 is not supported"),
    ):
        with pytest.raises(UserError, match=fault):
            engine_of(asked)


def test_a_trained_audio_part_is_not_sharded(loaded: LoadedModel) -> None:
    model = with_weights(loaded, Train(language_model="full", projector="full"), None)
    with pytest.raises(UserError, match="FSDP2 can train only the language model"):
        set_up(fsdp(), "FSDP2", model, bf16=False)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_the_audio_part_is_hidden_and_can_be_called(loaded: LoadedModel, kind: str) -> None:
    model = with_weights(loaded, Train(language_model=kind), None)  # type: ignore[arg-type]
    names = list(model.state_dict())
    projector = loaded.model.model.multi_modal_projector
    with audio_part_apart(model):
        hidden = set(names) - set(model.state_dict())
        assert {name.split("model.")[-1].split(".")[0] for name in hidden} == {"audio_tower", "multi_modal_projector"}
        assert not any("audio_tower" in name or "projector" in name for name in model.state_dict())
        assert loaded.model.get_submodule("model.multi_modal_projector") is projector
        loaded.model.model.multi_modal_projector(torch.zeros(3, projector.linear.in_features))
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_configuration_is_one_that_accelerate_reads(path: Path) -> None:
    read = load_config_from_file(str(path))
    asked = vars(launch_command_parser().parse_args(["script.py"]))
    assert {**read.fsdp_config, **read.deepspeed_config}.keys() <= asked.keys()
    header = path.read_text(encoding="utf-8").partition("\ndistributed_type:")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert all(word in header for word in ("Command:", "Run:", path.name))


def test_configurations_are_shipped() -> None:
    assert {path.name for path in CONFIGS.glob("*.yaml")} == {"fsdp2.yaml", "zero2.yaml", "zero3.yaml"}
