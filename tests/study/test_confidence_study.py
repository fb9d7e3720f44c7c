"""A study whose answers come with confidences, from the start or afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_study import copy_of_run, results_of, run_tiny_study

from sottovoce.cli import main as cli
from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.core.types import MODALITIES
from sottovoce.decode import batches as decoding
from sottovoce.inference.model import load_model_of
from sottovoce.study import cell as cell_run
from sottovoce.study.runner import decode_run


@pytest.fixture
def run(tiny_study: Path, tmp_path: Path) -> Path:
    return copy_of_run(tiny_study, tmp_path)


def rows_of(run: Path) -> list[dict[str, Any]]:
    paths = [run / f"predictions-{modality}.jsonl" for modality in MODALITIES]
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def decode(run: Path) -> None:
    decode_run(run, lambda line: None, confidence=True)


def no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a family that cannot be read by steps."""
    for where in ("study.cell", "decode.batches", "inference.model"):
        monkeypatch.setattr(f"sottovoce.{where}.supports_steps", lambda *_: False)


def test_confidences_are_added_to_answers_that_stay_as_they_were(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, card, scores = rows_of(run), (run / "cell.json").read_bytes(), (run / "scores.json").read_bytes()
    assert json.loads(card)["seconds"] is not None and not any("confidence" in row for row in before)
    decode(run)
    after = rows_of(run)
    assert all(0 <= row["confidence"] <= 1 for row in after)
    assert [{key: value for key, value in row.items() if key != "confidence"} for row in after] == before
    assert ((run / "cell.json").read_bytes(), (run / "scores.json").read_bytes()) == (card, scores)
    monkeypatch.setattr(cell_run, "write_answers", lambda *_: pytest.fail("decoded again"))
    decode(run)
    assert rows_of(run) == after and not list(run.glob("*.partial"))


def test_measuring_that_was_stopped_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, sizes = decoding.answered, list[int]()

    def noted(loaded: Any, model: Any, rows: list[Any], *rest: Any) -> Any:
        if len(sizes) == 1:
            raise KeyboardInterrupt
        sizes.append(len(rows))
        return kept(loaded, model, rows, *rest)

    before = rows_of(run)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(decoding, "answered", noted)
        decode(run)
    (partial,) = run.glob("*.sure.partial")
    told = [json.loads(line) for line in partial.read_text(encoding="utf-8").splitlines()]
    assert len(told) == 4 and all(0 <= row["confidence"] <= 1 for row in told)
    assert rows_of(run) == before  # what was there is there until all is measured
    sizes = [0, 0]  # from here on nothing is raised
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "answered", noted)
        decode(run)
    assert sizes[2:] == [2, 4, 2]  # what was left of the one input, and the other
    anew = [row["confidence"] for row in rows_of(run)]
    for path in run.glob("predictions-*"):
        path.unlink()
    decode(run)
    assert [row["confidence"] for row in rows_of(run)] == anew


def test_a_recipe_that_asks_for_confidences_gets_them_and_the_same_answers(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    decode = {"batch_size": 4, "max_new_tokens": 80, "confidence": True}
    study = run_tiny_study(tmp_path, tiny_model_dir, corpus, schemes=["text_only"], decode=decode)
    rows = rows_of(study / "cells/text_only")
    assert all(0 <= row.pop("confidence") <= 1 for row in rows)
    assert rows == rows_of(tiny_study / "cells/text_only")


def test_where_a_model_cannot_tell_the_recipe_is_answered_by_a_line(
    tiny_study: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_steps(monkeypatch)
    corpus = Path(load_recipe(tiny_study / "recipe.yaml").corpus.manifest or "")
    decode = {"batch_size": 4, "max_new_tokens": 80, "confidence": True}
    study = run_tiny_study(tmp_path, tiny_model_dir, corpus, schemes=["text_only"], decode=decode)
    told = f"text_only: no confidences, since {tiny_model_dir} cannot give them"
    assert told in (study / "cells/text_only/log.txt").read_text(encoding="utf-8")
    assert not any("confidence" in row for row in rows_of(study / "cells/text_only"))


def test_where_a_model_cannot_tell_who_asks_for_it_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_steps(monkeypatch)
    before = results_of(run.parent.parent)
    with pytest.raises(UserError, match="cannot give a confidence; leave --confidence out"):
        decode(run)
    assert results_of(run.parent.parent) == before
    monkeypatch.setattr(sys, "argv", ["sottovoce", "predict", str(run), "--text", "stop", "--abstain-below", "0.5"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    printed, told = capsys.readouterr(), "this run's model gives no confidences; omit --abstain-below"
    assert not printed.out and f"error: {told}" in printed.err
    assert load_model_of(run).understand_text("stop").confidence is None
