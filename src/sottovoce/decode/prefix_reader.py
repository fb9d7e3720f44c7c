"""Reads rows with a language model piece by piece, for models that need only positions and a mask.

Prompts are read without padding, or their common prefix is read only once.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import Any

import torch

from sottovoce.data.collate import Row, collate_prompts, collate_training, moved, padded
from sottovoce.models.families.base import Family
from sottovoce.models.incremental_attention import preallocated_cache, step_attention
from sottovoce.models.injection import bare, input_embeddings
from sottovoce.models.load import LoadedModel
from sottovoce.models.packed_attention import packed_attention, packing_of

MIN_SAVED = 64  # tokens that reading a common prefix must save to be worth a separate pass


def supports_steps(family: Family, base: Any) -> bool:
    """Whether a model can be read piece by piece: every layer attends to the whole row."""
    config = base.get_submodule(family.text_model).config
    windowed = getattr(config, "sliding_window", None) is not None
    return family.packs and not windowed and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}


@contextmanager
def reading(loaded: LoadedModel, model: Any, rows: Sequence[Row]) -> Iterator[tuple[Reader, torch.Tensor]]:
    """A reader that has read the rows' prompts, and the logits for the token after each, (batch, vocabulary)."""
    base = bare(model)
    with torch.inference_mode():
        reader = Reader(loaded, base)
        if num_shared := _num_shared(rows, loaded.processor.audio_token_id):
            reader.read_beginning(rows[0].prompt_ids[:num_shared], len(rows))
            rows = [replace(row, prompt_ids=row.prompt_ids[num_shared:]) for row in rows]
            batch = moved(collate_prompts(rows, loaded.pad_id), base.device)
            yield reader, reader.read(input_embeddings(model, batch), batch["attention_mask"])
        else:
            batch = moved(collate_training([replace(row, answer_ids=[]) for row in rows], loaded.pad_id), base.device)
            yield reader, reader.read_prompts(input_embeddings(model, batch), batch["attention_mask"])


def _num_shared(rows: Sequence[Row], placeholder: int) -> int:
    """How many tokens of the prompts' common prefix to read once for all rows."""
    longest = max(len(row.prompt_ids) for row in rows)
    places = zip(*(row.prompt_ids[:-1] for row in rows), strict=False)
    num_shared = sum(1 for _ in takewhile(lambda ids: set(ids) == {ids[0]} != {placeholder}, places))
    saved = (padded(longest) - padded(longest - num_shared)) * len(rows) - num_shared
    return num_shared if saved >= MIN_SAVED else 0


