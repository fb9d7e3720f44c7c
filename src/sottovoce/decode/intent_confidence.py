"""A model's probability of each known intent, for an utterance that it has read.

An intent's probability is that of an answer starting with it, if at every token that distinguishes known intents the
model's probabilities are renormalised over these: the probability of sampling it under the ontology. Over all known
intents they sum to 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch

from sottovoce.core.types import Frame
from sottovoce.data.prompts import answer_of
from sottovoce.decode.prefix_reader import Reader

Intent = tuple[str, str]
"""Scenario and action."""
Intents = dict[Intent, float]
"""The probability of each known intent, 0..1, the most probable first."""

NEGLIGIBLE = 1e-3  # less probable branches are not followed: their intents share the probability equally


@dataclass(frozen=True)
class _Branch:
    """Tokens up to the next choice, and where each choice leads; except in the root, the first was chosen before."""

    tokens: tuple[int, ...]
    choices: Mapping[int, _Branch | Intent]


@dataclass(frozen=True)
class _Reached:
    """A branch to read next, its log-probability, and the branch positions of all tokens before it."""

    branch: _Branch
    logarithm: float
    before: list[int]


class IntentTree:
    """A prefix tree of the starts of answers, up to and including the intent.

    Args:
        intents: the known ones, at least one.
        tokenizer: the answering model's.
    """

    def __init__(self, intents: Iterable[Intent], tokenizer: Any) -> None:
        self._root = _tree({_beginning(intent, tokenizer): intent for intent in sorted(set(intents))}, 0)

    def probabilities(self, reader: Reader) -> list[Intents]:
        """Each row's probabilities, given the prompt that ``reader`` has read; the reader's state is restored."""
        if isinstance(self._root, tuple):  # only one is known
            return [{self._root: 1.0} for _ in range(reader.num_rows)]
        found: list[Intents] = [{} for _ in range(reader.num_rows)]
        reached = [[_Reached(self._root, 0.0, [])] for _ in found]
        num_branched = 0
        with reader.branching():
            while any(reached):
                chains = [_places(row, num_branched) for row in reached]
                states = _read(reader, reached, chains, num_branched)
                ends = [(number, chain[-1] - num_branched) for number, row in enumerate(chains) for chain in row]
                logits = iter(reader.logits(states[tuple(zip(*ends, strict=True))]).float().cpu())
                reached = [
                    [
                        branch
                        for each, chain in zip(row, row_chains, strict=True)
                        for branch in _chosen(each, chain, next(logits), of_row)
                    ]
                    for row, row_chains, of_row in zip(reached, chains, found, strict=True)
                ]
                num_branched += states.shape[1]
        return [dict(sorted(row.items(), key=lambda each: -each[1])) for row in found]


def _beginning(intent: Intent, tokenizer: Any) -> tuple[int, ...]:
    """The tokens of an answer up to the one that completes its intent, which may include what follows."""
    scenario, action = intent
    closed = json.dumps({"scenario": scenario, "action": action}, ensure_ascii=False).removesuffix("}")
    ids = tokenizer(answer_of(Frame(scenario, action)), add_special_tokens=False).input_ids
    closing = takewhile(lambda number: not str(tokenizer.decode(ids[:number])).startswith(closed), range(1, len(ids)))
    return tuple(ids[: 1 + sum(1 for _ in closing)])


def _tree(intents: Mapping[tuple[int, ...], Intent], start: int) -> _Branch | Intent:
    """The tree after the first ``start`` tokens, which all have in common."""
    if len(intents) == 1:
        return next(iter(intents.values()))
    places = zip(*(ids[start:] for ids in intents), strict=False)
    end = start + sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, places))
    choices = dict.fromkeys(ids[end] for ids in intents)
    parts = {token: {ids: intent for ids, intent in intents.items() if ids[end] == token} for token in choices}
    first = next(iter(intents))
    return _Branch(first[start:end], {token: _tree(part, end) for token, part in parts.items()})


def _places(row: Sequence[_Reached], num_branched: int) -> list[list[int]]:
    """The branch positions that the tokens of each branch will take."""
    places, start = [], num_branched
    for each in row:
        places.append(list(range(start, start + len(each.branch.tokens))))
        start += len(each.branch.tokens)
    return places


def _read(
    reader: Reader, reached: Sequence[Sequence[_Reached]], chains: Sequence[list[list[int]]], num_branched: int
) -> torch.Tensor:
    """The last hidden states of the branches' tokens, (batch, width, hidden_size)."""
    width = max(sum(map(len, row)) for row in chains)
    seen = torch.zeros(len(reached), width, num_branched + width, dtype=torch.bool)
    seen[:, range(width), range(num_branched, num_branched + width)] = True  # each sees itself, padding too
    tokens, depths = [], []
    for number, (row, row_chains) in enumerate(zip(reached, chains, strict=True)):
        tokens.append([token for each in row for token in each.branch.tokens])
        depths.append([len(each.before) + step for each in row for step in range(len(each.branch.tokens))])
        for each, chain in zip(row, row_chains, strict=True):
            for step, place in enumerate(chain):
                seen[number, place - num_branched, each.before + chain[:step]] = True
    return reader.score_branches(tokens, depths, seen)


def _chosen(reached: _Reached, chain: list[int], logits: torch.Tensor, found: Intents) -> Iterator[_Reached]:
    """The branches worth following after this one; finished intents go into ``found``."""
    choices = reached.branch.choices
    shares = torch.log_softmax(logits[list(choices)], dim=-1).tolist()
    for share, choice in zip(shares, choices.values(), strict=True):
        logarithm = reached.logarithm + share
        if isinstance(choice, tuple):
            found[choice] = math.exp(logarithm)
        elif math.exp(logarithm) < NEGLIGIBLE:
            leaves = list(_leaves(choice))
            found |= dict.fromkeys(leaves, math.exp(logarithm) / len(leaves))
        else:
            yield _Reached(choice, logarithm, reached.before + chain)


def _leaves(branch: _Branch) -> Iterator[Intent]:
    for choice in branch.choices.values():
        if isinstance(choice, tuple):
            yield choice
        else:
            yield from _leaves(choice)
