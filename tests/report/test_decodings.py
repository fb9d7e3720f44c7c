"""A run decoded once more with another grammar, and answers of a run whose recipe asks for the ontology."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from tiny_study import RUN, copy_of_run, results_of

from sottovoce.cli import main as cli
from sottovoce.core.errors import UserError
from sottovoce.core.recipe_file import load_recipe
from sottovoce.export.export import export_run
from sottovoce.inference.model import load_model_of
from sottovoce.report.decodings import decodings_table
from sottovoce.score.files import read_predictions
from sottovoce.study import runner as running
from sottovoce.study.workspace import deciding_settings


@pytest.fixture
def run(tiny_study: Path, tmp_path: Path) -> Path:
    return copy_of_run(tiny_study, tmp_path)


def asking_for_the_ontology(run: Path) -> Path:
    """The run, with a recipe that has always asked for it."""
    recipe = run.parent.parent / "recipe.yaml"
    content = yaml.safe_load(recipe.read_text())
    content["decode"] |= {"grammar": "ontology", "max_new_tokens": 150}
    recipe.write_text(yaml.safe_dump(content))
    return run


def test_a_study_keeps_the_grammar_of_its_training_labels(tiny_study: Path) -> None:
    text = (tiny_study / "ontology.lark").read_text()
    assert all(label in text for label in ("light", "music", "play", "room")) and "attic" not in text


def test_settings_without_a_grammar_decide_what_they_did_before_there_were_grammars(tiny_study: Path) -> None:
    path = tiny_study / "recipe.yaml"
    assert set(deciding_settings(load_recipe(path))["decode"]) == {"batch_size", "max_new_tokens"}
    assert deciding_settings(load_recipe(path, ["decode.grammar=ontology"]))["decode"]["grammar"] == "ontology"
    assert load_recipe(path, ["decode.grammar=none"]) == load_recipe(path)
    with pytest.raises(UserError, match=r"decode\.grammar"):
        load_recipe(path, ["decode.grammar=json"])


def test_another_grammars_answers_and_scores_stand_beside_the_recipes(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = run.parent.parent
    before, card = results_of(study, (RUN,)), (run / "cell.json").read_bytes()
    monkeypatch.setattr(sys, "argv", ["sottovoce", "decode", str(run), "--grammar", "ontology"])
    cli.main()
    printed = capsys.readouterr().out
    files = [run / f"predictions-{heard}-ontology.jsonl" for heard in ("speech", "text")]
    assert printed.startswith("".join(f"{path}\n" for path in files)) and "│ ontology" in printed
    assert {path.name for path in run.glob("scores*")} == {"scores.json", "scores-ontology.json"}
    after = results_of(study, (RUN,))
    assert before.items() <= after.items() and (run / "cell.json").read_bytes() == card
    for path in files:
        rows = list(read_predictions(path))
        assert len(rows) == 6 and all((row.text or "").startswith('{"scenario"') for row in rows)
    table = decodings_table(run)
    assert [row[:2] for row in table[1:]] == [
        ["none", "speech"], ["none", "text"], ["ontology", "speech"], ["ontology", "text"],
    ]  # fmt: skip
    unreadable = json.loads((run / "scores-ontology.json").read_text())["speech"]["strict"]["num_unreadable"]
    assert table[3][-1] == str(unreadable)


def test_the_recipes_own_grammar_named_is_the_recipes_decoding(run: Path) -> None:
    files = running.decode_run(run, lambda line: None, "none")
    assert [path.name for path in files] == ["predictions-speech.jsonl", "predictions-text.jsonl"]
    assert len(decodings_table(run)) == 3


def test_a_recording_is_answered_within_the_ontology_if_recipe_or_user_say_so(run: Path, tmp_path: Path) -> None:
    wave = 0.3 * np.sin(2 * np.pi * 600 * np.arange(9_600) / 16_000)
    soundfile.write(tmp_path / "clip.wav", wave, 16_000)
    asked_for = load_model_of(run, grammar="ontology").understand(tmp_path / "clip.wav").as_json()
    answer = load_model_of(asking_for_the_ontology(run)).understand(tmp_path / "clip.wav").as_json()
    assert asked_for["text"].startswith('{"scenario"')
    assert answer["text"].startswith(asked_for["text"])  # it may be longer
    assert answer["text"].startswith('{"scenario": "')
    if answer["status"] == "ok":
        assert (answer["scenario"], answer["action"]) in {("light", "on"), ("light", "off"), ("music", "play")}


def test_an_export_brings_the_grammar_that_its_scores_need(run: Path, tmp_path: Path) -> None:
    out = export_run(asking_for_the_ontology(run), tmp_path / "model", verify=False, say=lambda line: None)
    assert (out / "ontology.lark").read_text() == (run.parent.parent / "ontology.lark").read_text()
    assert "restricted by the grammar in `ontology.lark`" in (out / "README.md").read_text(encoding="utf-8")
