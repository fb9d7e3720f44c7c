"""Which parts of a model are trained, and how: in full, with an adapter (LoRA), or not at all (frozen)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.models.divided import require_divisible
from sottovoce.models.families.base import Family
from sottovoce.models.load import LoadedModel
from sottovoce.train.plain_lora import scale_small_side
from sottovoce.train.weights import TRAINED, load_trained

# PEFT still uses an old attribute name of transformers; users cannot fix that.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)


def with_weights(loaded: LoadedModel, train: Train, weights: Path | None) -> Any:
    """The model to train, with an adapter if ``train`` has one; all other parts are frozen.

    Args:
        loaded: its model is changed.
        train: ``gradient_checkpointing: auto`` counts as false; the caller, who knows the memory, resolves it first.
        weights: a folder written by ``weights.save_weights``, or None to start from the loaded model.

    Raises:
        UserError: LoRA found nothing to attach to; or the family does not support training these parts separately, or
            gradient checkpointing.
    """
    model = _with_parts(loaded, train, weights)
    if train.gradient_checkpointing is True:
        # After PEFT, which would otherwise make the embeddings require gradients; only reentrant layers need that.
        loaded.family.recompute_layers(loaded.model)
    return model


def _with_parts(loaded: LoadedModel, train: Train, weights: Path | None) -> Any:
    model, family = loaded.model, loaded.family
    _refuse_halves(loaded, train)
    if train.lora.first_layer:
        require_divisible(family, model, train.lora.first_layer)
    whole = whole_parts(loaded, train)
    for name in whole:
        # float32 weights, bfloat16 computation by autocast: bfloat16 weights would round away updates of 5e-6.
        model.get_submodule(name).float()
    if not has_adapter(train):
        for name in whole:
            model.get_submodule(name).requires_grad_(True)
        if weights:
            load_trained(model, weights / TRAINED)
        return model
    if weights:
        return _lean(PeftModel.from_pretrained(model, weights, is_trainable=True))
    targets = _lora_targets(loaded, train)
    config = LoraConfig(
        target_modules=targets,
        modules_to_save=whole or None,
        task_type="CAUSAL_LM",
        **train.lora.model_dump(exclude={"first_layer"}),
    )
    try:
        return _lean(get_peft_model(model, config))
    except ValueError as error:
        raise UserError(f"LoRA finds nothing to attach to in {family.model_type}", str(error)) from error


def _lean(model: Any) -> Any:
    """Removes passes over whole inputs and outputs that plain LoRA does not need.

    The adapter casts its input to float32, only for autocast to cast it back to bfloat16 for plain LoRA's matrix
    products. Variants such as DoRA also use the input outside of autocast, so their layers are left unchanged. For the
    scale see ``plain_lora``.
    """
    for module in model.modules():
        if isinstance(module, BaseTunerLayer) and not getattr(module, "lora_variant", None):
            module.cast_input_dtype_enabled = False
            scale_small_side(module)
    return model


def has_adapter(train: Train) -> bool:
    """Whether any part is trained with LoRA."""
    return "lora" in (train.language_model, train.audio_tower)


def reencodes_audio(family: Family, train: Train) -> bool:
    """Whether recordings are encoded anew at every step, because training changes the encoder."""
    return train.audio_tower != "frozen" or (train.projector == "full" and not family.projects_at_each_step)


def whole_parts(loaded: LoadedModel, train: Train) -> list[str]:
    """The submodules that are trained in full."""
    family, names = loaded.family, []
    if train.language_model == "full":
        modules = {id(module): name for name, module in loaded.model.named_modules()}
        names += [modules[id(part)] for part in family.trained_parts(loaded.model)]
    if train.audio_tower == "full":
        names.append(family.audio_tower)
    if train.projector == "full" and not _inside(family.projector, family.audio_tower):
        names.append(family.projector)
    return names


def part_of(family: Family, name: str) -> str:
    """Which part a parameter of the bare model belongs to: ``audio_tower``, ``projector`` or ``language_model``."""
    # The projector may be inside the tower, or the tower inside the projector's module: the longer name decides.
    parts = sorted([(family.audio_tower, "audio_tower"), (family.projector, "projector")], key=lambda p: -len(p[0]))
    return next((part for place, part in parts if _inside(name, place)), "language_model")


def _inside(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def _refuse_halves(loaded: LoadedModel, train: Train) -> None:
    family = loaded.family
    if train.projector == "full" and not any(True for _ in loaded.model.get_submodule(family.projector).parameters()):
        raise UserError(f"the projector of {family.model_type} has no weights", "set train.projector: frozen")
    nested = _inside(family.projector, family.audio_tower) or _inside(family.audio_tower, family.projector)
    if nested and (train.projector == "full") != (train.audio_tower == "full"):
        fault = f"the projector and the audio tower of {family.model_type} are one module"
        raise UserError(fault, "train both in full, or neither")


def _lora_targets(loaded: LoadedModel, train: Train) -> str | list[str]:
    family, model = loaded.family, loaded.model
    if train.audio_tower != "lora" and not train.lora.first_layer:
        return family.lora_targets(model)
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    targets = []
    if train.audio_tower == "lora":
        targets += [name for name in linear if part_of(family, name) == "audio_tower"]
    if train.language_model == "lora":
        language = family.lora_targets(model)
        if isinstance(language, str):
            language = [name for name in linear if re.fullmatch(language, name)]
        below = tuple(f"{family.text_model}.layers.{number}." for number in range(train.lora.first_layer))
        targets += [name for name in language if not name.startswith(below)]
    return targets
