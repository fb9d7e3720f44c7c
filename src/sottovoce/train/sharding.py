"""Sharded training, for models too large for one process: FSDP2 and DeepSpeed's ZeRO.

``accelerate launch --config_file`` chooses the engine; this file configures it for our models: what stays whole in
every process (the frozen audio part), what a unit is (a decoder layer), how to gather whole tensors for saving and
comparing.
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
REPLICATED = "launch with --multi_gpu, where each GPU holds the whole model"


def engine_of(accelerator: Any) -> Engine:
    """The engine that the launcher configured; "" if every process holds the whole model.

    Raises:
        UserError: FSDP 1, another ZeRO stage, or settings that do not work with our models.
    """
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    if fsdp is not None:
        if fsdp.fsdp_version != 2:
            raise UserError("FSDP 1 is not supported", "set fsdp_version: 2 in the configuration")
        for setting in ("cpu_ram_efficient_loading", "activation_checkpointing"):
            if getattr(fsdp, setting):
                raise UserError(f"fsdp_{setting} is not supported", f"set fsdp_{setting}: false")
        return "FSDP2"
    zero = getattr(accelerator.state, "deepspeed_plugin", None)
    if zero is None:
        return ""
    if zero.zero_stage not in (2, 3):
        raise UserError(f"ZeRO stage {zero.zero_stage} is not supported", "set zero_stage: 2 or 3")
    return "ZeRO-2" if zero.zero_stage == 2 else "ZeRO-3"


def asked_engine() -> Engine:
    """The engine before there is an accelerator to ask: `accelerate launch` sets environment variables."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        return "FSDP2"
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        return "ZeRO-3" if os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3" else "ZeRO-2"
    return ""


def set_up(accelerator: Any, engine: Engine, model: Any, bf16: bool) -> None:
    """Configures the engine for a model that is about to be trained.

    Weights stay in float32, and autocast computes in bfloat16, as in one process, so that the result is the same, at
    the cost of sending twice the bytes.

    Raises:
        UserError: the audio part is trained, or the model is loaded in 4 bits.
    """
    if getattr(bare(model), "is_loaded_in_4bit", False):
        raise UserError(f"{engine} does not work with load_in_4bit", REPLICATED)
    if any(p.requires_grad for part in _audio_parts(model) for p in part.parameters()):
        # A process with a batch of text only would have no gradient for it, and the others would wait for one.
        raise UserError(f"{engine} can train only the language model, not audio tower or projector", REPLICATED)
    if engine == "FSDP2":
        # Shard gradients after every batch: kept until the last one, each process would hold all of them.
        accelerator.gradient_state.plugin_kwargs["sync_each_batch"] = True
        plugin = accelerator.state.fsdp_plugin
        plugin.auto_wrap_policy = transformer_auto_wrap_policy
        plugin.transformer_cls_names_to_wrap = sorted({type(layer).__name__ for layer in decoder_layers(model)})
        plugin.mixed_precision_policy = None  # it would round the loss, and gradients before they are summed
    elif bf16:
        # DeepSpeed's own bfloat16 mode rounds all weights, including rotary frequencies.
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
        raise UserError(f"cannot shard: the decoder layers of {family.model_type} were not found", REPLICATED)
    return layers


def _audio_parts(model: Any) -> list[Any]:
    base = bare(model)
    family = family_of(base.config.model_type)
    return [base.get_submodule(name) for name in (family.audio_tower, family.projector)]


@contextmanager
def sharded(engine: Engine, model: Any) -> Iterator[None]:
    """For training with that engine: keeps the audio part out of it."""
    if not engine:
        yield
        return
    try:
        with audio_part_apart(model):
            yield
    finally:
        unset_hf_deepspeed_config()  # else the next model would be loaded sharded


@contextmanager
def audio_part_apart(model: Any) -> Iterator[None]:
    """Hides audio tower and projector from the engine, so that every process keeps them whole.

    They stay callable attributes but are no longer submodules. If they were sharded, a process whose rows are all text
    would not gather their weights, and one with speech would wait for it forever.
    """
    base = bare(model)
    family = family_of(base.config.model_type)
    hidden = []
    for place in sorted((family.audio_tower, family.projector), key=len, reverse=True):  # inner modules first
        holder, _, name = place.rpartition(".")
        parent = base.get_submodule(holder)
        hidden.append((parent, name, list(parent._modules)))
        parent.__dict__[name] = parent._modules.pop(name)
    try:
        yield
    finally:
        for parent, name, order in reversed(hidden):
            parent._modules[name] = parent.__dict__.pop(name)
            for other in order:  # back in place, to keep the order of parameters
                parent._modules[other] = parent._modules.pop(other)


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """A whole parameter, gathered from all processes, which must call this in the same order."""
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
    """Writes FSDP2's optimizer state as a single process would, so that any number of processes can read it.

    Args:
        path: None in processes that only contribute their shard.
    """
    state = optimizer.state_dict()
    for number, moments in state["state"].items():
        gathered = {name: whole(tensor) for name, tensor in moments.items()}
        if path:
            state["state"][number] = {name: tensor.cpu() for name, tensor in gathered.items()}
    if path:
        torch.save(state, path)


def load_optimizer(optimizer: Any, path: Path) -> None:
    """Reads an optimizer's state; each process keeps its shard."""
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
    """Records in a DeepSpeed checkpoint which engine and number of processes can read it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WRITTEN_BY).write_text(json.dumps({"engine": engine, "num_processes": num_processes}), encoding="utf-8")


def refuse_foreign(checkpoint: Path, engine: Engine, num_processes: int) -> None:
    """Raises UserError if DeepSpeed wrote the checkpoint with another stage or number of processes, or if only one of
    checkpoint and engine is DeepSpeed's."""
    path, here = checkpoint / WRITTEN_BY, {"engine": engine, "num_processes": num_processes}
    written = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if written == here or not (written or engine.startswith("ZeRO")):
        return
    by = f"{written['engine']} in {written['num_processes']} processes" if written else "another engine"
    raise UserError(
        f"{checkpoint} was written by {by}, and cannot be read by {engine or 'training without sharding'} in "
        f"{num_processes}",
        "launch as before, or delete the checkpoint's folder to restart the stage",
    )
