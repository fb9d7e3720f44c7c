from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spoken_rows import AUDIO_PARTS, mixed_rows, same_weights, tensors, text_row, weights_of

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Lora, StageSettings, Train
from sottovoce.data.collate import collate_training
from sottovoce.data.mixture import Part
from sottovoce.models.injection import answer_loss, bare
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.train import stage as module
from sottovoce.train.parts import with_weights
from sottovoce.train.schemes import Stage
from sottovoce.train.stage import StagePlan, plan_stages, run_stage
from sottovoce.train.trainer import AnswerTrainer

SETTINGS = StageSettings(num_train_epochs=3, learning_rate=1e-2)
TEXT, SPEECH = Part("text", of="all"), Part("speech", of="budget")
FIRST, LAST = Stage("text", (TEXT,), SETTINGS), Stage("text+speech", (TEXT, SPEECH), SETTINGS)
KEYS = (("t1", "t2"), ("t1", "t2", "s1"))
KINDS = pytest.mark.parametrize("kind", ["lora", "full"])


class Killed(Exception):  # noqa: N818
    """Stands for whatever ends a process."""


def train(kind: str, **changes: Any) -> Train:
    settings = {"language_model": kind, "bf16": False, "per_device_train_batch_size": 2, "save_steps": 2}
    return Train(**(settings | {"logging_steps": 1, "lora": Lora(r=4, lora_dropout=0.1)} | changes))


def plan(*stages: Stage) -> StagePlan:
    return plan_stages(stages, KEYS[: len(stages)], "root")[-1]


