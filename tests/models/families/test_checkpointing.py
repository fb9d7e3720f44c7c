"""Gradient checkpointing: every family's layers computed again give the loss and the gradients that they had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spoken_rows import mixed_rows, tone
from test_families import SECONDS
from tiny_parts import audio_part_in_full

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.data.collate import collate_training
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.train.parts import with_weights
from sottovoce.train.sharding import decoder_layers

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"language_model": "lora", "lora": {"lora_dropout": 0.2}},
    "full": {"language_model": "full"},
    "audio": {},  # audio_part_in_full
}


def step(folder: Path, kind: str, checkpointing: bool) -> tuple[float, dict[str, torch.Tensor], int]:
    """Loss, gradients, and how often the first layer was computed."""
    loaded = load_model(str(folder), bf16=False)
    parts = audio_part_in_full(loaded) if kind == "audio" else KINDS[kind]
    settings = Train.model_validate({**parts, "bf16": False, "gradient_checkpointing": checkpointing})
    rows = mixed_rows(loaded)
    if kind == "audio":
        clips = iter([tone(0.5), tone(SECONDS[1], 700.0)])
        rows = [
            row if row.audio_states is None else replace(row, audio_inputs=inputs_of(loaded, next(clips)))
            for row in rows
        ]
    torch.manual_seed(0)
    model = with_weights(loaded, settings, None).train()
    with torch.no_grad():
        for parameter in model.parameters():  # an adapter's second half starts at 0, and hides the first one's gradient
            parameter.add_(0.02 * torch.randn_like(parameter) if parameter.requires_grad else 0.0)
    first = next(m for m in decoder_layers(model)[0].modules() if isinstance(m, torch.nn.Linear))
    times: list[None] = []
    first.register_forward_hook(lambda *_: times.append(None))
    torch.manual_seed(1)  # dropout, which the second time must drop the same
    total, _ = answer_loss(model, collate_training(rows, loaded.pad_id))
    total.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return float(total.detach()), gradients, len(times)


def inputs_of(loaded: LoadedModel, clip: Any) -> dict[str, torch.Tensor]:
    return loaded.family.training_inputs(loaded.model, loaded.processor, clip, "en-US")


@pytest.mark.parametrize("kind", KINDS)
def test_layers_computed_again_give_the_same_loss_and_gradients(folder: Path, kind: str) -> None:
    expected, gradients, once = step(folder, kind, False)
    found, others, twice = step(folder, kind, True)
    assert (once, twice) == (1, 2)
    assert found == pytest.approx(expected, rel=1e-6)
    assert gradients.keys() == others.keys() and any(bool(gradient.any()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_a_family_that_cannot_is_told_in_one_line(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    language = loaded.model.get_submodule(loaded.family.text_model)
    monkeypatch.setattr(type(language), "supports_gradient_checkpointing", False)
    with pytest.raises(UserError, match="qwen2_audio does not support gradient checkpointing"):
        with_weights(loaded, Train(language_model="lora", gradient_checkpointing=True), None)
