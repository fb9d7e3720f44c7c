"""Probabilities of intents against the plain way: each intent's tokens read by themselves, one after the other."""

from __future__ import annotations

import math

import pytest
import torch
from lively import enlivened, steps_of
from spoken_rows import mixed_rows

from sottovoce.core.types import Entity, Frame
from sottovoce.data.collate import Row
from sottovoce.data.prompts import answer_of
from sottovoce.decode import intent_confidence as module
from sottovoce.decode.batches import answered, confidence_of
from sottovoce.decode.constraints import ANY_TEXT, Form
from sottovoce.decode.greedy import greedy, greedy_with_intents
from sottovoce.decode.intent_confidence import Intent, IntentTree
from sottovoce.decode.ontology import GrammarForm, ontology_of
from sottovoce.decode.prefix_reader import first_logits, reading
from sottovoce.models.load import LoadedModel

KNOWN: list[Intent] = [
    ("light", "on"), ("light", "off"), ("light", "on_dim"), ("music", "play"), ("music", "play_radio"),
    ("timer", "set"), ("éclairage", "“oui”"), ('a"b', "c, d"),
]  # fmt: skip


@pytest.fixture
def lively(loaded: LoadedModel) -> LoadedModel:
    return enlivened(loaded)


def plainly(loaded: LoadedModel, row: Row, known: list[Intent]) -> dict[Intent, float]:
    """The same by the definition: at each token, shares among the tokens by which any known intent goes on."""
    tokenizer = loaded.processor.tokenizer
    paths = {intent: tokenizer(answer_of(Frame(*intent)), add_special_tokens=False).input_ids for intent in known}
    found = {}
    for intent, path in paths.items():
        logarithm = 0.0
        for end in range(len(path)):
            ways = sorted({other[end] for other in paths.values() if other[:end] == path[:end]})
            if len(ways) > 1:
                before = Row(row.prompt_ids + path[:end], [], row.audio_states)
                logits = first_logits(loaded, loaded.model, [before])[0].float()
                logarithm += float(torch.log_softmax(logits[ways], dim=0)[ways.index(path[end])])
        found[intent] = math.exp(logarithm)
    return found


def test_probabilities_are_those_of_reading_each_intent_by_itself(
    lively: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEGLIGIBLE", 0.0)
    rows = mixed_rows(lively)
    with reading(lively, lively.model, rows) as (reader, _):
        together = IntentTree(KNOWN, lively.processor.tokenizer).probabilities(reader)
    for row, found in zip(rows, together, strict=True):
        assert found == pytest.approx(plainly(lively, row, KNOWN), rel=1e-3, abs=1e-7)
        assert sum(found.values()) == pytest.approx(1.0)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert len({round(found["light", "on"], 4) for found in together}) == len(rows)  # it depends on the row


def test_beginnings_that_are_hardly_probable_are_not_followed(
    lively: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, tree = mixed_rows(lively)[0], IntentTree(KNOWN, lively.processor.tokenizer)
    exact = plainly(lively, row, KNOWN)
    best = max(exact, key=lambda intent: exact[intent])
    monkeypatch.setattr(module, "NEGLIGIBLE", 2.0)  # nothing is followed beyond the first choice
    with reading(lively, lively.model, [row]) as (reader, _), steps_of(lively) as steps:
        (found,) = tree.probabilities(reader)
    assert len(steps) == 1
    assert found.keys() == exact.keys() and sum(found.values()) == pytest.approx(1.0)
    scenario = [intent for intent in KNOWN if intent[0] == best[0]]
    assert sum(found[each] for each in scenario) == pytest.approx(sum(exact[each] for each in scenario), rel=1e-3)
    assert len({found[each] for each in scenario}) == 1


@pytest.mark.parametrize("grammar", ["none", "ontology"])
def test_answers_are_the_same_with_and_without_probabilities(lively: LoadedModel, grammar: str) -> None:
    rows, tree = mixed_rows(lively), IntentTree(KNOWN, lively.processor.tokenizer)
    form: Form = ANY_TEXT
    if grammar == "ontology":
        frames = [Frame(*intent, (Entity("room", "den"),)) for intent in KNOWN]
        form = GrammarForm(ontology_of(frames), lively.processor.tokenizer)
    alone = greedy(lively, lively.model, rows, [form.new_state() for _ in rows], 60)
    tokens, found = greedy_with_intents(lively, lively.model, rows, [form.new_state() for _ in rows], 60, tree)
    assert tokens == alone
    texts = lively.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    assert all(text.startswith('{"scenario": "') for text in texts) == (grammar == "ontology")
    assert len(found) == len(rows)


def test_a_single_known_intent_is_certain(lively: LoadedModel) -> None:
    rows = mixed_rows(lively)[:2]
    texts = answered(lively, lively.model, rows, 4, ANY_TEXT, IntentTree(KNOWN[:1] * 2, lively.processor.tokenizer))
    assert [found for _, found in texts] == [{KNOWN[0]: 1.0}] * 2


def test_confidence_is_that_of_the_intent_that_was_answered() -> None:
    known = {("light", "on"): 0.7, ("light", "off"): 0.3}
    assert confidence_of(answer_of(Frame("light", "off", (Entity("room", "den"),))), known) == 0.3
    assert confidence_of(answer_of(Frame("music", "play")), known) == 0.0
    assert confidence_of("light", known) == 0.0
    assert confidence_of(answer_of(Frame("light", "off")), None) is None
