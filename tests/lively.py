"""Models whose random weights are large enough for answers that depend on what is heard, and a look at their steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sottovoce.data.collate import Row, end_of_turn_id
from sottovoce.decode.batches import _generated
from sottovoce.models.load import LoadedModel


def enlivened(loaded: LoadedModel) -> LoadedModel:
    """The model itself, with larger weights in its language model."""
    torch.manual_seed(3)
    language = loaded.model.get_submodule(loaded.family.text_model)
    for parameter in [*language.parameters(), *loaded.model.lm_head.parameters()]:
        if parameter.ndim == 2:
            parameter.data.normal_(std=0.3)
    return loaded


@contextmanager
def steps_of(loaded: LoadedModel) -> Iterator[list[tuple[int, int]]]:
    """What the language model reads meanwhile: the rows and the places a row of each forward."""
    steps: list[tuple[int, int]] = []

    def note(module: Any, args: Any, inputs: dict[str, Any]) -> None:
        steps.append(tuple(inputs["inputs_embeds"].shape[:2]))

    hook = loaded.model.get_submodule(loaded.family.text_model).register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield steps
    finally:
        hook.remove()


def ids_of_transformers(loaded: LoadedModel, rows: list[Row], max_new_tokens: int) -> list[list[int]]:
    """Each row's tokens by transformers' ``generate``, without the padding after an end of turn."""
    end, answers = end_of_turn_id(loaded.processor.tokenizer), []
    for ids in _generated(loaded, loaded.model, rows, max_new_tokens).tolist():
        answers.append(ids[: ids.index(end) + 1] if end in ids else ids)
    return answers
