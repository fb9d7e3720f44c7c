"""Before training: whether it fits the memory that is here, and whether it needs gradient checkpointing for that."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sottovoce.core.errors import UserError
from sottovoce.core.machine import machine_bytes
from sottovoce.core.recipe import Recipe, Train
from sottovoce.core.types import Example
from sottovoce.models.load import family_named
from sottovoce.study.resources.activations import RowSize
from sottovoce.study.resources.memory import GIB, Memory, forecast_memory, longest_of
from sottovoce.train.processes import processes
from sottovoce.train.sharding import asked_engine


def decided(recipe: Recipe, epochs: Sequence[Sequence[Example]]) -> Train:
    """The recipe's training settings with ``gradient_checkpointing: auto`` made true or false, for some stages' epochs.

    It is true on a GPU whose memory the longest row does not fit without, if it then needs less. Of a CPU it is never
    asked: there time is short before memory is.
    """
    train, gpu = recipe.train, _gpu_bytes()
    if train.gradient_checkpointing != "auto":
        return train
    if gpu is None or not any(epochs) or not family_named(recipe.model).model_class:
        return _with(train, False)
    return _with(train, _needed(recipe, longest_of(recipe, epochs), gpu))


def check_memory(recipe: Recipe, row: RowSize) -> str:
    """Compares the forecast with the memory of the GPU, or of the machine if there is none; says what was found.

    Args:
        row: the longest training row.

    Raises:
        UserError: the tensors alone do not fit, also with gradient checkpointing where that is left to us.
    """
    if not family_named(recipe.model).model_class:
        return "memory was not forecast for this family"
    train, gpu = recipe.train, _gpu_bytes()
    here = gpu or machine_bytes()
    switched_on = train.gradient_checkpointing == "auto" and gpu is not None and _needed(recipe, row, gpu)
    memory = _of_one(recipe, _with(train, True) if switched_on else train, row)
    need, have = f"a training step needs about {memory.total / GIB:.1f} GiB", f"{here / GIB:.1f} GiB are here"
    if switched_on:
        without = _of_one(recipe, _with(train, False), row).total / GIB
        need += f" with gradient checkpointing (on where it is needed: without it {without:.1f} GiB)"
    if memory.uncounted:
        need += f" and what the audio part keeps (not counted: {memory.uncounted})"
    if memory.held > here:
        raise UserError(f"{need}, {have}", "`sottovoce plan-memory RECIPE` says which settings fit")
    return f"{need}, {have}" if memory.total <= here else f"warning: {need}, {have}: it may not fit"


def _needed(recipe: Recipe, row: RowSize, gpu_bytes: float) -> bool:
    if asked_engine().startswith("ZeRO"):
        return False  # DeepSpeed gathers weights by hooks of its own; with it this was not tried
    without, checkpointed = (_of_one(recipe, _with(recipe.train, on), row) for on in (False, True))
    return checkpointed.total < without.total and without.total > gpu_bytes


def _with(train: Train, checkpointing: bool) -> Train:
    return train.model_copy(update={"gradient_checkpointing": checkpointing})


def _of_one(recipe: Recipe, train: Train, row: RowSize) -> Memory:
    """What one process holds."""
    memory = forecast_memory(recipe.model, train, row)
    if engine := asked_engine():
        memory = memory.sharded(processes().num_processes, weights_too=engine != "ZeRO-2")
    return memory


def _gpu_bytes() -> float | None:
    return float(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None
