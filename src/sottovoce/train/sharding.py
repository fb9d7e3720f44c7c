"""Training shared out among processes that one of them could not hold: FSDP2 and DeepSpeed's ZeRO.

``accelerate launch --config_file`` chooses the engine; here it is prepared for our models: what stays whole in every
process (the frozen audio part), what is a unit (a decoder layer), how whole tensors come back for saving and comparing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from sottovoce.core.errors import UserError
from sottovoce.models.families.registry import family_of
from sottovoce.models.injection import bare

WRITTEN_BY = "zero.json"
Engine = Literal["", "FSDP2", "ZeRO-2", "ZeRO-3"]
REPLICATED = "launch with --multi_gpu, where each GPU holds it all"


def engine_of(accelerator: Any) -> Engine:
    """What the launcher asked for; "" if every process holds the whole model.

    Raises:
        UserError: FSDP's first version, another ZeRO stage, or settings of theirs that do not go with our models.
    """
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    if fsdp is not None:
        if fsdp.fsdp_version != 2:
            raise UserError("FSDP's first version is not supported", "write fsdp_version: 2 into the configuration")
        for setting in ("cpu_ram_efficient_loading", "activation_checkpointing"):
            if getattr(fsdp, setting):
                raise UserError(f"fsdp_{setting} is not supported", f"write fsdp_{setting}: false")
        return "FSDP2"
    zero = getattr(accelerator.state, "deepspeed_plugin", None)
    if zero is None:
        return ""
    if zero.zero_stage not in (2, 3):
        raise UserError(f"ZeRO stage {zero.zero_stage} is not supported", "write zero_stage: 2, or 3")
    return "ZeRO-2" if zero.zero_stage == 2 else "ZeRO-3"


def asked_engine() -> Engine:
    """What `accelerate launch` asks for, before there is an accelerator to ask: it tells it by the environment."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        return "FSDP2"
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        return "ZeRO-3" if os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3" else "ZeRO-2"
    return ""


def set_up(accelerator: Any, engine: Engine, model: Any, bf16: bool) -> None:
    """Tells the engine of a model that is about to be trained.

    Weights stay in float32 and are computed with in bfloat16 by autocast, as in one process, so that the result is the
    same, at the price of sending twice the bytes.

    Raises:
        UserError: the audio part is trained, or the model is held in 4 bits.
    """
    if getattr(bare(model), "is_loaded_in_4bit", False):
        raise UserError(f"{engine} does not go with load_in_4bit", REPLICATED)
    if any(p.requires_grad for part in _audio_parts(model) for p in part.parameters()):
        # A process that reads text alone would have no gradient of it, and the others would wait for that.
        raise UserError(f"{engine} trains the language model only, not audio tower or projector", REPLICATED)
    if engine == "FSDP2":
        # Gradients are shared out after every batch; kept until the last one, each process would hold all of them.
        accelerator.gradient_state.plugin_kwargs["sync_each_batch"] = True
        plugin = accelerator.state.fsdp_plugin
        plugin.auto_wrap_policy = transformer_auto_wrap_policy
        plugin.transformer_cls_names_to_wrap = sorted({type(layer).__name__ for layer in decoder_layers(model)})
        plugin.mixed_precision_policy = None  # which would round the loss, and gradients before they are added up
    elif bf16:
        # DeepSpeed's own bfloat16 rounds all weights, and rotary frequencies with them.
        config = accelerator.state.deepspeed_plugin.deepspeed_config
        config["bf16"] = {"enabled": False}
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}


def decoder_layers(model: Any) -> Any:
    """The language model's layers.

    Raises:
        UserError: they are not where they are expected.
    """
    base = bare(model)
    family = family_of(base.config.model_type)
    layers = getattr(base.get_submodule(family.text_model), "layers", None)
    if layers is None:
        raise UserError(f"the decoder layers of {family.model_type} were not found, to shard them", REPLICATED)
    return layers


def _audio_parts(model: Any) -> list[Any]:
    base = bare(model)
    family = family_of(base.config.model_type)
    return [base.get_submodule(name) for name in (family.audio_tower, family.projector)]


