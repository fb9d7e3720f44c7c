"""The model families that can be trained, by transformers' ``model_type``."""

from __future__ import annotations

from dataclasses import dataclass

from sottovoce.errors import UserError


@dataclass(frozen=True)
class Family:
    """Where a family keeps its parts.

    Args:
        language_model: regular expression of the language model's linear layers, the targets of LoRA; bare names
            would also hit the audio tower.
        tokens_per_second: audio tokens that a second of speech costs.
    """

    model_type: str
    language_model: str
    tokens_per_second: float


FAMILIES = {
    "qwen2_audio": Family(
        "qwen2_audio",
        r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)",
        tokens_per_second=25.0,
    ),
}


def family_of(model_type: str) -> Family:
    """Looks a family up. Raises UserError with the known ones."""
    if model_type not in FAMILIES:
        raise UserError(f"models of type {model_type!r} are not supported", f"supported: {', '.join(FAMILIES)}")
    return FAMILIES[model_type]
