from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from spoken_rows import mixed_rows, text_row, weights_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import Trainer, TrainingArguments

from sottovoce.core.errors import UserError
from sottovoce.data.collate import LENGTH_STEP, collate_training
from sottovoce.models import injection
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.train import trainer as trainer_module
from sottovoce.train.trainer import AnswerTrainer, Rows, training_order


def arguments(folder: Path, **changes: object) -> TrainingArguments:
    settings = {
        "output_dir": str(folder), "max_steps": 1, "learning_rate": 0.1, "optim": "sgd",
        "max_grad_norm": 0.0, "use_cpu": True, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "logging_steps": 1, "lr_scheduler_type": "constant",
    }  # fmt: skip
    return TrainingArguments(**(settings | changes))  # type: ignore[arg-type]


def after_one_step(
    tiny: Path, folder: Path, batch_size: int, accumulation: int
) -> tuple[dict[str, torch.Tensor], float]:
    """The weights after one step of plain gradient descent over the mixed rows, and the loss that is logged."""
    loaded = load_model(str(tiny), bf16=False)
    loaded.model.model.language_model.requires_grad_(True)
    args = arguments(folder, per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation)
    trainer = AnswerTrainer(loaded.model, args, Rows(mixed_rows(loaded), [0, 1, 2, 3]), loaded.pad_id)
    trainer.train()
    return weights_of(loaded.model), float(trainer.state.log_history[0]["loss"])


