"""Input embeddings with the audio injected, and the loss on the answer's positions only."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from sottovoce.models.divided import upper_hidden_states
from sottovoce.models.families.base import Family
from sottovoce.models.families.registry import family_of


def bare(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def input_embeddings(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Token embeddings with projected audio in place of the audio placeholders.

    Args:
        batch: input_ids, (batch, length); for batches with speech also, in the order of the placeholders, either
            audio_states, (num_placeholders, width), as ``features.encode_clips`` returns them; or audio_inputs, the mel
            frames of each clip, which then go through the audio part with gradients.

    Returns:
        (batch, length, hidden_size); equal to what the family's own forward builds.
    """
    base, input_ids = bare(model), batch["input_ids"]
    family = family_of(base.config.model_type)
    embeddings = family.token_embeddings(base, input_ids)
    if "audio_inputs" in batch:
        projected = torch.cat([_encoded(base, family, clip) for clip in batch["audio_inputs"]])
    elif "audio_states" in batch:
        projected = family.projected(base, batch["audio_states"].to(embeddings.device))
    else:
        return embeddings
    placeholder = (input_ids == family.audio_token_id(base.config)).unsqueeze(-1)
    return embeddings.masked_scatter(placeholder, projected.to(embeddings.dtype))


def _encoded(base: Any, family: Family, clip: dict[str, torch.Tensor]) -> torch.Tensor:
    # eval(): no dropout, and stored averages in normalisation layers, as one clip is too few to compute them.
    base.get_submodule(family.audio_tower).eval()
    frames = {name: t.to(base.dtype) if t.is_floating_point() else t for name, t in clip.items()}
    return family.audio_features(base, frames)


def answer_loss(model: Any, batch: dict[str, Any], first_layer: int = 0) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy of the labelled tokens, and their number; see :func:`token_losses`."""
    losses, _ = token_losses(model, batch, first_layer)
    return losses.sum(), len(losses)


def token_losses(model: Any, batch: dict[str, Any], first_layer: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each labelled token, (num_labelled,), and the row that it is in, (num_labelled,).

    Only hidden states that predict a labelled token reach the language model's head: no logits for prompts, audio or
    padding.

    Args:
        batch: what :func:`sottovoce.data.collate.collate_training` returns.
        first_layer: the batch holds the states below that layer (see ``lower_states``); 0: none.
    """
    base = bare(model)
    family = family_of(base.config.model_type)
    if first_layer:
        ids, mask, states = batch["input_ids"], batch["attention_mask"], batch["lower_states"]
        hidden = upper_hidden_states(family, base, ids, mask, states, first_layer)
    else:
        embeddings = input_embeddings(model, batch)
        hidden = family.hidden_states(base, batch["input_ids"], embeddings, batch.get("attention_mask"))
    targets = batch["labels"][:, 1:]
    scored = targets != -100
    logits = family.logits(base, hidden[:, :-1][scored])
    return cross_entropy(logits.float(), targets[scored], reduction="none"), scored.nonzero()[:, 0]
