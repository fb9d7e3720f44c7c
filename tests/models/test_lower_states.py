"""Frozen lower layers computed once for each row: the same loss and gradients, in every family where it is possible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from spoken_rows import mixed_rows, same_weights, tensors, text_row, weights_of

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.data.collate import Row, collate_training
from sottovoce.models import lower_states as module
from sottovoce.models.injection import answer_loss, bare
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.models.lower_states import LowerStates
from sottovoce.train import trainer
from sottovoce.train.parts import with_weights
from sottovoce.train.schemes import Stage
from sottovoce.train.sharding import decoder_layers
from sottovoce.train.stage import plan_stages, run_stage

UPPER = Train.model_validate(
    {
        "language_model": "lora", "lora": {"r": 4, "first_layer": 1}, "bf16": False, "per_device_train_batch_size": 2,
        "stage": {"num_train_epochs": 2, "learning_rate": 1e-2},
    }
)  # fmt: skip


def adapted(loaded: LoadedModel) -> Any:
    """The model with an adapter on its upper layers, which is no longer what it begins as: no change at all."""
    model = with_weights(loaded, UPPER, None).train()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    return model


def loss_and_gradients(model: Any, rows: list[Row], pad_id: int, first_layer: int) -> dict[str, torch.Tensor]:
    model.zero_grad()
    total, _ = answer_loss(model, collate_training(rows, pad_id), first_layer)
    total.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradients | {"the loss": total.detach()}


def test_loss_and_gradients_are_those_of_all_layers(loaded: LoadedModel) -> None:
    rows, model = mixed_rows(loaded), adapted(loaded)
    kept = LowerStates(1).of(loaded, rows)
    whole, upper = (loss_and_gradients(model, each, loaded.pad_id, n) for each, n in ((rows, 0), (kept, 1)))
    assert whole.keys() == upper.keys() and len(whole) > 10
    assert all(".layers.0." not in name for name in whole)
    for name, expected in whole.items():
        assert bool(expected.any()), name
        torch.testing.assert_close(upper[name], expected, rtol=1e-4, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


def test_each_row_goes_through_the_lower_layers_once_and_by_itself(loaded: LoadedModel) -> None:
    rows, states, calls = mixed_rows(loaded), LowerStates(1), list[tuple[int, ...]]()
    hook = decoder_layers(loaded.model)[0].register_forward_hook(
        lambda layer, inputs, output: calls.append(tuple(inputs[0].shape[:2]))
    )
    first = states.of(loaded, rows[:2])
    again = states.of(loaded, [*rows, text_row(loaded, "light on")])  # the last one is rows[0] tokenised once more
    hook.remove()
    assert len(calls) == 4 and {batch for batch, _ in calls} == {1}
    assert again[0].lower_states is first[0].lower_states is again[4].lower_states
    width = loaded.model.get_submodule(loaded.family.text_model).config.hidden_size
    for row, kept in zip(rows, again, strict=False):
        assert kept.lower_states is not None and kept.lower_states.shape == (len(row), width)
        (alone,) = LowerStates(1).of(loaded, [row])
        assert alone.lower_states is not None and torch.equal(alone.lower_states, kept.lower_states)


def test_a_stage_trains_the_upper_layers_to_the_same_weights(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what comes out is loaded like any other adapter, on lower layers as they were."""
    found = {}
    for kind in ("upper", "whole"):
        if kind == "whole":  # the same adapter, but all layers at every step
            monkeypatch.setattr(trainer, "answer_loss", lambda model, batch, _: answer_loss(model, batch))
            monkeypatch.setattr(LowerStates, "of", lambda self, loaded, rows: list(rows))
        loaded = load_model(str(tiny_model_dir), bf16=False)
        before = weights_of(decoder_layers(loaded.model)[0])
        (plan,) = plan_stages([Stage("text", (), UPPER.stage)], [list("abcd")], kind)
        weights = run_stage(loaded, plan, mixed_rows(loaded), UPPER, tmp_path, seed=0)
        found[kind] = tensors(weights)
        again = with_weights(load_model(str(tiny_model_dir), bf16=False), UPPER, weights)
        assert same_weights(weights_of(decoder_layers(again)[0]), before)
    assert found["upper"].keys() == found["whole"].keys()
    assert not any(".layers.0." in name for name in found["upper"])
    for name, tensor in found["whole"].items():
        torch.testing.assert_close(found["upper"][name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_states_that_take_too_much_memory_are_refused(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine_bytes", lambda: 1e4)
    with pytest.raises(UserError, match="of memory"):
        LowerStates(1).of(loaded, mixed_rows(loaded))


def test_there_must_be_a_layer_to_train(loaded: LoadedModel) -> None:
    number = len(decoder_layers(bare(loaded.model)))
    train = UPPER.model_copy(update={"lora": UPPER.lora.model_copy(update={"first_layer": number})})
    with pytest.raises(UserError, match=f"first_layer is {number}, but there are only {number} layers"):
        with_weights(loaded, train, None)


def test_a_language_model_that_is_more_than_its_layers_is_refused(loaded: LoadedModel) -> None:
    config = loaded.model.get_submodule(loaded.family.text_model).config
    config.embedding_multiplier = 12.0  # as Granite has
    with pytest.raises(UserError, match="scales the input of its first layer"):
        LowerStates(1).of(loaded, mixed_rows(loaded))
    config.embedding_multiplier, config.layer_types = 1.0, ["sliding_attention", "full_attention"]
    with pytest.raises(UserError, match="use different kinds of attention"):
        LowerStates(1).of(loaded, mixed_rows(loaded))


@pytest.mark.parametrize("part", ["language_model=full", "projector=full", "audio_tower=lora"])
def test_what_enters_the_lower_layers_must_be_frozen(part: str) -> None:
    key, _, value = part.partition("=")
    with pytest.raises(ValueError, match=r"lora\.first_layer needs"):
        Train.model_validate({"language_model": "lora", "lora": {"first_layer": 1}} | {key: value})


def test_without_it_settings_read_as_before() -> None:
    assert "first_layer" not in Train().model_dump(mode="json")["lora"]
    assert UPPER.model_dump(mode="json")["lora"]["first_layer"] == 1
    assert Train.model_validate(UPPER.model_dump(mode="json")) == UPPER
