"""A study whose setting would cut right answers is refused before anything is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from spoken_rows import utterance
from tiny_model import tiny_tokenizer
from tiny_study import run_tiny_study, write_recipe

from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.data.manifest import read_manifest
from sottovoce.data.prompts import answer_of
from sottovoce.study import runner
from sottovoce.study.answer_checks import longest_answer


def test_the_longest_answer_is_counted_without_the_token_that_ends_the_turn() -> None:
    short, long = utterance("on"), replace(utterance("on", room="hallway"), where="m.jsonl:2")
    tokenizer = tiny_tokenizer()  # one token a byte
    assert longest_answer([short, long, short], tokenizer) == (long, len(answer_of(long.frame)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_row_and_the_number_needed_are_named_before_anything_is_trained(
    tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path, split: str
) -> None:
    rows = [json.loads(line) for line in tiny_corpus.read_text().splitlines()]
    place = next(place for place, row in enumerate(rows) if row["split"] == split)
    rows[place]["entities"] = [{"type": "room", "filler": "x" * 60}]
    tiny_corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    needed = len(answer_of(read_manifest(tiny_corpus)[place].frame))
    fault = rf"\.jsonl:{place + 1}: its answer has {needed} tokens, and decode\.max_new_tokens is 80; .*={needed}"
    for action in (runner.run_study, runner.plan_study, runner.train_study):
        path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only"])
        with pytest.raises(UserError, match=fault):
            action(load_recipe(path), path, lambda line: None)
    assert not (tmp_path / "runs/tiny/stages").exists()
    decode = {"batch_size": 4, "max_new_tokens": needed}
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["text_only"], decode=decode)
    assert (study / "cells/text_only/scores.json").exists()


def test_a_study_that_has_results_is_only_warned(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    decode = {"batch_size": 4, "max_new_tokens": 80}
    study = run_tiny_study(tmp_path, tiny_model_dir, tiny_corpus, schemes=["zero_shot"], decode=decode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sottovoce.study.answer_checks.longest_answer", lambda *_: (utterance("on"), 81))
        path = write_recipe(tmp_path, tiny_model_dir, tiny_corpus, schemes=["zero_shot", "text_only"], decode=decode)
        said: list[str] = []
        assert not runner.run_study(load_recipe(path), path, said.append)
    assert [line for line in said if "81 tokens" in line and line.startswith("warning: ")]
    assert (study / "cells/text_only/scores.json").exists()
