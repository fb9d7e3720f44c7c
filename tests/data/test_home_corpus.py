"""The built-in corpus as it is shipped."""

from importlib import resources
from pathlib import Path

import pytest

from sottovoce.check.manifest import check_manifest
from sottovoce.core.types import Split, Utterance
from sottovoce.data.audio import audio_header, load_audio
from sottovoce.data.manifest import read_manifest
from sottovoce.speech.voices import ESPEAK_EN, ESPEAK_FR, FLITE, KOKORO_ROMANCE, KOKORO_TRAIN

ASSETS = Path(str(resources.files("sottovoce") / "assets" / "home"))
LOCALES = ("en-US", "fr-FR")
MAX_BYTES = 15_000_000
ALIGN_CAST = {
    *(f"kokoro:{name}" for name in KOKORO_TRAIN + KOKORO_ROMANCE),
    *(f"flite:{name}" for name in FLITE),
    *(f"espeak:{name}" for name in ESPEAK_EN + ESPEAK_FR),
    "piper:joe",
}


@pytest.fixture(scope="module", params=LOCALES)
def corpus(request: pytest.FixtureRequest) -> list[Utterance]:
    path = ASSETS / f"{request.param}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not made yet: sottovoce embedded speak-home {ASSETS} {request.param}")
    return read_manifest(path)


def of(corpus: list[Utterance], split: Split) -> list[Utterance]:
    return [utterance for utterance in corpus if utterance.split == split]


def speakers(corpus: list[Utterance], split: Split) -> set[str]:
    return {utterance.speaker or "" for utterance in of(corpus, split) if utterance.audio}


def test_it_is_large_enough_in_every_split(corpus: list[Utterance]) -> None:
    for split, size in (("train", 1500), ("dev", 200), ("test", 300)):
        assert len(of(corpus, split)) >= size


def test_all_of_dev_and_test_and_a_quarter_of_train_are_spoken(corpus: list[Utterance]) -> None:
    assert all(utterance.audio for utterance in of(corpus, "dev") + of(corpus, "test"))
    train = of(corpus, "train")
    assert sum(utterance.audio is not None for utterance in train) >= 0.25 * len(train)


def test_every_intent_of_train_has_speech(corpus: list[Utterance]) -> None:
    train = of(corpus, "train")
    assert {u.frame.intent for u in train} == {u.frame.intent for u in train if u.audio}


def test_the_voices_of_test_are_heard_nowhere_else(corpus: list[Utterance]) -> None:
    heard = speakers(corpus, "test")
    assert len(heard) >= 6 and "" not in heard
    assert not heard & (speakers(corpus, "train") | speakers(corpus, "dev") | ALIGN_CAST)


def test_the_voices_of_dev_are_not_those_of_train(corpus: list[Utterance]) -> None:
    assert not speakers(corpus, "dev") & speakers(corpus, "train")


def test_every_recording_is_there_and_fits_the_window(corpus: list[Utterance]) -> None:
    for utterance in corpus:
        if utterance.audio:
            assert utterance.seconds == pytest.approx(audio_header(utterance.audio).seconds, abs=0.05), utterance.audio
            assert 0.3 < utterance.seconds < 8, utterance.audio


def test_recordings_hold_speech_and_not_silence(corpus: list[Utterance]) -> None:
    for utterance in [utterance for utterance in corpus if utterance.audio][::40]:
        assert utterance.audio and abs(load_audio(utterance.audio)).max() > 0.05


def test_no_test_sentence_is_trained_on(corpus: list[Utterance]) -> None:
    train = {utterance.transcript.lower() for utterance in of(corpus, "train")}
    assert not {utterance.transcript.lower() for utterance in of(corpus, "dev") + of(corpus, "test")} & train


@pytest.mark.parametrize("locale", LOCALES)
def test_the_check_finds_no_fault(locale: str) -> None:
    path = ASSETS / f"{locale}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not made yet")
    assert check_manifest(path, window_seconds=8).faults == []


def test_it_is_small_enough_to_ship() -> None:
    shipped = [path for locale in LOCALES for path in (ASSETS / "audio" / locale).glob("*")]
    if not shipped:
        pytest.skip(f"no recordings in {ASSETS / 'audio'} yet")
    assert sum(path.stat().st_size for path in [*shipped, *ASSETS.glob("*.jsonl")]) < MAX_BYTES
