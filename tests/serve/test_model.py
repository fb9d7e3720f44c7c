"""A run's model from Python: files, samples and typed text, one by one and together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sottovoce
from sottovoce.data.audio import SAMPLING_RATE, Samples, load_audio
from sottovoce.errors import UserError
from sottovoce.evaluate.grammar import intents_of
from sottovoce.serve.model import Model, load_model_of


def tone(seconds: float, pitch: float = 600.0) -> Samples:
    times = np.arange(round(SAMPLING_RATE * seconds)) / SAMPLING_RATE
    return (0.3 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)


@pytest.fixture(scope="module")
def run(tiny_study: Path) -> Path:
    return tiny_study / "cells/curriculum-30pct"


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return sottovoce.load(run)


def test_a_file_and_its_samples_are_understood_alike(model: Model, tmp_path: Path) -> None:
    stereo = np.stack([tone(0.6), tone(0.6, 300)], axis=1)
    soundfile.write(tmp_path / "clip.flac", stereo, SAMPLING_RATE)
    of_file = model.understand(tmp_path / "clip.flac")
    assert of_file == model.understand(str(tmp_path / "clip.flac"))
    assert of_file == model.understand(load_audio(tmp_path / "clip.flac"))
    assert of_file.raw and of_file.status in ("ok", "unreadable")
    assert of_file.seconds == pytest.approx(0.6) and not of_file.cut


def test_recordings_and_texts_are_understood_together_as_alone(model: Model) -> None:
    inputs = [tone(0.6), "turn the light on", tone(1.1, 300), "stop", "stop"]
    together = model.understand_all(inputs)
    alone = [model.understand_all([each])[0] for each in inputs]
    assert [each.raw for each in together] == [each.raw for each in alone]
    assert [each.seconds for each in together] == [pytest.approx(0.6), None, pytest.approx(1.1), None, None]
    assert together[3] == together[4] == model.understand_text("stop")
    assert model.understand_all([]) == []


def test_every_known_intent_has_a_share_of_certainty(model: Model, tiny_study: Path) -> None:
    known = {f"{a}_{b}" for a, b in intents_of((tiny_study / "ontology.lark").read_text(encoding="utf-8"))}
    found = model.understand_text("turn the light on")
    shares = [each.probability for each in found.intents]
    assert {each.intent for each in found.intents} <= known and len(shares) == min(5, len(known))
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1 + 1e-6
    assert found.confidence is not None and 0 <= found.confidence <= 1
    assert found.as_json()["intents"][0] == {"intent": found.intents[0].intent, "probability": shares[0]}


def test_a_recording_longer_than_the_window_is_cut_and_says_so(model: Model) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000 * 5).astype(np.float32)
    long, window = model.understand(samples), model.understand(samples[: round(model.window_seconds * SAMPLING_RATE)])
    assert long.raw == window.raw
    assert (long.cut, window.cut) == (True, False)


def test_what_is_missing_is_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such recording: .*nowhere\.wav"):
        model.understand(tmp_path / "nowhere.wav")
    with pytest.raises(UserError, match="is no run folder"):
        load_model_of(tmp_path)


def test_a_placeholder_in_a_text_is_refused(model: Model) -> None:
    with pytest.raises(UserError, match="placeholder"):
        model.understand_text(f"a {model.loaded.processor.audio_token} b")


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, sottovoce; sottovoce.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