@contextmanager
def sharded(engine: Engine, model: Any) -> Iterator[None]:
    """A training by that engine, with the audio part outside."""
    if not engine:
        yield
        return
    try:
        with audio_part_apart(model):
            yield
    finally:
        unset_hf_deepspeed_config()  # else the next model would be loaded in shares


@contextmanager
def audio_part_apart(model: Any) -> Iterator[None]:
    """Hides audio tower and projector from the engine while it lasts, so that every process keeps them whole.

    They remain attributes that can be called, and are no submodules any more. Sharded, a process whose rows are all
    text would not ask for their weights, and one that hears speech would wait for it forever.
    """
    base = bare(model)
    family = family_of(base.config.model_type)
    hidden = []
    for place in sorted((family.audio_tower, family.projector), key=len, reverse=True):  # what lies inside comes first
        holder, _, name = place.rpartition(".")
        parent = base.get_submodule(holder)
        hidden.append((parent, name, list(parent._modules)))
        parent.__dict__[name] = parent._modules.pop(name)
    try:
        yield
    finally:
        for parent, name, order in reversed(hidden):
            parent._modules[name] = parent.__dict__.pop(name)
            for other in order:  # where it stood, for the order of parameters
                parent._modules[other] = parent._modules.pop(other)


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """A parameter put together from the processes' shares, of which all must ask in the same order."""
    if isinstance(parameter, DTensor):
        gathered: torch.Tensor = parameter.full_tensor().detach()
        return gathered
    if hasattr(parameter, "_hp_mapping") or hasattr(parameter, "ds_id"):
        return _whole_of_zero(parameter)
    return parameter.detach()


def _whole_of_zero(parameter: Any) -> torch.Tensor:
    from deepspeed.runtime.zero import GatheredParameters
    from deepspeed.utils import safe_get_full_fp32_param

    if parameter.requires_grad:  # the parameter itself may be a copy in bfloat16
        full: torch.Tensor = safe_get_full_fp32_param(parameter)
        return full
    with GatheredParameters([parameter]):
        gathered: torch.Tensor = parameter.detach().clone()
    return gathered


def save_optimizer(optimizer: Any, path: Path | None) -> None:
    """Writes FSDP2's optimizer state as one process alone would have written it; so any number can read it again.

    Args:
        path: None in a process that only gives its share.
    """
    state = optimizer.state_dict()
    for number, moments in state["state"].items():
        gathered = {name: whole(tensor) for name, tensor in moments.items()}
        if path:
            state["state"][number] = {name: tensor.cpu() for name, tensor in gathered.items()}
    if path:
        torch.save(state, path)


def load_optimizer(optimizer: Any, path: Path) -> None:
    """Reads an optimizer's state, of which each process keeps its share."""
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, moments in state["state"].items():
        parameter = parameters[number]
        for name, tensor in moments.items():
            if tensor.shape == parameter.shape:
                moments[name] = distribute_tensor(
                    tensor.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
                )
    optimizer.load_state_dict(state)


def note_zero(folder: Path, engine: Engine, num_processes: int) -> None:
    """Notes in a checkpoint of DeepSpeed's own what can read it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WRITTEN_BY).write_text(json.dumps({"engine": engine, "num_processes": num_processes}), encoding="utf-8")


def refuse_foreign(checkpoint: Path, engine: Engine, num_processes: int) -> None:
    """Raises UserError if a checkpoint is DeepSpeed's and of another stage or number of processes, or none of its."""
    path, here = checkpoint / WRITTEN_BY, {"engine": engine, "num_processes": num_processes}
    written = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if written == here or not (written or engine.startswith("ZeRO")):
        return
    by = f"{written['engine']} in {written['num_processes']} processes" if written else "another engine"
    raise UserError(
        f"{checkpoint} was written by {by}, and cannot be read by {engine or 'training without sharding'} in "
        f"{num_processes}",
        "start it as before, or delete the checkpoint's folder to train the stage from its beginning",
    )
