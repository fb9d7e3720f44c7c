"""Before training: whether it fits in this machine's memory, and whether it needs gradient checkpointing to fit."""

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


def resolve_checkpointing(recipe: Recipe, epochs: Sequence[Sequence[Example]]) -> Train:
    """The recipe's training settings with ``gradient_checkpointing: auto`` resolved to true or false for these epochs.

    It becomes true on a GPU if the longest row does not fit without it and needs less with it. On a CPU it is always
    false: there, time runs short before memory does.
    """
    train, gpu = recipe.train, _gpu_bytes()
    if train.gradient_checkpointing != "auto":
        return train
    if gpu is None or not any(epochs) or not family_named(recipe.model).model_class:
        return _with(train, False)
    return _with(train, _needed(recipe, longest_of(recipe, epochs), gpu))


def check_memory(recipe: Recipe, row: RowSize) -> str:
    """Compares the forecast with the memory of the GPU, or of the machine if it has none, and returns a line about it.

    Args:
        row: the longest training row.

    Raises:
        UserError: the tensors alone do not fit, even with gradient checkpointing if the recipe allows it.
    """
    if not family_named(recipe.model).model_class:
        return "no memory forecast for this family"
    train, gpu = recipe.train, _gpu_bytes()
    here = gpu or machine_bytes()
    switched_on = train.gradient_checkpointing == "auto" and gpu is not None and _needed(recipe, row, gpu)
    memory = _of_one(recipe, _with(train, True) if switched_on else train, row)
    need, have = f"a training step needs about {memory.total / GIB:.1f} GiB", f"this machine has {here / GIB:.1f} GiB"
    if switched_on:
        without = _of_one(recipe, _with(train, False), row).total / GIB
        need += f" with gradient checkpointing, which was switched on (without it: {without:.1f} GiB)"
    if memory.uncounted:
        need += f" plus the audio part's activations (not counted: {memory.uncounted})"
    if memory.held > here:
        raise UserError(f"{need}, {have}", "`sottovoce plan-memory RECIPE` says which settings fit")
    return f"{need}, {have}" if memory.total <= here else f"warning: {need}, {have}: it may not fit"


def _needed(recipe: Recipe, row: RowSize, gpu_bytes: float) -> bool:
    if asked_engine().startswith("ZeRO"):
        return False  # not tested with DeepSpeed, which gathers weights by its own hooks
    without, checkpointed = (_of_one(recipe, _with(recipe.train, on), row) for on in (False, True))
    return checkpointed.total < without.total and without.total > gpu_bytes


def _with(train: Train, checkpointing: bool) -> Train:
    return train.model_copy(update={"gradient_checkpointing": checkpointing})


def _of_one(recipe: Recipe, train: Train, row: RowSize) -> Memory:
    """What one process holds, if the launcher shards."""
    memory = forecast_memory(recipe.model, train, row)
    if engine := asked_engine():
        memory = memory.sharded(processes().num_processes, weights_too=engine != "ZeRO-2")
    return memory


def _gpu_bytes() -> float | None:
    return float(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None
