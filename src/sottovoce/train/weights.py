"""What is trained of a model, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors.torch import load_file, save_file

from sottovoce.train.processes import processes
from sottovoce.train.sharding import whole

TRAINED = "trained.safetensors"


def save_weights(model: Any, folder: Path) -> None:
    """Writes what is trained as safetensors, an adapter as PEFT names it, else under the parameters' own names.

    All processes call it, for each may hold a share of each tensor; the first one writes.
    """
    alone = processes().is_main_process
    trained = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensor = whole(parameter)
            if alone:
                trained[name] = tensor.cpu().contiguous()
    if not alone:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        model.save_pretrained(folder, state_dict=model.state_dict() | trained)
    else:
        save_file(trained, folder / TRAINED)


def load_trained(model: Any, path: Path) -> None:
    """Reads what :func:`save_weights` wrote of a model without adapter.

    Raises:
        KeyError: the model has no parameter of some name.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in load_file(path).items():
        parameters[name].data.copy_(tensor)
