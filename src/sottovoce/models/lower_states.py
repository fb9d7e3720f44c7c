"""The states of rows after a language model's frozen lower layers, computed once per row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from sottovoce.core.errors import UserError
from sottovoce.core.machine import machine_bytes
from sottovoce.core.progress import progress_bar
from sottovoce.data.collate import Row, collate_training, moved
from sottovoce.models.divided import lower_hidden_states, require_divisible
from sottovoce.models.injection import input_embeddings
from sottovoce.models.load import LoadedModel

MEMORY_SHARE = 0.25  # of the machine's memory that the states may take


class LowerStates:
    """Keeps in memory the states of rows below layer number ``first_layer``.

    Each row is computed by itself, so that its states do not depend on other rows.
    """

    def __init__(self, first_layer: int) -> None:
        self._first_layer = first_layer
        # A row's recording is identified by its tensor's id(); keeping the row ensures that no other gets the same
        # id().
        self._kept: dict[tuple[Any, ...], tuple[Row, torch.Tensor]] = {}

    def of(self, loaded: LoadedModel, rows: Sequence[Row]) -> list[Row]:
        """The rows with their states; missing states are computed, with a progress bar.

        Args:
            loaded: the model, with untrained lower layers.

        Raises:
            UserError: the model cannot be split, or the states would take too much memory.
        """
        require_divisible(loaded.family, loaded.model, self._first_layer)
        new = {_key(row): row for row in rows if _key(row) not in self._kept}
        self._refuse_too_many(loaded, new.values())
        with progress_bar() as progress:
            if new:
                task = progress.add_task(f"computing {self._first_layer} frozen layers", total=len(new))
            for key, row in new.items():
                self._kept[key] = row, _states(loaded, row, self._first_layer)
                progress.advance(task)
        return [replace(row, lower_states=self._kept[_key(row)][1]) for row in rows]

    def _refuse_too_many(self, loaded: LoadedModel, new: Iterable[Row]) -> None:
        width = loaded.model.get_submodule(loaded.family.text_model).config.hidden_size
        num_tokens = sum(map(len, new)) + sum(len(row) for row, _ in self._kept.values())
        num_bytes = num_tokens * width * loaded.model.dtype.itemsize
        if num_bytes > MEMORY_SHARE * machine_bytes():
            raise UserError(
                f"the states of all rows below layer {self._first_layer} take {num_bytes / 2**30:.1f} GiB of this "
                f"machine's {machine_bytes() / 2**30:.1f} GiB of memory",
                "set train.lora.first_layer: 0, or use fewer utterances",
            )


@torch.no_grad()
def _states(loaded: LoadedModel, row: Row, first_layer: int) -> torch.Tensor:
    """(num_tokens, hidden_size), on the CPU."""
    model, family = loaded.model, loaded.family
    batch = moved(collate_training([row], loaded.pad_id), model.device)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=loaded.bf16):  # as in training
        embeddings = input_embeddings(model, batch)
        states = lower_hidden_states(
            family, model, batch["input_ids"], batch["attention_mask"], embeddings, first_layer
        )
    return states[0, : len(row)].to("cpu", copy=True)


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.prompt_ids), tuple(row.answer_ids), id(row.audio_states)