def test_a_step_does_not_depend_on_how_its_batch_is_split(tiny_model_dir: Path, tmp_path: Path) -> None:
    whole, loss = after_one_step(tiny_model_dir, tmp_path, batch_size=4, accumulation=1)
    for batch_size, accumulation in ((2, 2), (1, 4)):
        split, split_loss = after_one_step(tiny_model_dir, tmp_path, batch_size, accumulation)
        assert split_loss == pytest.approx(loss, rel=1e-3)
        for name, tensor in whole.items():
            torch.testing.assert_close(split[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_a_step_goes_down_the_mean_over_all_labelled_tokens(
    loaded: LoadedModel, tiny_model_dir: Path, tmp_path: Path
) -> None:
    after, logged = after_one_step(tiny_model_dir, tmp_path, batch_size=2, accumulation=2)
    weight = loaded.model.model.language_model.layers[0].mlp.up_proj.weight.requires_grad_(True)
    total, num_labels = answer_loss(loaded.model, collate_training(mixed_rows(loaded), loaded.pad_id))
    (gradient,) = torch.autograd.grad(total / num_labels, weight)
    expected = weight.detach() - 0.1 * gradient
    found = after["model.language_model.layers.0.mlp.up_proj.weight"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(found, weight.detach(), rtol=1e-4, atol=1e-7)
    assert logged == pytest.approx(float(total.detach() / num_labels), rel=1e-3)


@pytest.mark.parametrize("packs", [True, False])
def test_the_share_of_computed_positions_without_a_token_is_logged(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packs: bool
) -> None:
    monkeypatch.setattr(trainer_module, "family_of", lambda model_type: replace(loaded.family, packs=packs))
    monkeypatch.setattr(injection, "family_of", lambda model_type: replace(loaded.family, packs=packs))
    computed: list[int] = []
    loaded.model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: computed.append(kwargs["inputs_embeds"][..., 0].numel()), with_kwargs=True
    )
    loaded.model.model.language_model.requires_grad_(True)
    rows = mixed_rows(loaded)
    settings = {"max_steps": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}
    trainer = AnswerTrainer(loaded.model, arguments(tmp_path, **settings), Rows(rows, [0, 1, 2, 3]), loaded.pad_id)
    trainer.train()
    num_tokens = [len(rows[0]) + len(rows[1]), len(rows[2]) + len(rows[3])]
    expected = [1 - tokens / positions for tokens, positions in zip(num_tokens, computed, strict=True)]
    assert [entry.get("padding_share") for entry in trainer.state.log_history] == [*expected, None]
    assert len(set(expected)) == 2 and all(0 < share < 1 for share in expected)
    padded = [2 * max(-(-len(row) // LENGTH_STEP) * LENGTH_STEP for row in rows[at : at + 2]) for at in (0, 2)]
    assert (computed < padded) == packs and (computed == padded) != packs


def test_the_share_of_padding_is_that_since_the_last_log_and_stands_in_tensorboard(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    loaded.model.model.language_model.requires_grad_(True)
    rows = mixed_rows(loaded)
    settings = {"max_steps": 2, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    settings |= {"logging_steps": 2, "report_to": "tensorboard"}
    trainer = AnswerTrainer(loaded.model, arguments(tmp_path, **settings), Rows(rows, [0, 1, 2, 3]), loaded.pad_id)
    trainer.train()
    (logged,) = (entry["padding_share"] for entry in trainer.state.log_history if "loss" in entry)
    lengths = [len(row) for row in rows]
    # One row by itself is not filled up beyond what it would be padded to.
    assert logged == 1 - sum(lengths) / sum(-(-length // LENGTH_STEP) * LENGTH_STEP for length in lengths)
    events = EventAccumulator(str(next(tmp_path.rglob("events.out*")).parent))
    events.Reload()
    (event,) = events.Scalars("train/padding_share")
    assert event.value == pytest.approx(logged)


def test_rows_are_trained_in_the_given_order(loaded: LoadedModel, tmp_path: Path) -> None:
    rows = mixed_rows(loaded)
    trainer = AnswerTrainer(loaded.model, arguments(tmp_path), Rows(rows, [2, 0, 2, 1]), loaded.pad_id)
    batches = list(trainer.get_train_dataloader().batch_sampler)
    assert [index for batch in batches for index in batch] == [0, 1, 2, 3]
    assert [trainer.train_dataset[position] is rows[index] for position, index in enumerate([2, 0, 2, 1])] == [True] * 4


def test_one_process_with_several_gpus_is_told_to_launch_as_many(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = arguments(tmp_path)
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 2))
    with pytest.raises(UserError, match="accelerate launch --num_processes 2 -m sottovoce"):
        AnswerTrainer(loaded.model, args, Rows([text_row(loaded, "light on")], [0]), loaded.pad_id)


def test_every_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    order = training_order(50, num_epochs=3, seed=0)
    epochs = [order[start : start + 50] for start in (0, 50, 100)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert training_order(50, 3, seed=0) == order != training_order(50, 3, seed=1)


def test_modalities_and_lengths_meet_in_a_batch() -> None:
    order = training_order(600, num_epochs=1, seed=0)
    spoken = [sum(row >= 400 for row in order[start : start + 8]) for start in range(0, 600, 8)]  # the last 200 rows
    assert sum(0 < number < 8 for number in spoken) > 60  # by chance 72 of 75


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("_get_train_sampler", ["train_dataset"]),
        ("compute_loss", ["model", "inputs", "return_outputs", "num_items_in_batch"]),
        ("save_model", ["output_dir", "_internal_call"]),
        ("_load_from_checkpoint", ["resume_from_checkpoint", "model"]),
        ("_save_optimizer_and_scheduler", ["output_dir"]),
        ("_load_optimizer_and_scheduler", ["checkpoint"]),
        ("evaluate", ["eval_dataset", "ignore_keys", "metric_key_prefix"]),
        ("_load_best_model", []),
        ("log", ["logs", "start_time"]),
    ],
)
def test_the_trainer_of_transformers_still_asks_what_ours_answers(name: str, arguments: list[str]) -> None:
    asked = inspect.signature(getattr(Trainer, name)).parameters
    answered = inspect.signature(getattr(AnswerTrainer, name)).parameters
    assert list(asked) == list(answered) == ["self", *arguments]
    assert f"self.{name}" in inspect.getsource(Trainer).replace(f"def {name}", "")
