"""Answers of transformers' own ``generate`` held to their form, for models that our own loop is not for."""

from __future__ import annotations

import numpy as np
import torch
from transformers import LogitsProcessor

from sottovoce.decode.constraints import Form, only_allowed


class HeldToForm(LogitsProcessor):  # type: ignore[misc]
    """For one call with embedded prompts, whose ``input_ids`` are the answers alone. Forced tokens cost steps here.

    Args:
        end: the end-of-turn token, which nothing follows but padding.
    """

    def __init__(self, form: Form, num_rows: int, end: int) -> None:
        self._courses = [form.course() for _ in range(num_rows)]
        self._forced = [course.forced() for course in self._courses]  # and not written yet
        self._end = end

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(batch, vocabulary) of the answers so far, (batch, num_tokens), and such scores."""
        if input_ids.shape[1]:
            for place, token in enumerate(input_ids[:, -1].tolist()):
                self._take(place, token)
        allowed = {}
        for place, course in enumerate(self._courses):
            only = self._forced[place][:1] or ([self._end] if course.ended else [])
            tokens = np.isin(np.arange(scores.shape[-1]), only) if only else course.allowed()
            if tokens is not None:
                allowed[place] = tokens
        return only_allowed(scores, allowed)

    def _take(self, place: int, token: int) -> None:
        course, forced = self._courses[place], self._forced[place]
        if forced:
            forced.pop(0)
        elif not course.ended and token != self._end:
            course.take(token)
            if not course.ended:
                self._forced[place] = course.forced()