def first_logits(loaded: LoadedModel, model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """The logits for the first token of each row's answer, (batch, vocabulary)."""
    with reading(loaded, model, rows) as (_, logits):
        return logits


class Reader:
    """A language model's state for the rows of a batch: what it has read of each."""

    def __init__(self, loaded: LoadedModel, base: Any) -> None:
        self._loaded, self._base = loaded, base
        self._language = base.get_submodule(loaded.family.text_model)
        named = inspect.signature(self._language.forward).parameters
        # transformers used the longer name until 5.23.
        self._cache_name, self._cache = "cache" if "cache" in named else "past_key_values", preallocated_cache()
        # 1 for tokens, 0 for padding, for all positions read so far, (batch, num_places)
        self._mask = torch.zeros(1, 0, dtype=torch.long, device=base.device)

    def read_prompts(self, embeddings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """As :meth:`read`, for prompts padded on the right, whose padding is not computed."""
        packing, self._mask = packing_of(mask), mask
        with packed_attention(self._language):
            packed = self._states(packing.pack(embeddings), packing.within_row.unsqueeze(0), packing=packing)
        for layer in self._cache.layers:
            layer.keys, layer.values = packing.unpack_heads(layer.keys), packing.unpack_heads(layer.values)
        ends = packing.places.view(mask.shape).gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
        return self.logits(packed[0, ends])

    def read_beginning(self, ids: list[int], num_rows: int) -> None:
        """Reads the common prefix of all rows."""
        embeddings = self._loaded.family.token_embeddings(self._base, torch.tensor([ids], device=self._base.device))
        self._forward(embeddings, torch.ones_like(embeddings[..., 0], dtype=torch.long))
        self._cache.batch_repeat_interleave(num_rows)

    def read(self, embeddings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reads more tokens of each row; the last one predicts the next token.

        Args:
            embeddings: (batch, num_places, hidden_size).
            mask: 1 for tokens, 0 for padding on the left, (batch, num_places).

        Returns:
            logits, (batch, vocabulary); meaningless for a row without tokens.
        """
        hidden = self._forward(embeddings, mask)
        return self.logits(hidden[:, -1].contiguous())

    def read_tokens(self, tokens: Sequence[list[int]]) -> torch.Tensor:
        """Reads tokens of each row; see :meth:`read`."""
        width = max(map(len, tokens))
        ids = torch.tensor([[self._loaded.pad_id] * (width - len(row)) + row for row in tokens])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in tokens])
        embeddings = self._loaded.family.token_embeddings(self._base, ids.to(self._base.device))
        return self.read(embeddings, mask.to(self._base.device))

    def score_branches(
        self, tokens: Sequence[list[int]], depths: Sequence[list[int]], seen: torch.Tensor
    ) -> torch.Tensor:
        """Reads several alternative continuations at once, such as different starts of an answer.

        Only within :meth:`branching`; tokens read there before can be attended to, too.

        Args:
            tokens: of each row.
            depths: how many tokens are between each of them and the row's prompt.
            seen: which branch positions each token attends to, including itself, (batch, width, num_branched +
                width); the row's prompt is always seen.

        Returns:
            the language model's last hidden states, (batch, width, hidden_size).
        """
        width = seen.shape[1]
        ids = torch.tensor([row + [self._loaded.pad_id] * (width - len(row)) for row in tokens])
        steps = torch.tensor([row + [0] * (width - len(row)) for row in depths])
        embeddings = self._loaded.family.token_embeddings(self._base, ids.to(self._base.device))
        prompts = self._mask.bool()[:, None].expand(-1, width, -1)
        positions = self._mask.sum(1, keepdim=True) + steps.to(self._mask.device)
        return self._step(embeddings, positions, torch.cat([prompts, seen.to(prompts.device)], dim=2))

    @contextmanager
    def branching(self) -> Iterator[None]:
        """On exit, drops what :meth:`score_branches` has read."""
        length = self._cache.get_seq_length()
        yield
        self._cache.crop(length - self._cache.get_seq_length())  # negative: removes that many from the end

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states, (positions, hidden_size), to logits, (positions, vocabulary)."""
        return self._loaded.family.logits(self._base, hidden)

    @property
    def num_rows(self) -> int:
        return len(self._mask)

    def keep(self, places: list[int]) -> None:
        """Drops all rows except these."""
        kept = torch.tensor(places, device=self._mask.device)
        self._cache.batch_select_indices(kept)
        self._mask = self._mask[kept]

    def _forward(self, embeddings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        before = self._mask.expand(len(mask), -1)
        self._mask = torch.cat([before, mask], dim=1)
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)[:, before.shape[1] :]
        (num_before, num_new), num_places = (before.shape[1], mask.shape[1]), self._mask.shape[1]
        behind = torch.ones(num_new, num_places, dtype=torch.bool, device=mask.device).tril(num_before)
        return self._step(embeddings, positions, self._mask.bool()[:, None] & behind)

    def _step(self, embeddings: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """:meth:`_states` of tokens that attend to their visible positions, (batch, num_new, num_places)."""
        bias = torch.zeros_like(visible, dtype=self._base.dtype)
        bias.masked_fill_(~visible, torch.finfo(bias.dtype).min)
        with step_attention(self._language):
            return self._states(embeddings, positions, bias=bias)

    def _states(self, embeddings: torch.Tensor, positions: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """The language model's last hidden states; keys and values are added to the cache."""
        inputs |= {"position_ids": positions, "use_cache": True, self._cache_name: self._cache}
        states: torch.Tensor = self._language(inputs_embeds=embeddings.to(self._base.dtype), **inputs).last_hidden_state
        return states
