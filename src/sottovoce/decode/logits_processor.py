"""Applies a form to transformers' own ``generate``, for models that our loop does not support."""

from __future__ import annotations

import numpy as np
import torch
from transformers import LogitsProcessor

from sottovoce.decode.constraints import Form, only_allowed


class ConstraintProcessor(LogitsProcessor):  # type: ignore[misc]
    """For one call with embedded prompts, so that ``input_ids`` are only the answers. Here each forced token costs a
    step.

    Args:
        end: the end-of-turn token, followed only by padding.
    """

    def __init__(self, form: Form, num_rows: int, end: int) -> None:
        self._states = [form.new_state() for _ in range(num_rows)]
        self._forced = [state.forced() for state in self._states]  # and not generated yet
        self._end = end

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores, (batch, vocabulary), from the answers so far, (batch, num_tokens), and their scores."""
        if input_ids.shape[1]:
            for place, token in enumerate(input_ids[:, -1].tolist()):
                self._advance(place, token)
        allowed = {}
        for place, state in enumerate(self._states):
            only = self._forced[place][:1] or ([self._end] if state.ended else [])
            tokens = np.isin(np.arange(scores.shape[-1]), only) if only else state.allowed()
            if tokens is not None:
                allowed[place] = tokens
        return only_allowed(scores, allowed)

    def _advance(self, place: int, token: int) -> None:
        state, forced = self._states[place], self._forced[place]
        if forced:
            forced.pop(0)
        elif not state.ended and token != self._end:
            state.advance(token)
            if not state.ended:
                self._forced[place] = state.forced()
