"""A study whose settings would spoil right answers is refused before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from spoken_rows import utterance
from tiny_model import tiny_tokenizer
from tiny_study import write_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.data.load import load_data
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import answer_of
from sottovoce.study import runner
from sottovoce.study.answer_checks import check_answers, longest_answer
from sottovoce.study.cells import Cell, plan_cells
from sottovoce.study.workspace import Study


def planned(
    folder: Path, model: Path, corpus: Path, say: Callable[[str], None], **decode: Any
) -> tuple[Study, list[Cell]]:
    settings = {"batch_size": 4, "max_new_tokens": 80} | decode
    path = write_recipe(folder, model, corpus, schemes=["text_only"], decode=settings)
    recipe = load_recipe(path)
    data = load_data(recipe)
    return Study(recipe, path, data, recipe.folder, say), plan_cells(recipe, data)


def with_a_long_answer(corpus: Path, split: str) -> tuple[int, int]:
    """Makes the answer of a row longer; returns its line and the answer's tokens, one a byte."""
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    place = next(place for place, row in enumerate(rows) if row["split"] == split)
    rows[place]["entities"] = [{"type": "room", "filler": "x" * 60}]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place + 1, len(answer_of(read_manifest(corpus)[place].frame))


def test_the_longest_answer_is_counted_without_the_token_that_ends_the_turn() -> None:
    short, long = utterance("on"), replace(utterance("on", room="hallway"), where="m.jsonl:2")
    assert longest_answer([short, long, short], tiny_tokenizer()) == (long, len(answer_of(long.frame)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_row_and_the_number_needed_are_named(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, split: str
) -> None:
    line, needed = with_a_long_answer(tiny_corpus, split)
    fault = rf"\.jsonl:{line}: its answer has {needed} tokens, and decode\.max_new_tokens is 80; .*={needed}"
    with pytest.raises(UserError, match=fault):
        check_answers(*planned(tmp_path, tiny_model_dir, tiny_corpus, print))
    check_answers(*planned(tmp_path, tiny_model_dir, tiny_corpus, print, max_new_tokens=needed))


@pytest.mark.parametrize("action", [runner.run_study, runner.plan_study, runner.train_study])
def test_nothing_is_trained_before(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, action: Callable[..., Any]
) -> None:
    with_a_long_answer(tiny_corpus, "train")
    path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only"])
    with pytest.raises(UserError, match=r"max_new_tokens is 80"):
        action(load_recipe(path), path, lambda line: None)
    assert not (tmp_path / "runs/tiny/stages").exists()


def test_a_study_that_has_results_is_only_warned(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    with_a_long_answer(tiny_corpus, "train")
    said: list[str] = []
    study, cells = planned(tmp_path, tiny_model_dir, tiny_corpus, said.append)
    done = study.layout.cell("zero_shot").scores()
    done.parent.mkdir(parents=True)
    done.write_text("{}")
    check_answers(study, cells)
    assert len(said) == 1 and said[0].startswith("warning: ") and said[0].endswith("cut, and unreadable")


def test_a_tokenizer_that_the_grammar_cannot_be_read_with_is_refused(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, cells = planned(tmp_path, tiny_model_dir, tiny_corpus, print, grammar="ontology")
    check_answers(study, cells)
    monkeypatch.setattr(study.store(cells[0].model).processor, "tokenizer", WordTokenizer())
    with pytest.raises(UserError, match=r"llguidance cannot read the tokenizer: .*; set decode\.grammar=none"):
        check_answers(study, cells)


class WordTokenizer:
    """Not one of the fast tokenizers, which are all that llguidance reads."""

    unk_token_id = eos_token_id = 0

    def __call__(self, text: str, add_special_tokens: bool = True) -> Any:
        return type("Encoding", (), {"input_ids": text.split()})

    def convert_tokens_to_ids(self, token: str) -> int:
        return 0
