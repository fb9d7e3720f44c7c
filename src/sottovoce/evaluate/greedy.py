"""Greedy decoding by a loop of our own, for language models that need nothing but positions and a mask.

Rows whose answer has ended leave the batch, what all prompts begin with is read once, and forced tokens are read
several in a step, with the tokens of the other rows. The answers are those of transformers' ``generate``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import Any

import torch
from transformers import DynamicCache

from sottovoce.data.collate import Row, collate_prompts, end_of_turn_id, moved, padded
from sottovoce.evaluate.forms import Course, only_allowed
from sottovoce.models.family import Family
from sottovoce.models.injection import bare, input_embeddings
from sottovoce.models.load import LoadedModel, fused_attention

MIN_SAVED = 64  # tokens; reading a beginning apart must save as many to be worth a pass of its own
LONGER_SHARE = 0.25  # of the rows may have more tokens to read than a step takes; they go on in the next one
LEAVE_SHARE = 0.25  # of the rows in the batch; taking fewer of them out costs more than to compute them on


def goes_by_steps(family: Family, base: Any) -> bool:
    """Whether :func:`greedy` is right for a model: every layer looks at the whole row, wherever its tokens lie."""
    config = base.get_submodule(family.text_model).config
    windowed = getattr(config, "sliding_window", None) is not None
    return family.packs and not windowed and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}


def greedy(
    loaded: LoadedModel, model: Any, rows: Sequence[Row], courses: Sequence[Course], max_new_tokens: int
) -> list[list[int]]:
    """The tokens of each row's answer, its end-of-turn token included if it was reached.

    Args:
        courses: a new one for each row.
    """
    end = end_of_turn_id(loaded.processor.tokenizer)
    answers = [_Answer(course, end, max_new_tokens) for course in courses]
    # What is forced from the start is part of the prompt.
    opened = [row.prompt_ids + answer.read(max_new_tokens) for row, answer in zip(rows, answers, strict=True)]
    rows = [replace(row, prompt_ids=ids) for row, ids in zip(rows, opened, strict=True)]
    with _reading(loaded, model, rows) as (reader, logits):
        under_way = list(range(len(rows)))  # which answer each row of the batch holds
        while True:
            for place, token in _chosen(logits, [answers[number] for number in under_way]):
                answers[under_way[place]].take(token)
            going = [place for place, number in enumerate(under_way) if not answers[number].ended]
            if not going:
                return [answer.tokens for answer in answers]
            if len(going) <= (1 - LEAVE_SHARE) * len(under_way):
                reader.keep(going)
                under_way = [under_way[place] for place in going]
            width = _width([answers[number].num_unread for number in under_way])
            logits = reader.read_tokens([answers[number].read(width) for number in under_way])


def first_logits(loaded: LoadedModel, model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """What the first token of each row's answer is chosen by, (batch, vocabulary)."""
    with _reading(loaded, model, rows) as (_, logits):
        return logits


class _Answer:
    """An answer so far, and which of its tokens the model has not read yet."""

    def __init__(self, course: Course, end: int, max_new_tokens: int) -> None:
        self.course, self.tokens = course, list[int]()
        self._end, self._most, self._num_read = end, max_new_tokens, 0
        self._force()

    @property
    def ended(self) -> bool:
        return self.course.ended or len(self.tokens) >= self._most or self.tokens[-1:] == [self._end]

    def take(self, token: int) -> None:
        self.tokens.append(token)
        if token != self._end:
            self.course.take(token)
            if not self.ended:
                self._force()

    @property
    def num_unread(self) -> int:
        """How many tokens must be read before the next is chosen; none once the answer has ended."""
        return 0 if self.ended else len(self.tokens) - self._num_read

    def read(self, limit: int) -> list[int]:
        """The tokens to read now."""
        new = self.tokens[self._num_read :][: min(limit, self.num_unread)]
        self._num_read += len(new)
        return new

    def _force(self) -> None:
        self.tokens = (self.tokens + self.course.forced())[: self._most]


def _chosen(logits: torch.Tensor, answers: Sequence[_Answer]) -> Iterator[tuple[int, int]]:
    """The most likely allowed token of each answer that is read so far, with its place in the batch."""
    read = {place: answer for place, answer in enumerate(answers) if not answer.ended and not answer.num_unread}
    allowed = {place: answer.course.allowed() for place, answer in read.items()}
    limited = {place: tokens for place, tokens in allowed.items() if tokens is not None}
    best = only_allowed(logits.float(), limited).argmax(-1).tolist()
    return ((place, best[place]) for place in allowed)