def fresh(tiny: Path) -> LoadedModel:
    return load_model(str(tiny), bf16=False)


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the next training end in an exception at a step (1 is the first)."""
    step = AnswerTrainer.training_step

    def at(last: int) -> None:
        def stopping(self: AnswerTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
            if self.state.global_step + 1 == last:
                raise Killed
            return step(self, *args, **kwargs)

        monkeypatch.setattr(AnswerTrainer, "training_step", stopping)

    return at


# --- what is trained


@KINDS
def test_training_changes_the_language_model_and_leaves_the_audio_part_bit_for_bit(
    loaded: LoadedModel, tiny_model_dir: Path, tmp_path: Path, kind: str
) -> None:
    before = weights_of(loaded.model)
    run_stage(loaded, plan(LAST), mixed_rows(loaded), train(kind), tmp_path, seed=0)
    after = weights_of(bare(loaded.model))
    frozen = {name for name in before if any(part in name for part in AUDIO_PARTS)}
    assert len(frozen) > 20
    assert same_weights({name: before[name] for name in frozen}, {name: after[name] for name in frozen})
    layers = [name for name in before if "language_model.layers" in name and "proj" in name]
    if kind == "full":
        assert not any(torch.equal(before[name], after[name]) for name in [*layers, "lm_head.weight"])
    else:
        assert all(torch.equal(before[n], after[n.replace(".weight", ".base_layer.weight")]) for n in layers)
        lora = {name: tensor for name, tensor in after.items() if "lora_B" in name}
        assert len(lora) == len(layers) and all(tensor.any() for tensor in lora.values())


def test_lora_sits_on_every_linear_layer_of_the_language_model_and_nowhere_else(loaded: LoadedModel) -> None:
    language = loaded.model.model.language_model
    linears = {name for name, child in language.named_modules() if isinstance(child, torch.nn.Linear)}
    model = with_weights(loaded, train("lora"), None)
    adapted = {name for name, child in bare(model).named_modules() if hasattr(child, "lora_A")}
    assert adapted == {f"model.language_model.{name}" for name in linears} and len(linears) == 2 * 7
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and all("language_model" in name and "lora_" in name for name in trained)


def test_in_full_only_the_language_model_and_its_head_are_trained(loaded: LoadedModel) -> None:
    model = with_weights(loaded, train("full"), None)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {n for n, _ in model.named_parameters() if n.startswith(("model.language_model.", "lm_head."))}


def test_lora_that_finds_nothing_to_attach_to_is_refused(loaded: LoadedModel) -> None:
    elsewhere = replace(loaded, family=replace(loaded.family, language_model=r".*no_such_layer"))
    with pytest.raises(UserError, match="LoRA finds nothing to attach to in qwen2_audio"):
        with_weights(elsewhere, train("lora"), None)


@KINDS
def test_saved_weights_give_back_the_trained_model(
    loaded: LoadedModel, tiny_model_dir: Path, tmp_path: Path, kind: str
) -> None:
    ids = torch.tensor([text_row(loaded, "light on").prompt_ids])
    untrained = loaded.model(input_ids=ids).logits.detach()
    weights = run_stage(loaded, plan(FIRST), mixed_rows(loaded), train(kind), tmp_path, seed=0)
    again = with_weights(fresh(tiny_model_dir), train(kind), weights).eval()
    with torch.inference_mode():
        logits = again(input_ids=ids).logits
        assert torch.equal(logits, bare(loaded.model).eval()(input_ids=ids).logits)
    assert not torch.allclose(logits, untrained, atol=1e-2)


def test_a_frozen_weight_that_has_changed_is_found_after_training(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = AnswerTrainer.training_step

    def touching(self: AnswerTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        loaded.model.model.multi_modal_projector.linear.bias.data[3] += 1e-3
        return step(self, *args, **kwargs)

    monkeypatch.setattr(AnswerTrainer, "training_step", touching)
    with pytest.raises(UserError, match=r"multi_modal_projector\.linear\.bias is frozen but has changed"):
        run_stage(loaded, plan(LAST), mixed_rows(loaded), train("lora"), tmp_path, seed=0)
    assert not list(tmp_path.glob("*/done.json"))


def test_training_lowers_the_loss(loaded: LoadedModel, tmp_path: Path) -> None:
    rows = mixed_rows(loaded)
    batch = collate_training(rows, loaded.pad_id)
    before, _ = answer_loss(loaded.model, batch)
    stage = replace(FIRST, settings=StageSettings(num_train_epochs=12, learning_rate=1e-2))
    run_stage(loaded, plan(stage), rows, train("full"), tmp_path, seed=0)
    after, _ = answer_loss(loaded.model, batch)
    assert float(after.detach()) < float(before.detach()) / 2


# --- naming


def test_equal_plans_have_equal_keys_and_the_stage_before_is_the_parent() -> None:
    first, last = plan_stages([FIRST, LAST], KEYS, "root")
    assert plan_stages([FIRST, LAST], KEYS, "root") == [first, last]
    assert plan_stages([FIRST], KEYS[:1], "root") == [first]
    assert (first.parent_key, last.parent_key) == ("", first.key)


@pytest.mark.parametrize(
    "other",
    [
        plan_stages([FIRST, LAST], KEYS, "other root: model, seed or common settings"),
        plan_stages([FIRST, LAST], [("t1",), KEYS[1]], "root"),
        plan_stages([FIRST, LAST], [("t2", "t1"), KEYS[1]], "root"),
        plan_stages([replace(FIRST, settings=StageSettings(learning_rate=2e-2)), LAST], KEYS, "root"),
        plan_stages([replace(FIRST, settings=StageSettings(num_train_epochs=1)), LAST], KEYS, "root"),
        plan_stages([replace(FIRST, mixture=(Part("text", of="all", repeats=2),)), LAST], KEYS, "root"),
    ],
)
def test_whatever_changes_the_first_stage_changes_its_key_and_that_of_the_next(other: list[StagePlan]) -> None:
    first, last = plan_stages([FIRST, LAST], KEYS, "root")
    assert other[0].key != first.key and other[1].key != last.key


def test_a_change_of_the_last_stage_leaves_the_first_to_be_shared() -> None:
    before = plan_stages([FIRST, LAST], KEYS, "root")
    after = plan_stages([FIRST, LAST], (KEYS[0], ("t1", "t2", "s2")), "root")
    assert after[0] == before[0] and after[1].key != before[1].key


def test_the_same_stage_after_another_or_none_is_another() -> None:
    assert plan_stages([LAST], KEYS[1:], "root")[0].key != plan_stages([FIRST, LAST], KEYS, "root")[1].key


# --- running


@KINDS
def test_a_stage_that_is_done_is_not_trained_again(
    tiny_model_dir: Path, tmp_path: Path, stop_at: Callable[[int], None], kind: str
) -> None:
    loaded = fresh(tiny_model_dir)
    rows = mixed_rows(loaded)
    weights = run_stage(loaded, plan(FIRST), rows, train(kind), tmp_path, seed=0)
    assert not list(weights.parent.glob("checkpoint-*"))
    stop_at(1)
    assert run_stage(fresh(tiny_model_dir), plan(FIRST), rows, train(kind), tmp_path, seed=0) == weights
    with pytest.raises(Killed):
        run_stage(fresh(tiny_model_dir), plan(LAST), rows, train(kind), tmp_path, seed=0)


def trained(tiny: Path, folder: Path, settings: Train, seed: int = 0) -> Path:
    """The folder of the weights after the first stage, trained in ``folder`` or gone on with there."""
    loaded = fresh(tiny)
    return run_stage(loaded, plan(FIRST), mixed_rows(loaded), settings, folder, seed)


@KINDS
def test_the_seed_decides_the_weights(tiny_model_dir: Path, tmp_path: Path, kind: str) -> None:
    first, again, other = (
        tensors(trained(tiny_model_dir, tmp_path / name, train(kind), seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert same_weights(first, again) and not same_weights(first, other)


@KINDS
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_killed_stage_goes_on_to_the_bits_of_one_that_was_not(
    tiny_model_dir: Path, tmp_path: Path, stop_at: Callable[[int], None], kind: str, accumulation: int
) -> None:
    settings = train(kind, gradient_accumulation_steps=accumulation, save_steps=3 - accumulation)
    whole, stopped = trained(tiny_model_dir, tmp_path / "whole", settings), tmp_path / "stopped"
    stop_at(6 // accumulation)
    with pytest.raises(Killed):
        trained(tiny_model_dir, stopped, settings)
    assert list(stopped.glob("*/checkpoint-*")) and not list(stopped.glob("*/done.json"))
    stop_at(1)  # going on, there is no first step
    assert same_weights(tensors(whole), tensors(trained(tiny_model_dir, stopped, settings)))


def test_a_checkpoint_that_was_cut_short_is_passed_over(
    tiny_model_dir: Path, tmp_path: Path, stop_at: Callable[[int], None]
) -> None:
    whole, stopped = trained(tiny_model_dir, tmp_path / "whole", train("lora")), tmp_path / "stopped"
    stop_at(4)
    with pytest.raises(Killed):
        trained(tiny_model_dir, stopped, train("lora"))
    half = stopped / plan(FIRST).key / "checkpoint-4"  # killed while it was written: no state of the Trainer yet
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    stop_at(1)
    assert same_weights(tensors(whole), tensors(trained(tiny_model_dir, stopped, train("lora"))))


@KINDS
def test_the_second_stage_starts_from_the_weights_of_the_first(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    loaded = fresh(tiny_model_dir)
    rows = mixed_rows(loaded)
    first = run_stage(loaded, plan(FIRST), rows, train(kind), tmp_path, seed=0)
    starts: list[dict[str, torch.Tensor]] = []

    class Watched(AnswerTrainer):
        def train(self, **kwargs: Any) -> Any:
            starts.append(weights_of(self.model))
            return super().train(**kwargs)

    monkeypatch.setattr(module, "AnswerTrainer", Watched)
    last = run_stage(fresh(tiny_model_dir), plan(FIRST, LAST), rows, train(kind), tmp_path, seed=0)
    saved = {name.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default."): tensor
             for name, tensor in tensors(first).items()}  # fmt: skip
    assert saved.keys() <= starts[0].keys()
    assert all(torch.equal(starts[0][name], tensor) for name, tensor in saved.items())
    assert not same_weights(tensors(first), tensors(last))


def test_what_a_stage_did_is_written_down(loaded: LoadedModel, tmp_path: Path) -> None:
    run_stage(loaded, plan(FIRST), mixed_rows(loaded), train("lora"), tmp_path, seed=0)
    done = json.loads((tmp_path / plan(FIRST).key / "done.json").read_text())
    assert (done["steps"], done["num_rows"], done["parent"]) == (6, 4, "")
    assert 0 < done["loss"] < 10


@KINDS
def test_a_loss_that_is_not_finite_is_an_error_each_time_and_soon(
    tiny_model_dir: Path, tmp_path: Path, stop_at: Callable[[int], None], kind: str
) -> None:
    wild = replace(FIRST, settings=StageSettings(num_train_epochs=3, learning_rate=1e30, warmup_ratio=0))
    stop_at(5)
    for _ in range(2):  # the second time there must be no checkpoint to go on from as if all were well
        loaded = fresh(tiny_model_dir)
        with pytest.raises(UserError, match=r"stage text: the loss is no longer finite .*; lower its learning_rate"):
            run_stage(loaded, plan(wild), mixed_rows(loaded), train(kind), tmp_path, seed=0)
    home = tmp_path / plan(wild).key
    assert not list(home.glob("checkpoint-*")) and not (home / "done.json").exists()
    course = json.loads((home / "diverged.json").read_text())
    assert any(not math.isfinite(entry["loss"]) for entry in course if "loss" in entry)


def test_weights_spoiled_by_the_last_step_are_an_error(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = AnswerTrainer.training_step

    def spoiling(self: AnswerTrainer, model: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = step(self, model, *args, **kwargs)
        if self.state.global_step == 5:
            next(parameter for parameter in model.parameters() if parameter.requires_grad).grad.fill_(torch.nan)
        return loss

    monkeypatch.setattr(AnswerTrainer, "training_step", spoiling)
    with pytest.raises(UserError, match="no longer finite"):
        run_stage(loaded, plan(FIRST), mixed_rows(loaded), train("lora"), tmp_path, seed=0)
