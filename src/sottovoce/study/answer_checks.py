"""Checks before the first step that a model can give every right answer: its length, and the grammar."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.types import Utterance
from sottovoce.data.prompts import answer_of
from sottovoce.decode.ontology import GrammarForm, ontology_of
from sottovoce.study.cells import Cell
from sottovoce.study.workspace import Study


def check_answers(study: Study, cells: Iterable[Cell]) -> None:
    """Refuses a study whose right answers the cells' models could not give.

    A study that has results already is only warned of answers that are too long: with another setting it could not be
    continued.

    Raises:
        UserError: ``decode.max_new_tokens`` would cut the right answer of a training, dev or test utterance, with the
            row and the tokens of the longest; or llguidance cannot read the tokenizer that ``decode.grammar`` needs.
    """
    most, utterances = study.recipe.decode.max_new_tokens, study.data.train + study.data.dev + study.data.test
    for model in dict.fromkeys(cell.model for cell in cells):
        tokenizer = study.store(model).processor.tokenizer
        longest, tokens = longest_answer(utterances, tokenizer)
        if tokens > most:
            fault = f"{longest.where}: its answer has {tokens} tokens, and decode.max_new_tokens is {most}"
            if not study.layout.has_scores():
                raise UserError(fault, f"set decode.max_new_tokens={tokens}, or more")
            study.say(f"warning: {fault}: such answers are cut, and unreadable")
        if study.recipe.decode.grammar == "ontology":
            GrammarForm(ontology_of(utterance.frame for utterance in study.data.train), tokenizer)


def longest_answer(utterances: Iterable[Utterance], tokenizer: Any) -> tuple[Utterance, int]:
    """The utterance with the longest right answer, and its tokens without the one that ends the turn.

    That one is not needed: an answer ends with its last brace.
    """
    by_answer = {answer_of(utterance.frame): utterance for utterance in utterances}
    lengths = {answer: len(tokenizer(answer, add_special_tokens=False).input_ids) for answer in by_answer}
    longest = max(lengths, key=lambda answer: lengths[answer])
    return by_answer[longest], lengths[longest]
