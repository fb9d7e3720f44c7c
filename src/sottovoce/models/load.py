"""Loads a model and its processor by its name in a recipe: ``embedded``, a hub id or a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version

from sottovoce.core.downloads import sha256_of
from sottovoce.core.errors import UserError
from sottovoce.models.embedded import EMBEDDED, embedded_model_dir
from sottovoce.models.families.base import Family
from sottovoce.models.families.registry import family_of
from sottovoce.models.precision import computes_bf16


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to train or decode, with its processor and family; ``bf16`` is whether it computes in bfloat16."""

    model: Any
    processor: Any
    family: Family
    bf16: bool

    @property
    def window_seconds(self) -> float:
        """The longest clip that is not cut."""
        return self.family.max_seconds(self.processor)

    @property
    def pad_id(self) -> int:
        tokenizer = self.processor.tokenizer
        return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)


def load_model(
    name: str, bf16: bool = True, say: Callable[[str], None] = lambda line: None, load_in_4bit: bool = False
) -> LoadedModel:
    """Loads onto the GPU if there is one.

    Args:
        bf16: use bfloat16 if the hardware supports it, else float32 (see ``precision.precision_lines``).
        load_in_4bit: load the language model's linear layers, except its head, in 4 bits (NF4 with quantised scales;
            Dettmers et al., 2023).

    Raises:
        UserError: the model cannot be found, its family is not supported (by this transformers release), its parts do
            not match, or bitsandbytes is not installed.
    """
    from transformers import PreTrainedConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # loading weights takes a second; its bar would only clutter ours
    source = _source(name, say)
    bf16 = bf16 and computes_bf16()
    try:
        family = family_of(str(PreTrainedConfig.get_config_dict(source)[0].get("model_type")))
        refuse_old_transformers(family)
        model = family.load_model(
            source,
            dtype=torch.bfloat16 if bf16 else torch.float32,
            attn_implementation=attention(),
            use_safetensors=True,
            trust_remote_code=False,  # else transformers would prompt the user
            **({"quantization_config": _four_bit(family)} if load_in_4bit else {}),
        )
        processor = family.load_processor(source, model.config)
    except (OSError, ValueError, ImportError) as error:
        raise unloadable(f"the model {name!r}", error) from error
    model.requires_grad_(False)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    family.check(model, processor)
    return LoadedModel(model, processor, family, bf16)


def _four_bit(family: Family) -> Any:
    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise UserError("load_in_4bit needs bitsandbytes", "pip install 'sottovoce[qlora]'")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        # Despite its name it applies to 4 bits, too.
        llm_int8_skip_modules=[family.audio_tower, family.projector, "lm_head"],
    )


def load_skeleton(name: str, bf16: bool = True) -> LoadedModel:
    """The model without weights, on the meta device, from its configuration alone; it has no processor.

    Raises:
        UserError: the configuration cannot be found, or the family is not registered.
    """
    family = family_named(name)
    refuse_old_transformers(family)
    if not family.model_class:
        raise UserError(f"{name}: the family {family.model_type!r} is not registered", "see docs/models.md")
    try:
        model_class = family.class_of()
        config = model_class.config_class.from_pretrained(_source(name))
        with torch.device("meta"):
            dtype = torch.bfloat16 if bf16 else torch.float32
            model = model_class._from_config(config, dtype=dtype, attn_implementation="sdpa")  # as on a GPU
    except (OSError, ValueError, ImportError) as error:
        raise unloadable(f"the configuration of {name!r}", error) from error
    return LoadedModel(model.requires_grad_(False), None, family, bf16)


def processor_of(name: str, skeleton: LoadedModel) -> Any:
    """The processor that :func:`load_skeleton` leaves out. Raises UserError if it cannot be found."""
    try:
        return skeleton.family.load_processor(_source(name), skeleton.model.config)
    except (OSError, ValueError, ImportError) as error:
        raise unloadable(f"the processor of {name!r}", error) from error


def family_named(name: str) -> Family:
    """The family of the model with this name in a recipe. Raises UserError if its configuration cannot be found."""
    from transformers import PreTrainedConfig

    try:
        return family_of(str(PreTrainedConfig.get_config_dict(_source(name))[0]["model_type"]))
    except (OSError, ValueError) as error:
        raise unloadable(f"the configuration of {name!r}", error) from error
    except KeyError as error:
        raise UserError(f"the configuration of {name!r} is missing or names no model_type", "name a model") from error


def _source(name: str, say: Callable[[str], None] = lambda line: None) -> str:
    return str(embedded_model_dir(say)) if name == EMBEDDED else name


def unloadable(what: str, error: Exception) -> UserError:
    """The error for something that cannot be loaded from the hub or a folder."""
    advice = "check the id and the connection to the hub, give a folder, or use `embedded`"
    if isinstance(error, ImportError):
        advice = "install the missing package"
    return UserError(f"cannot load {what}: {str(error).strip().splitlines()[0]}", advice)


def refuse_old_transformers(family: Family) -> None:
    """Raises UserError if the installed transformers is older than the family needs."""
    import transformers

    if Version(transformers.__version__) < Version(family.minimum_transformers):
        raise UserError(
            f"{family.model_type} needs transformers {family.minimum_transformers}, not {transformers.__version__}",
            f"pip install 'transformers>={family.minimum_transformers}'",
        )


def attention() -> str:
    """The fastest attention on this machine: torch's fused kernels on a GPU; on a CPU plain matrix products, whose
    backward pass is several times faster for rows as short as a command."""
    return "sdpa" if torch.cuda.is_available() else "eager"


@contextmanager
def fused_attention(model: Any) -> Iterator[None]:
    """Uses torch's fused kernels, which read prompts faster than :func:`attention`'s choice, even on a CPU."""
    before = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def model_identity(name: str, say: Callable[[str], None] = lambda line: None) -> str:
    """Identifies the weights, to name what was computed with them: the embedded model's folder, a folder's name with
    hashes of its weights, or a hub id.

    ``say`` receives a line if the embedded model has to be assembled first.
    """
    return f"embedded-{embedded_model_dir(say).name}" if name == EMBEDDED else _identity(name)


@cache
def _identity(name: str) -> str:
    folder = Path(name)
    if not folder.is_dir():
        return name
    weights = sorted(folder.glob("*.safetensors"))
    return "-".join([folder.name, *(sha256_of(path)[:12] for path in weights)])
