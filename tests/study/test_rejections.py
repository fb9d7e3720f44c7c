"""A study whose corpus has rows without an intent, from manifest to scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from spoken_rows import tone
from tiny_study import run_tiny_study

from sottovoce.core.recipe import Recipe
from sottovoce.core.recipe_file import load_recipe
from sottovoce.data.load import load_data
from sottovoce.inference.model import load_model_of
from sottovoce.score.files import read_predictions
from sottovoce.study.cells import plan_cells


def with_rejections(corpus: Path) -> Path:
    """Adds rows to train and test: a hum and silence without speech, and sentences out of scope."""
    clips = {"hum": tone(0.5, 60.0), "still": np.zeros(8_000, np.float32)}
    for name, samples in clips.items():
        soundfile.write(corpus.parent / f"audio/{name}.wav", samples, 16_000)
    common = {"locale": "en-US", "audio": "audio/hum.wav"}
    rows: list[dict[str, Any]] = []
    for split in ("train", "test"):
        rows += [
            common | {"id": f"{split}-hum", "split": split, "transcript": "", "intent": "no_speech"},
            common | {"id": f"{split}-other", "split": split, "transcript": "nice day", "intent": "out_of_scope"},
        ]
    rows.append(common | {"id": "test-still", "split": "test", "transcript": "", "intent": "no_speech"})
    rows[-1]["audio"] = "audio/still.wav"
    with corpus.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return corpus


def test_rejections_are_trained_answered_and_scored(tiny_model_dir: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    decode = {"batch_size": 4, "max_new_tokens": 80, "grammar": "ontology", "confidence": True}
    settings: dict[str, Any] = {"schemes": ["direct_mixing"], "budgets": ["all"], "decode": decode}
    study = run_tiny_study(tmp_path, tiny_model_dir, with_rejections(tiny_corpus), **settings)
    recipe = load_recipe(tmp_path / "tiny.yaml")
    data = load_data(recipe)
    (cell,) = plan_cells(recipe, data)
    examples = [(e.utterance.id, e.modality, e.answer) for stage in cell.examples(data) for e in stage]
    silent = '{"scenario": "no_speech", "action": "", "entities": []}'
    other = silent.replace("no_speech", "out_of_scope")
    assert ("train-hum", "speech", silent) in examples and ("train-hum", "text", silent) not in examples
    assert ("train-other", "speech", other) in examples and ("train-other", "text", other) in examples
    run = study / "cells/direct_mixing-all"
    for modality in ("speech", "text"):
        rows = {row.key: row for row in read_predictions(run / f"predictions-{modality}.jsonl")}
        assert rows["test-still"].status == "no_speech" and rows["test-still"].confidence is None
        assert all(row.confidence is not None for name, row in rows.items() if row.status != "no_speech" or row.text)
        strict = json.loads((run / "scores.json").read_text())[modality]["strict"]
        accepted = sum(not rows[f"test-{name}"].frame.is_rejection for name in ("hum", "other", "still"))
        assert strict["false_accept_rate"] == accepted / 3
        assert strict["num_scored"] == 9
    gold = {row["id"]: row.get("intent") for row in map(json.loads, (study / "gold.jsonl").read_text().splitlines())}
    assert (gold["test-hum"], gold["test-other"], gold["test-0"]) == ("no_speech", "out_of_scope", None)
    likely = {each.intent for each in load_model_of(run).understand(tone(0.5)).intents}
    assert likely <= {"light_on", "light_off", "music_play", "no_speech", "out_of_scope"}


def test_dev_is_text_if_only_rows_without_an_intent_are_recorded(tiny_corpus: Path) -> None:
    rows = [json.loads(line) for line in with_rejections(tiny_corpus).read_text().splitlines()]
    dev = [row | {"id": f"dev-{row['id']}", "split": "dev"} for row in rows if row["split"] == "test"]
    texts = [{key: row[key] for key in row if "intent" in row or key != "audio"} for row in dev]
    settings = {"corpus": {"manifest": tiny_corpus}, "model": "m", "name": "n", "train": {"eval_strategy": "epoch"}}
    for added, audio in ((dev, True), (texts, False)):
        tiny_corpus.write_text("".join(json.dumps(row) + "\n" for row in rows + added))
        found = load_data(Recipe.model_validate(settings)).dev
        assert {each.audio is not None for each in found} == {audio}
        assert [each.id for each in found] == [row["id"] for row in added if audio or row["transcript"]]
