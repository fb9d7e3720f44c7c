"""LoRA's scale on the small side: the same outputs and gradients, and no change to layers that are not plain."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import Linear
from spoken_rows import mixed_rows

from sottovoce.core.recipe import Lora, Train
from sottovoce.data.collate import collate_training
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel
from sottovoce.train.parts import with_weights


def adapted(loaded: LoadedModel, **settings: Any) -> Any:
    """The model with an adapter whose second half is not zero any more."""
    model = with_weights(loaded, Train(language_model="lora", bf16=False, lora=Lora(r=4, **settings)), None)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model


def layers_of(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, Linear)]


def loss_and_gradients(model: Any, batch: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    total, _ = answer_loss(model, batch)
    total.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None} | {"": total.detach()}


@pytest.mark.parametrize("alpha", [8, 5])
def test_loss_and_gradients_are_peft_s(loaded: LoadedModel, alpha: int) -> None:
    model, batch = adapted(loaded, lora_alpha=alpha), collate_training(mixed_rows(loaded), loaded.pad_id)
    found = loss_and_gradients(model, batch)
    for layer in layers_of(model):
        del layer.forward  # PEFT's own again
    expected = loss_and_gradients(model, batch)
    assert found.keys() == expected.keys() and len(found) > 10
    for name, tensor in expected.items():
        if alpha == 8 and name == "":  # a power of two by r
            assert torch.equal(found[name], tensor)
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_an_adapter_that_is_switched_off_or_merged_is_left_out(loaded: LoadedModel) -> None:
    model, batch = adapted(loaded, lora_alpha=8), collate_training(mixed_rows(loaded), loaded.pad_id)
    with torch.no_grad():
        on, _ = answer_loss(model, batch)
        with model.disable_adapter():
            off, _ = answer_loss(model, batch)
        model.merge_adapter()
        merged, _ = answer_loss(model, batch)
    assert abs(float(on - off)) > 1e-3
    torch.testing.assert_close(merged, on, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.1}, {"use_dora": True}], ids=["dropout", "DoRA"])
def test_other_adapters_stay_as_they_are(loaded: LoadedModel, settings: dict[str, Any]) -> None:
    assert all("forward" not in vars(layer) for layer in layers_of(adapted(loaded, **settings)))
