"""Keys and values with room behind them, and the attention that goes with them, against the plain way of each."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache

from sottovoce.models import incremental_attention as module
from sottovoce.models.incremental_attention import PreallocatedCacheLayer, preallocated_cache


def states(batch: int, num_places: int) -> torch.Tensor:
    return torch.randn(batch, 2, num_places, 4)


def test_keys_and_values_are_those_that_transformers_keeps() -> None:
    torch.manual_seed(0)
    ours, theirs = preallocated_cache(), DynamicCache()

    def append(batch: int, num_places: int) -> None:
        for layer in (0, 1):
            keys, values = states(batch, num_places), states(batch, num_places)
            found, expected = (cache.update(keys, values, layer) for cache in (ours, theirs))
            assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
        assert ours.get_seq_length() == theirs.get_seq_length()

    append(1, 3)
    for cache in (ours, theirs):
        cache.batch_repeat_interleave(4)
    for num_places in (1, 5, 1, module.ROOM, 1):
        append(4, num_places)
    for cache in (ours, theirs):
        cache.crop(-4)
    append(4, 2)  # over what was cropped
    for cache in (ours, theirs):
        cache.batch_select_indices(torch.tensor([3, 1]))
    append(2, 1)
    append(2, 1)


def test_what_is_held_is_moved_only_when_there_is_no_room_left() -> None:
    layer, places = PreallocatedCacheLayer(), set()
    for _ in range(2 * module.ROOM):
        layer.update(states(2, 1), states(2, 1))
        places.add((layer.keys.data_ptr(), layer.values.data_ptr()))
    assert len(places) == 2


@pytest.mark.parametrize("num_new", [1, 3, module.FEW + 1])
def test_attention_is_that_of_torch_with_all_keys_repeated(num_new: int) -> None:
    torch.manual_seed(0)
    room = torch.randn(3, 2, 60, 4)  # keys of two heads, each for three heads of queries
    query, key, value = torch.randn(3, 6, num_new, 4), room[:, :, :50], torch.randn(3, 2, 50, 4)
    visible = torch.rand(3, num_new, 50) < 0.5
    visible[..., 0] = True
    bias = torch.zeros(3, num_new, 50).masked_fill(~visible, torch.finfo(torch.float32).min)
    found, _ = module._attention(SimpleNamespace(), query, key, value, None, bias=bias)
    repeated = (states.repeat_interleave(3, dim=1) for states in (key, value))
    expected = scaled_dot_product_attention(query, *repeated, visible[:, None])
    torch.testing.assert_close(found.transpose(1, 2), expected)
