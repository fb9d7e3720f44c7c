"""Rows without padding: the same states and gradients as with it, and how many positions are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from spoken_rows import mixed_rows, text_row

from sottovoce.data.collate import Batch, collate_training
from sottovoce.models.injection import answer_loss
from sottovoce.models.load import LoadedModel
from sottovoce.models.packed_attention import TOKEN_STEP, _fused, _hidden, _plain, packing_of

MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])


def padded(batch: Batch) -> Batch:
    """The batch without what says where its padding is: it is then computed, too."""
    return {name: value for name, value in batch.items() if name != "attention_mask"}


@contextmanager
def computed_positions(loaded: LoadedModel) -> Iterator[list[int]]:
    """How many positions each forward of the language model computes."""
    counts: list[int] = []

    def count(module: Any, inputs: Any, options: dict[str, Any]) -> None:
        counts.append(options["inputs_embeds"].shape[0] * options["inputs_embeds"].shape[1])

    language = loaded.model.get_submodule(loaded.family.text_model)
    hook = language.register_forward_pre_hook(count, with_kwargs=True)
    yield counts
    hook.remove()


def loss_and_gradients(loaded: LoadedModel, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loaded.model.requires_grad_(True)
    loaded.model.zero_grad()
    total, _ = answer_loss(loaded.model, batch)
    total.backward()  # type: ignore[no-untyped-call]
    return total.detach(), {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None}


def test_rows_come_back_where_they_stood() -> None:
    packing = packing_of(MASK)
    states = torch.arange(15.0).view(3, 5, 1)
    packed = packing.pack(states)
    assert packed.shape == (1, 15, 1)  # filled up, but not to more than the padded rows
    assert packed[0, :9, 0].tolist() == [0, 1, 2, 5, 6, 7, 8, 9, 10]
    assert packing.within_row[:9].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0]
    assert torch.equal(packing.unpack(packed)[MASK.bool()], states[MASK.bool()])


def test_loss_and_gradients_are_those_of_padded_rows(loaded: LoadedModel) -> None:
    batch = collate_training(mixed_rows(loaded), loaded.pad_id)
    expected, gradients = loss_and_gradients(loaded, padded(batch))
    found, others = loss_and_gradients(loaded, batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            others[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
        )
    assert any(bool(gradient.any()) for gradient in gradients.values())


def test_padding_is_not_computed(loaded: LoadedModel) -> None:
    rows = [*mixed_rows(loaded), *[text_row(loaded, "off")] * 4]
    batch = collate_training(rows, loaded.pad_id)
    num_tokens = sum(len(row) for row in rows)
    with computed_positions(loaded) as counts, torch.inference_mode():
        answer_loss(loaded.model, batch)
        answer_loss(loaded.model, padded(batch))
    assert counts == [-(-num_tokens // TOKEN_STEP) * TOKEN_STEP, batch["input_ids"].numel()]
    assert counts[0] < 0.8 * counts[1]  # else there was little to save


def test_layers_that_are_computed_again_find_the_attention_that_they_had(loaded: LoadedModel) -> None:
    """For the backward pass they run when the rest of the model has its own attention again."""
    batch = collate_training(mixed_rows(loaded), loaded.pad_id)
    loaded.model.train()
    expected, gradients = loss_and_gradients(loaded, batch)
    loaded.family.recompute_layers(loaded.model)
    with computed_positions(loaded) as counts:
        found, others = loss_and_gradients(loaded, batch)
    assert counts[0] < batch["input_ids"].numel()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-5)


def test_all_layers_and_steps_share_one_mask(loaded: LoadedModel) -> None:
    batch = collate_training(mixed_rows(loaded), loaded.pad_id)
    _hidden.cache_clear()
    loss_and_gradients(loaded, batch)
    assert _hidden.cache_info().misses == 1 and _hidden.cache_info().hits > 0  # two layers
    loss_and_gradients(loaded, batch)
    assert _hidden.cache_info().misses == 1
    assert _hidden(2, 2, torch.float32, torch.device("cpu")).tolist() == [[0, -torch.inf], [0, 0]] * 2


@pytest.mark.parametrize("num_shared", [1, 3])
def test_fused_kernels_see_what_matrix_products_see(num_shared: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 6, 4, num_shared, 8, generator=generator)
    key, value = (torch.randn(2, 6, 4, 8, generator=generator) for _ in range(2))
    torch.testing.assert_close(_fused(query, key, value, 0.3, 0.0), _plain(query, key, value, 0.3, 0.0))