def _width(nums_unread: Sequence[int]) -> int:
    """How many places a row to read in a step: not so many that few rows fill the last of them."""
    return max(1, sorted(nums_unread, reverse=True)[int(LONGER_SHARE * len(nums_unread))])


@contextmanager
def _reading(loaded: LoadedModel, model: Any, rows: Sequence[Row]) -> Iterator[tuple[_Reader, torch.Tensor]]:
    """A reader that has read the rows' prompts, and the logits of what follows each, (batch, vocabulary)."""
    base = bare(model)
    with torch.inference_mode(), fused_attention(base):
        reader = _Reader(loaded, base)
        if num_shared := _num_shared(rows, loaded.processor.audio_token_id):
            reader.read_beginning(rows[0].prompt_ids[:num_shared], len(rows))
            rows = [replace(row, prompt_ids=row.prompt_ids[num_shared:]) for row in rows]
        batch = moved(collate_prompts(rows, loaded.pad_id), base.device)
        yield reader, reader.read(input_embeddings(model, batch), batch["attention_mask"])


def _num_shared(rows: Sequence[Row], placeholder: int) -> int:
    """How many tokens at the prompts' beginning are to be read once for all rows."""
    longest = max(len(row.prompt_ids) for row in rows)
    places = zip(*(row.prompt_ids[:-1] for row in rows), strict=False)
    num_shared = sum(1 for _ in takewhile(lambda ids: set(ids) == {ids[0]} != {placeholder}, places))
    saved = (padded(longest) - padded(longest - num_shared)) * len(rows) - num_shared
    return num_shared if saved >= MIN_SAVED else 0


class _Reader:
    """What the language model has read of each row of a batch."""

    def __init__(self, loaded: LoadedModel, base: Any) -> None:
        self._loaded, self._base = loaded, base
        self._language = base.get_submodule(loaded.family.text_model)
        named = inspect.signature(self._language.forward).parameters
        # Until transformers 5.23 the argument had the longer name.
        self._cache_name, self._cache = "cache" if "cache" in named else "past_key_values", DynamicCache()
        self._mask = torch.zeros(1, 0, dtype=torch.long, device=base.device)

    def read_beginning(self, ids: list[int], num_rows: int) -> None:
        """Reads what all rows begin with."""
        embeddings = self._loaded.family.token_embeddings(self._base, torch.tensor([ids], device=self._base.device))
        self._forward(embeddings, torch.ones_like(embeddings[..., 0], dtype=torch.long))
        self._cache.batch_repeat_interleave(num_rows)

    def read(self, embeddings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Goes on by some places a row, of which the last one tells what follows.

        Args:
            embeddings: (batch, num_places, hidden_size).
            mask: 1 for tokens, 0 for padding, which stands on the left, (batch, num_places).

        Returns:
            logits, (batch, vocabulary); of a row without tokens they mean nothing.
        """
        hidden = self._forward(embeddings, mask)
        return self._loaded.family.logits(self._base, hidden[:, -1].contiguous())

    def read_tokens(self, tokens: Sequence[list[int]]) -> torch.Tensor:
        """Goes on by the tokens of each row; see :meth:`read`."""
        width = max(map(len, tokens))
        ids = torch.tensor([[self._loaded.pad_id] * (width - len(row)) + row for row in tokens])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in tokens])
        embeddings = self._loaded.family.token_embeddings(self._base, ids.to(self._base.device))
        return self.read(embeddings, mask.to(self._base.device))

    def keep(self, places: list[int]) -> None:
        """Forgets all rows but these."""
        kept = torch.tensor(places, device=self._mask.device)
        self._cache.batch_select_indices(kept)
        self._mask = self._mask[kept]

    def _forward(self, embeddings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        before = self._mask.expand(len(mask), -1)
        self._mask = torch.cat([before, mask], dim=1)
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)[:, before.shape[1] :]
        states: torch.Tensor = self._language(
            inputs_embeds=embeddings.to(self._base.dtype),
            attention_mask=self._mask,
            position_ids=positions,
            use_cache=True,
            **{self._cache_name: self._cache},
        ).last_hidden_state
        return states
