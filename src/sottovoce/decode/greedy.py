"""Greedy decoding with our own loop, for language models that need only positions and a mask.

Rows with finished answers leave the batch, and several forced tokens are read in one step, together with the other
rows' tokens. The answers are the same as those of transformers' ``generate``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from sottovoce.data.collate import Row, end_of_turn_id
from sottovoce.decode.constraints import ConstraintState, only_allowed
from sottovoce.decode.intent_confidence import Intents, IntentTree
from sottovoce.decode.prefix_reader import Reader, reading
from sottovoce.models.load import LoadedModel

LONGER_SHARE = 0.25  # of the rows may have more tokens to read than fit into a step; the next step reads the rest
LEAVE_SHARE = 0.25  # of the batch's rows; removing fewer costs more than computing them


def greedy(
    loaded: LoadedModel, model: Any, rows: Sequence[Row], states: Sequence[ConstraintState], max_new_tokens: int
) -> list[list[int]]:
    """The tokens of each row's answer, including its end-of-turn token if there is one.

    Args:
        states: a new one for each row.
    """
    answers = _answers(loaded, states, max_new_tokens)
    # Tokens forced from the start become part of the prompt.
    opened = [row.prompt_ids + answer.read(max_new_tokens) for row, answer in zip(rows, answers, strict=True)]
    rows = [replace(row, prompt_ids=ids) for row, ids in zip(rows, opened, strict=True)]
    with reading(loaded, model, rows) as (reader, logits):
        return _finished(answers, reader, logits)


def greedy_with_intents(
    loaded: LoadedModel, model: Any, rows: Sequence[Row], states: Sequence[ConstraintState], max_new_tokens: int,
    tree: IntentTree,
) -> tuple[list[list[int]], list[Intents]]:  # fmt: skip
    """As :func:`greedy`, plus each row's probabilities of the intents in ``tree``; prompts are read only once."""
    answers = _answers(loaded, states, max_new_tokens)
    with reading(loaded, model, rows) as (reader, logits):
        intents = tree.probabilities(reader)
        return _finished(answers, reader, logits), intents


def _answers(loaded: LoadedModel, states: Sequence[ConstraintState], max_new_tokens: int) -> list[_Answer]:
    end = end_of_turn_id(loaded.processor.tokenizer)
    return [_Answer(state, end, max_new_tokens) for state in states]


def _finished(answers: Sequence[_Answer], reader: Reader, logits: torch.Tensor) -> list[list[int]]:
    """Completes all answers and returns their tokens; ``logits`` follow the prompts, which the reader has read."""
    active = list(range(len(answers)))  # the answer in each row of the batch
    while True:
        for place, token in _chosen(logits, [answers[number] for number in active]):
            answers[active[place]].advance(token)
        going = [place for place, number in enumerate(active) if not answers[number].ended]
        if not going:
            return [answer.tokens for answer in answers]
        if len(going) <= (1 - LEAVE_SHARE) * len(active):
            reader.keep(going)
            active = [active[place] for place in going]
        width = _width([answers[number].num_unread for number in active])
        logits = reader.read_tokens([answers[number].read(width) for number in active])


class _Answer:
    """The answer so far, and which of its tokens the model has not read yet."""

    def __init__(self, state: ConstraintState, end: int, max_new_tokens: int) -> None:
        self.state, self.tokens = state, list[int]()
        self._end, self._most, self._num_read = end, max_new_tokens, 0
        self._force()

    @property
    def ended(self) -> bool:
        return self.state.ended or len(self.tokens) >= self._most or self.tokens[-1:] == [self._end]

    def advance(self, token: int) -> None:
        self.tokens.append(token)
        if token != self._end:
            self.state.advance(token)
            if not self.ended:
                self._force()

    @property
    def num_unread(self) -> int:
        """How many tokens must be read before the next is chosen; 0 once the answer has ended."""
        return 0 if self.ended else len(self.tokens) - self._num_read

    def read(self, limit: int) -> list[int]:
        """The tokens to read now."""
        new = self.tokens[self._num_read :][: min(limit, self.num_unread)]
        self._num_read += len(new)
        return new

    def _force(self) -> None:
        self.tokens = (self.tokens + self.state.forced())[: self._most]


def _chosen(logits: torch.Tensor, answers: Sequence[_Answer]) -> Iterator[tuple[int, int]]:
    """The most likely allowed token of each answer that is fully read, with its index in the batch."""
    read = {place: answer for place, answer in enumerate(answers) if not answer.ended and not answer.num_unread}
    allowed = {place: answer.state.allowed() for place, answer in read.items()}
    limited = {place: tokens for place, tokens in allowed.items() if tokens is not None}
    best = only_allowed(logits.float(), limited).argmax(-1).tolist()
    return ((place, best[place]) for place in allowed)


def _width(nums_unread: Sequence[int]) -> int:
    """How many tokens per row to read in one step: few enough that enough rows fill the last column."""
    return max(1, sorted(nums_unread, reverse=True)[int(LONGER_SHARE * len(nums_unread))])
