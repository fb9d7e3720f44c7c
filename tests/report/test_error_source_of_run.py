from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_recogniser import save_tiny_recogniser

from sottovoce.core.errors import UserError
from sottovoce.data.manifest import read_manifest
from sottovoce.decode import transcribe as asr
from sottovoce.decode.transcribe import transcribe
from sottovoce.report.error_source import measure_gap


def silent(line: str) -> None:
    """Takes what is said to the user."""


@pytest.fixture
def run(tiny_study: Path, tmp_path: Path) -> Path:
    """A run in a copy of the study, since measuring adds files."""
    shutil.copytree(tiny_study, tmp_path / "tiny")
    gold = tmp_path / "tiny/gold.jsonl"
    rows = [json.loads(line) for line in gold.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["audio"] = str((tiny_study / row["audio"]).resolve())
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "tiny/cells/curriculum-30pct"


def test_the_run_s_own_model_writes_the_transcripts_once_for_all_runs(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure_gap(run, None, silent)
    assert first["num_items"] == 6
    assert (
        first["inputs"]["text"]["intent_accuracy"]
        == json.loads((run / "scores.json").read_text())["text"]["strict"]["intent_accuracy"]
    )
    assert first["word_error_rate"] > 0
    (kept,) = run.parent.parent.glob("transcripts-*.jsonl")
    assert [json.loads(line)["id"] for line in kept.read_text().splitlines()] == [f"test-{n}" for n in range(6)]
    (cascade,) = run.glob("predictions-cascade-*.jsonl")
    assert len(cascade.read_text(encoding="utf-8").splitlines()) == 6

    def forbidden(*arguments: Any) -> Any:
        raise AssertionError("transcribed or decoded again")

    monkeypatch.setattr("sottovoce.study.transcripts.transcribe", forbidden)
    monkeypatch.setattr("sottovoce.report.error_source.load_run", forbidden)
    assert measure_gap(run, None, silent) == first
    monkeypatch.undo()
    monkeypatch.setattr("sottovoce.study.transcripts.transcribe", forbidden)
    assert measure_gap(run.parent / "text_only", None, silent)["num_items"] == 6


def test_perfect_transcripts_make_the_cascade_answer_as_from_gold_text(run: Path) -> None:
    gold = run.parent.parent / "gold.jsonl"
    measure_gap(run, None, silent)
    (kept,) = run.parent.parent.glob("transcripts-*.jsonl")
    right = [{"id": u.id, "text": u.transcript} for u in read_manifest(gold, allow_outside=True)]
    kept.write_text("".join(json.dumps(row) + "\n" for row in right), encoding="utf-8")
    next(iter(run.glob("predictions-cascade-*.jsonl"))).unlink()
    found = measure_gap(run, None, silent)
    assert found["word_error_rate"] == 0
    assert found["inputs"]["cascade"] == found["inputs"]["text"]
    assert all(loss["difference"] == 0 for loss in found["losses"]["hearing"].values())


def test_any_recogniser_of_transformers_can_be_named(run: Path, tmp_path: Path) -> None:
    found = measure_gap(run, str(save_tiny_recogniser(tmp_path / "ctc")), silent)
    (kept,) = run.parent.parent.glob("transcripts-ctc-*.jsonl")
    letters = {letter for line in kept.read_text().splitlines() for letter in json.loads(line)["text"]}
    assert letters <= set("ab ") and letters
    assert found["word_error_rate"] > 0


def test_a_stopped_transcription_goes_on(tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asr, "BATCH_CLIPS", 2)
    utterances = [u for u in read_manifest(tiny_corpus) if u.audio is not None][:5]
    model = str(save_tiny_recogniser(tmp_path / "ctc"))
    whole = transcribe(utterances, model, tmp_path / "whole", silent)
    lines = (tmp_path / "whole").read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 5
    (tmp_path / "half").write_text("".join(lines[:2]) + lines[2][:9], encoding="utf-8")
    assert transcribe(utterances, model, tmp_path / "half", silent) == whole


def test_what_cannot_be_measured_is_one_clear_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        measure_gap(tmp_path, None, silent)
    with pytest.raises(UserError, match=r"cannot load .*nowhere.* for speech recognition"):
        measure_gap(run, str(tmp_path / "nowhere"), silent)
    (run / "predictions-speech.jsonl").unlink()
    with pytest.raises(UserError, match="is not decoded yet; run `sottovoce decode"):
        measure_gap(run, None, silent)
