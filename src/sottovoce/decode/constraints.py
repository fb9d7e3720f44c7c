"""The form of an answer: where it ends, and which tokens may come next. Decoding uses these protocols only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray


class ConstraintState(Protocol):
    """The state of one unfinished answer."""

    @property
    def ended(self) -> bool:
        """Whether the answer is complete without an end-of-turn token."""
        ...

    def advance(self, token: int) -> None:
        """Adds the chosen token, which must be allowed."""
        ...

    def forced(self) -> list[int]:
        """The tokens that must follow now; the state advances past them."""
        ...

    def allowed(self) -> NDArray[np.bool_] | None:
        """Which tokens may follow, (num_tokens,), none after these; None if all may."""
        ...


class Form(Protocol):
    """The form of all answers of a decoding."""

    def new_state(self) -> ConstraintState:
        """A new answer."""
        ...


class AnyText:
    """Text that ends only with the end-of-turn token. Stateless, so it is its own state."""

    ended = False

    def new_state(self) -> ConstraintState:
        return self

    def advance(self, token: int) -> None:
        pass

    def forced(self) -> list[int]:
        return []

    def allowed(self) -> None:
        return None


ANY_TEXT = AnyText()


class JsonObject:
    """Free text that ends with the brace that closes its first JSON object, as ``parse.parse_answer`` ignores the rest.

    Braces and quotes are single bytes in every tokenizer, so tokens can be read one by one, even if they are only part
    of a letter.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    def new_state(self) -> ConstraintState:
        return _ObjectState(self)

    def text(self, token: int) -> str:
        """A token's text; empty for special tokens."""
        if token not in self._texts:
            self._texts[token] = self._tokenizer.decode([token], skip_special_tokens=True)
        return self._texts[token]


class _ObjectState(AnyText):
    def __init__(self, form: JsonObject) -> None:
        self._form = form
        self._depth, self._in_string, self._escaped = 0, False, False

    def advance(self, token: int) -> None:
        for letter in self._form.text(token):
            if self.ended:
                return
            self._read(letter)

    def _read(self, letter: str) -> None:
        if self._in_string:
            self._in_string = self._escaped or letter != '"'
            self._escaped = letter == "\\" and not self._escaped
        elif letter == "{":
            self._depth += 1
        elif self._depth:  # before the first brace everything is ignored, including quotes
            self._in_string = letter == '"'
            self._depth -= letter == "}"
            self.ended = not self._depth


def only_allowed(logits: torch.Tensor, allowed: Mapping[int, NDArray[np.bool_]]) -> torch.Tensor:
    """The logits, (batch, vocabulary), with those of forbidden tokens set to minus infinity.

    Args:
        allowed: by row, the tokens that its state allows; other rows are unrestricted.
    """
    if not allowed:
        return logits
    refused = np.zeros(logits.shape, bool)
    for place, tokens in allowed.items():
        known = tokens[: logits.shape[-1]]
        refused[place] = True
        refused[place, : len(known)] = ~known
    return logits.masked_fill(torch.from_numpy(refused).to(logits.device), -torch.inf)
