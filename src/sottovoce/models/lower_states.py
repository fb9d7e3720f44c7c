"""What frozen lower layers of a language model make of rows, computed once for each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from sottovoce.core.errors import UserError
from sottovoce.core.machine import machine_bytes
from sottovoce.core.progress import progress_bar
from sottovoce.data.collate import Row, collate_training, moved
from sottovoce.models.divided import lower_hidden_states, refuse_undivided
from sottovoce.models.injection import input_embeddings
from sottovoce.models.load import LoadedModel

MEMORY_SHARE = 0.25  # of the machine's memory, that the states may take


class LowerStates:
    """Keeps, in memory, the states that rows have below layer number ``first_layer``.

    Each row goes through the layers by itself: what is kept does not depend on which rows there are.
    """

    def __init__(self, first_layer: int) -> None:
        self._first_layer = first_layer
        # A row's recording is identified by its tensor, which the row held here keeps from being another one's later.
        self._kept: dict[tuple[Any, ...], tuple[Row, torch.Tensor]] = {}

    def of(self, loaded: LoadedModel, rows: Sequence[Row]) -> list[Row]:
        """The rows with their states, which those that are new get now, with a progress bar.

        Args:
            loaded: the model, whose lower layers are as they were loaded.

        Raises:
            UserError: of this model it is not known how, or the states would take too much memory.
        """
        refuse_undivided(loaded.family, loaded.model, self._first_layer)
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
                f"the states below layer {self._first_layer} of all rows take {num_bytes / 2**30:.1f} GiB of memory, "
                f"of {machine_bytes() / 2**30:.1f} GiB",
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
