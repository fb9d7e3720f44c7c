"""What holds no words is never given an intent: no model is asked, the row says so, and the scores count it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.progress import Progress
from spoken_rows import tone, utterance

from sottovoce.core.recipe import Decode
from sottovoce.core.types import Example, Labels
from sottovoce.data.manifest import write_manifest
from sottovoce.data.prompts import slu_example
from sottovoce.decode import batches
from sottovoce.decode.constraints import ANY_TEXT
from sottovoce.models.audio_states import AudioStore
from sottovoce.models.load import LoadedModel
from sottovoce.score.evaluate import score
from sottovoce.score.files import read_gold, read_predictions
from sottovoce.study.runs import write_answers


@pytest.fixture
def spoken(tmp_path: Path) -> list[Example]:
    """A silent recording, one that hisses far below speech, and a tone."""
    hiss = np.random.default_rng(0).normal(0, 3e-4, 16_000)
    clips = {"still": np.zeros(8_000), "hiss": hiss, "tone": tone(0.5)}
    examples = []
    for name, samples in clips.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
        said = replace(utterance("light on", name), audio=tmp_path / f"{name}.wav", split="test")
        examples.append(slu_example(said, "speech"))
    return examples


def written(loaded: LoadedModel, examples: list[Example], target: Path) -> dict[str, str]:
    """The statuses of the rows that are written, by id."""
    store, known = AudioStore(loaded), Labels((("light", "on"),), ("room",))
    with Progress(disable=True) as progress:
        store.encode([(example.utterance, 0) for example in examples if example.modality == "speech"], progress)
        settings = Decode(batch_size=2, max_new_tokens=4)
        write_answers(target, loaded, loaded.model, examples, store, settings, progress, "test", ANY_TEXT, known)
    return {row.key: row.status for row in read_predictions(target)}


def test_silent_recordings_and_empty_transcripts_are_not_asked_about(
    loaded: LoadedModel, tmp_path: Path, spoken: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    kept = batches.answered

    def counted(loaded: Any, model: Any, rows: list[Any], *rest: Any) -> Any:
        nonlocal asked
        asked += len(rows)
        return kept(loaded, model, rows, *rest)

    monkeypatch.setattr(batches, "answered", counted)
    texts = [slu_example(utterance(text, f"text{text}"), "text") for text in ("", " ", "on")]
    found = written(loaded, spoken + texts, tmp_path / "rows.jsonl")
    silent = {name for name, status in found.items() if status == "no_speech"}
    assert list(found) == ["still", "hiss", "tone", "text", "text ", "texton"]
    assert silent == {"still", "hiss", "text", "text "} and asked == 2


def test_they_are_counted_and_wrong(loaded: LoadedModel, tmp_path: Path, spoken: list[Example]) -> None:
    written(loaded, spoken, tmp_path / "rows.jsonl")
    write_manifest([example.utterance for example in spoken], tmp_path / "gold.jsonl")
    scores = score(read_gold(tmp_path / "gold.jsonl"), read_predictions(tmp_path / "rows.jsonl"))
    assert scores["strict"]["num_no_speech"] == scores["official"]["num_no_speech"] == 2
    assert scores["strict"]["intent_accuracy"] == 0 and scores["strict"]["num_scored"] == 3
