"""Input embeddings with the audio already in them, and the loss on the answer's positions only."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from sottovoce.models.families import family_of


def bare(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def input_embeddings(model: Any, input_ids: torch.Tensor, audio_states: torch.Tensor | None) -> torch.Tensor:
    """Token embeddings with projected audio states in place of the audio placeholders.

    Args:
        input_ids: (batch, length).
        audio_states: (num_placeholders, width) in the order of the placeholders, or None; the width is that of what
            ``features.encode_clips`` returns.

    Returns:
        (batch, length, hidden_size); equal to what the family's own forward builds.
    """
    base = bare(model)
    family = family_of(base.config.model_type)
    embeddings = family.token_embeddings(base, input_ids)
    if audio_states is None:
        return embeddings
    placeholder = (input_ids == family.audio_token_id(base.config)).unsqueeze(-1)
    projected = family.projected(base, audio_states.to(embeddings.device))
    return embeddings.masked_scatter(placeholder, projected.to(embeddings.dtype))


def answer_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy of the labelled tokens, and their number; see :func:`token_losses`."""
    losses, _ = token_losses(model, batch)
    return losses.sum(), len(losses)


def token_losses(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each labelled token, (num_labelled,), and the row that it stands in, (num_labelled,).

    Only hidden states that predict a labelled token reach the language model's head: no logits for prompts, audio or
    padding. ``batch`` is what :func:`sottovoce.data.collate.collate_training` returns.
    """
    base = bare(model)
    family = family_of(base.config.model_type)
    embeddings = input_embeddings(model, batch["input_ids"], batch.get("audio_states"))
    hidden = family.hidden_states(base, batch["input_ids"], embeddings)
    targets = batch["labels"][:, 1:]
    scored = targets != -100
    logits = family.logits(base, hidden[:, :-1][scored])
    return cross_entropy(logits.float(), targets[scored], reduction="none"), scored.nonzero()[:, 0]
