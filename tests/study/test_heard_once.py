"""What a frozen audio part makes of a recording is computed once for all cells, starts and studies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import soundfile
from tiny_study import results_of, run_tiny_study

from sottovoce.core.recipe_file import load_recipe
from sottovoce.core.types import Utterance
from sottovoce.models import audio_states as audio_store
from sottovoce.study.runner import run_study

CELLS: dict[str, Any] = {"schemes": ["direct_mixing", "curriculum"], "budgets": [0.1, 0.3]}
TEST = [f"test-{number}" for number in range(6)]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the states, in a cache that no other test uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/sottovoce/audio-states"


@pytest.fixture
def corpus(tiny_corpus: Path) -> Path:
    """The tiny corpus with recordings that all differ, since equal ones are heard once."""
    for number, path in enumerate(sorted(tiny_corpus.parent.glob("audio/*.wav"))):
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples * (1 - 0.01 * number), rate)
    return tiny_corpus


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each recording went through the audio tower."""
    counts, original = Counter[str](), audio_store._samples_of

    def counting(utterance: Utterance, copy: int) -> Any:
        counts[utterance.id] += 1
        return original(utterance, copy)

    monkeypatch.setattr(audio_store, "_samples_of", counting)
    return counts


def test_cells_and_studies_hear_a_recording_once_and_come_to_the_same(
    tiny_model_dir: Path, corpus: Path, tmp_path: Path, kept: Path, heard: Counter[str]
) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    first = run_tiny_study(tmp_path / "a", tiny_model_dir, corpus, **CELLS)
    trained = [identity for identity in heard if identity.startswith("train")]
    assert len(trained) == 5 and all(heard[identity] == 1 for identity in trained)
    assert heard == Counter(trained) + Counter(TEST)
    assert len(list(kept.iterdir())) == 1
    heard.clear()
    second = run_tiny_study(tmp_path / "b", tiny_model_dir, corpus, **CELLS)
    assert not heard
    assert results_of(first) == results_of(second) and len(results_of(first)) == 4 * 4


def test_a_study_that_is_started_again_hears_nothing_again(
    tiny_model_dir: Path, corpus: Path, tmp_path: Path, kept: Path, heard: Counter[str]
) -> None:
    study = run_tiny_study(tmp_path, tiny_model_dir, corpus, **CELLS)
    before = results_of(study)
    for path in study.glob("cells/*/scores.json"):
        path.unlink()
    for path in study.glob("cells/curriculum-*/predictions-speech.jsonl"):
        path.unlink()
    heard.clear()
    recipe = load_recipe(tmp_path / "tiny.yaml")
    assert not run_study(recipe, tmp_path / "tiny.yaml", lambda line: None)
    assert not heard
    assert results_of(study) == before


def test_of_an_audio_part_that_is_trained_nothing_is_kept(
    tiny_model_dir: Path, corpus: Path, tmp_path: Path, kept: Path
) -> None:
    stage = {"num_train_epochs": 1, "learning_rate": 1e-3}
    train = {"audio_tower": "full", "language_model": "lora", "stage": stage, "per_device_train_batch_size": 4}
    changes: dict[str, Any] = {"schemes": ["direct_mixing"], "budgets": [0.1], "train": train}
    run_tiny_study(tmp_path, tiny_model_dir, corpus, **changes)
    assert not kept.exists()
