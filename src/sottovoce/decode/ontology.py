"""Restricts answers to frames of known intents and slot types: the ontology of the training labels as a grammar.

The grammar is llguidance's Lark. Its one terminal is the answer's whole line exactly as ``prompts.answer_of`` writes
it, so that forced text is tokenised like the training answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.core.errors import UserError
from sottovoce.core.types import Frame, Labels
from sottovoce.data.collate import end_of_turn_id
from sottovoce.decode.constraints import ConstraintState

# Plain characters; quotes, backslashes and control characters (except line breaks) as JSON escapes.
_FILLER = r'/([^"\\\x00-\x1F]|\\["\\bft]|\\u00(0[0-7bef]|1[0-9a-f]))*/'
_OR = "    | "  # before every alternative except the first, on its own line


def ontology_of(frames: Iterable[Frame]) -> str:
    """The grammar of answers with an intent and slot types of these frames, with any number of entities and any
    fillers.

    Equal sets of intents and slot types give equal text.
    """
    labels = Labels.of(frames)
    opening, key, closing = map(_literal, ('{"scenario": ', ', "entities": [', "]}"))
    listed = '(ENTITY (", " ENTITY)*)? ' if labels.slots else ""
    lines = [
        "start: ANSWER",
        f"ANSWER: {opening} INTENT {key} {listed}{closing}",
        "INTENT: " + _one_of(f'{_json(scenario)}, "action": {_json(action)}' for scenario, action in labels.intents),
    ]
    if labels.slots:
        begin, between, end = map(_literal, ("{", ': "', '"}'))
        lines += [
            f"ENTITY: {begin} SLOT {between} FILLER {end}",
            "SLOT: " + _one_of(_json(slot) for slot in labels.slots),
            f"FILLER: {_FILLER}",
        ]
    return "\n".join(lines) + "\n"


def labels_of(grammar: str) -> Labels:
    """The intents and slot types that a grammar from :func:`ontology_of` allows."""
    intents, slots = list[tuple[str, str]](), list[str]()
    rule = ""
    for line in grammar.rstrip("\n").split("\n"):  # not splitlines: a name may contain U+2028
        if line[:1] != " ":
            rule, _, line = line.partition(": ")
        if rule == "INTENT":
            named = json.loads(f'{{"scenario": {json.loads(line.removeprefix(_OR))}}}')
            intents.append((named["scenario"], named["action"]))
        elif rule == "SLOT":
            slots.append(json.loads(json.loads(line.removeprefix(_OR))))
    return Labels(tuple(intents), tuple(slots))


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _literal(text: str) -> str:
    # Lark's strings are escaped like JSON's.
    return _json(text)


def _one_of(texts: Iterable[str]) -> str:
    return ("\n" + _OR).join(map(_literal, texts))


class GrammarForm:
    """Answers that follow a grammar and end with its line.

    Args:
        grammar: in llguidance's Lark.
        tokenizer: the answering model's.

    Raises:
        UserError: llguidance cannot read the tokenizer.
    """

    def __init__(self, grammar: str, tokenizer: Any) -> None:
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer

        try:
            own = from_tokenizer(tokenizer, eos_token=end_of_turn_id(tokenizer))
        except ValueError as error:
            raise UserError(f"llguidance cannot read the tokenizer: {error}", "set decode.grammar=none") from error
        self._matcher = LLMatcher(own, grammar)
        if self._matcher.is_error():
            raise ValueError(self._matcher.get_error())

    def new_state(self) -> ConstraintState:
        return _GrammarState(self._matcher.deep_copy())


class _GrammarState:
    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def ended(self) -> bool:
        return bool(self._matcher.is_accepting())

    def advance(self, token: int) -> None:
        self._checked(self._matcher.consume_token(token))

    def forced(self) -> list[int]:
        tokens: list[int] = self._matcher.compute_ff_tokens()
        self._checked(self._matcher.consume_tokens(tokens))
        return tokens

    def allowed(self) -> NDArray[np.bool_]:
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._checked(not self._matcher.is_error())
        return np.unpackbits(bits, bitorder="little").astype(bool)

    def _checked(self, done: bool) -> None:
        if not done:
            raise ValueError(self._matcher.get_error())
