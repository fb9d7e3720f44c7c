"""bfloat16 where the hardware computes in it, else float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from spoken_rows import text_row

from sottovoce.core.recipe import StageSettings, Train
from sottovoce.models import precision
from sottovoce.models.load import load_model
from sottovoce.train.schemes import Stage
from sottovoce.train.stage import plan_stages, run_stage
from sottovoce.train.weights import TRAINED


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    real = precision.computes_bf16
    real.cache_clear()
    yield
    real.cache_clear()


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks the processor, not the GPU")
@pytest.mark.parametrize(
    ("capabilities", "native"), [({}, False), ({"avx512_bf16": True}, True), ({"bf16": True}, True)]
)
def test_the_processor_is_asked(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], native: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision.computes_bf16() == native


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks the processor, not the GPU")
def test_wrong_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.products_are_right()
    right = torch.Tensor.__matmul__

    def wrong(left: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        found = right(left, other)
        return found * 1.02 if left.dtype == torch.bfloat16 else found

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(torch.Tensor, "__matmul__", wrong)
    assert not precision.computes_bf16()


def test_without_it_a_model_is_loaded_and_trained_in_float32(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sottovoce.models.load.computes_bf16", lambda: False)
    loaded = load_model(str(tiny_model_dir), bf16=True)
    assert (loaded.model.dtype, loaded.bf16) == (torch.float32, False)
    products: set[torch.dtype] = set()
    layer = loaded.model.model.language_model.layers[0].mlp.up_proj
    layer.register_forward_hook(lambda module, inputs, output: products.add(output.dtype))
    train = Train(language_model="full", per_device_train_batch_size=2, stage=StageSettings(num_train_epochs=1))
    (plan,) = plan_stages([Stage("text", (), train.stage)], [["a", "b"]], "root")
    weights = run_stage(loaded, plan, [text_row(loaded, "light on")] * 2, train, tmp_path, seed=0)
    assert products == {torch.float32}
    assert (weights / TRAINED).exists()


@pytest.mark.parametrize(("native", "asked", "name", "num_lines"), [
    (True, True, "bfloat16", 0), (True, False, "float32", 0), (False, True, "float32", 1), (False, False, "float32", 0),
])  # fmt: skip
def test_what_is_computed_in_is_named(
    monkeypatch: pytest.MonkeyPatch, native: bool, asked: bool, name: str, num_lines: int
) -> None:
    monkeypatch.setattr(precision, "computes_bf16", lambda: native)
    lines = precision.precision_lines(asked)
    assert (precision.precision_named(asked), len(lines)) == (name, num_lines)
    assert all(line.startswith("No bfloat16 on this ") for line in lines)
