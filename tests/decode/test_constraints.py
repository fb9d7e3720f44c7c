from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_rows import mixed_rows
from tiny_model import tiny_tokenizer

from sottovoce.decode import batches as decoding
from sottovoce.decode.batches import generate
from sottovoce.decode.constraints import JsonObject, only_allowed
from sottovoce.decode.parse import parse_answer
from sottovoce.models.load import LoadedModel

TOKENIZER = tiny_tokenizer()
FRAME = '{"scenario": "a", "action": "b", "entities": [{"c": "%s"}]}'
PIECES = ("{", "}", '"', "\\", "[", "]", ":", ",", " ", "é", "\n", "a", FRAME % "d", FRAME % "}", FRAME % '\\"}')


def read(text: str) -> str:
    """The text as far as it is read."""
    ids, state = TOKENIZER(text, add_special_tokens=False).input_ids, JsonObject(TOKENIZER).new_state()
    taken: list[int] = []
    for token in ids:
        if state.ended:
            break
        state.advance(token)
        taken.append(token)
    return str(TOKENIZER.decode(taken))


@pytest.mark.parametrize("filler", ["half past six", "}", "{", '\\"}', "\\\\", '\\\\\\"}{', "ça", "\\u007d"])
def test_an_answer_ends_with_the_brace_of_its_object(filler: str) -> None:
    frame = FRAME % filler
    assert read(f"{frame}\nUser: {{") == frame
    assert read(f'5" wide {frame}{frame}') == f'5" wide {frame}'
    assert read(frame[:-1]) == frame[:-1]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_what_follows_the_end_means_nothing_to_the_parser(text: str) -> None:
    short, whole = parse_answer("u", read(text)), parse_answer("u", text)
    assert (short.status, short.frame) == (whole.status, whole.frame)


def test_generated_text_ends_there_by_either_way(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, rows = loaded.processor.tokenizer, mixed_rows(loaded)
    written = tokenizer('{"a": "}"} and more').input_ids
    calls = iter(range(10**6))

    def write(head: Any, inputs: Any, logits: torch.Tensor) -> torch.Tensor:  # a letter a step, whatever was read
        return torch.zeros_like(logits).index_fill(-1, torch.tensor([written[next(calls) % len(written)]]), 1.0)

    loaded.model.lm_head.register_forward_hook(write)
    assert generate(loaded, loaded.model, rows, len(written)) == ['{"a": "}"} and more'] * 4
    for by_steps in (True, False):
        monkeypatch.setattr(decoding, "supports_steps", lambda *_, by_steps=by_steps: by_steps)
        calls = iter(range(10**6))
        assert generate(loaded, loaded.model, rows, len(written), JsonObject(tokenizer)) == ['{"a": "}"}'] * 4
        assert next(calls) == (10 if by_steps else 11)  # transformers is told by an end of turn


def test_only_allowed_tokens_keep_their_logits() -> None:
    logits = torch.arange(12.0).reshape(3, 4)
    found = only_allowed(logits, {1: np.array([True, False]), 2: np.array([False] * 3 + [True] * 3)})
    inf = float("inf")
    assert found.tolist() == [[0, 1, 2, 3], [4, -inf, -inf, -inf], [-inf, -inf, -inf, 11]]
    assert only_allowed(logits, {}) is logits
