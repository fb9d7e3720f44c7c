"""Saves and loads a model's trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors.torch import load_file, save_file

from sottovoce.train.processes import processes
from sottovoce.train.sharding import whole

TRAINED = "trained.safetensors"


def save_weights(model: Any, folder: Path) -> None:
    """Writes the trained weights as safetensors: an adapter in PEFT's format, else under the parameters' own names.

    All processes must call it, as each may hold a shard of each tensor; the first one writes.
    """
    writes = processes().is_main_process
    trained = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensor = whole(parameter)
            if writes:
                trained[name] = tensor.cpu().contiguous()
    if not writes:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        model.save_pretrained(folder, state_dict=model.state_dict() | trained)
    else:
        save_file(trained, folder / TRAINED)


def load_trained(model: Any, path: Path) -> None:
    """Reads what :func:`save_weights` wrote for a model without an adapter.

    Raises:
        KeyError: the file names a parameter that the model does not have.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in load_file(path).items():
        parameters[name].data.copy_(tensor)
