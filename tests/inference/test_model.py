"""A run's model from Python: files, samples and typed text, one by one and together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_whisper_lm import save_tiny_whisper_lm

import sottovoce
from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Decode
from sottovoce.core.types import Labels
from sottovoce.data.audio import SAMPLING_RATE, Samples, load_audio
from sottovoce.data.prompts import SLU_INSTRUCTION
from sottovoce.decode.constraints import JsonObject
from sottovoce.decode.intent_confidence import IntentTree
from sottovoce.decode.ontology import labels_of
from sottovoce.inference.model import Model, load_model_of
from sottovoce.inference.transcriber import Transcriber
from sottovoce.models.load import load_model


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
    known = {f"{a}_{b}" for a, b in labels_of((tiny_study / "ontology.lark").read_text("utf-8")).intents}
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
    with pytest.raises(UserError, match="is not a run folder"):
        load_model_of(tmp_path)


def test_a_placeholder_in_a_text_is_refused(model: Model) -> None:
    with pytest.raises(UserError, match="control token"):
        model.understand_text(f"a {model.loaded.processor.audio_token} b")


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, sottovoce; sottovoce.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- a model that hears words


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("whisper_lm")
    save_tiny_whisper_lm(folder)
    loaded = load_model(str(folder), bf16=False)
    tokenizer, known = loaded.processor.tokenizer, Labels((("light", "off"), ("light", "on")), ("room",))
    settings = Decode(batch_size=4, max_new_tokens=8)
    tree = IntentTree(known.intents, tokenizer)
    return Model(loaded, loaded.model, JsonObject(tokenizer), SLU_INSTRUCTION, tree, known, "en-US", settings)


def test_what_was_heard_stands_beside_the_frame(hearing: Model) -> None:
    spoken, typed = hearing.understand_all([tone(0.6), "turn the light on"])
    assert spoken.transcript and typed.transcript == "turn the light on"
    assert spoken.as_json()["transcript"] == spoken.transcript
    assert hearing.understand_text(spoken.transcript).raw == spoken.raw  # it is read as that text
    assert Transcriber(hearing.loaded, "en-US").transcribe_all([tone(0.6)]) == [spoken.transcript]


def test_where_no_words_are_heard_nothing_is_answered(hearing: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, whole = hearing.loaded.model.model, hearing.understand_all([tone(0.6), "stop"])
    hear = inner.hear

    def first_is_silent(**inputs: Any) -> list[list[int]]:
        return [[], *hear(**inputs)[1:]]

    monkeypatch.setattr(inner, "hear", first_is_silent)
    silent, spoken, typed = hearing.understand_all([tone(0.5), tone(0.6), "stop"])
    assert (silent.status, silent.frame, silent.transcript, silent.raw) == ("no_speech", None, "", "")
    assert silent.as_json()["intent"] == "" and silent.seconds == pytest.approx(0.5)
    assert [spoken.raw, typed.raw] == [each.raw for each in whole]
    assert hearing.understand(tone(0.5)).status == "no_speech"


def test_a_silent_recording_is_never_an_intent(model: Model, hearing: Model) -> None:
    still = np.zeros(8_000, np.float32)
    for each in (model, hearing):
        silent, spoken = each.understand_all([still, tone(0.6)])
        assert (silent.status, silent.frame, silent.confidence, silent.raw) == ("no_speech", None, None, "")
        assert silent.transcript == ("" if each.hears_words else None)
        assert spoken.raw == each.understand(tone(0.6)).raw and spoken.status != "no_speech"


def test_other_models_cannot_tell_what_they_heard(model: Model, hearing: Model) -> None:
    assert hearing.hears_words and not model.hears_words
    assert model.understand(tone(0.6)).transcript is None
