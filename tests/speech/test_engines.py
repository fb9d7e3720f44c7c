import shutil

import numpy as np
import pytest

from sottovoce.core.errors import UserError
from sottovoce.speech import engines
from sottovoce.speech.engines import kokoro_phonemes, speak
from sottovoce.speech.voices import Voice

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


@needs_espeak
@pytest.mark.parametrize(
    ("text", "locale", "phonemes"),
    [
        ("time", "en-US", "tˈIm"),
        ("play", "en-US", "plˈA"),
        ("judge", "en-US", "ʤˈʌʤ"),
        ("church", "en-US", "ʧˈɜɹʧ"),
        ("house", "en-US", "hˈWs"),
        ("boy", "en-US", "bˈY"),
        ("home", "en-US", "hˈOm"),
        ("bonjour", "fr-FR", "bɔ̃ʒˈuʁ"),
    ],
)
def test_phonemes_are_written_in_the_symbols_of_kokoro(text: str, locale: str, phonemes: str) -> None:
    assert kokoro_phonemes(text, locale, british=False) == phonemes


@needs_espeak
@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_no_symbol_is_left_that_kokoro_was_not_trained_on(locale: str) -> None:
    text = {"en-US": "Turn the bird's orchestra up, then weekend; check in at four", "fr-FR": "Quel week-end à Nice ?"}
    phonemes = kokoro_phonemes(text[locale], locale, british=False)
    assert not set(phonemes) & set("ː_()\n\u0361\u200d")


@needs_espeak
def test_british_voices_speak_british_phonemes() -> None:
    assert kokoro_phonemes("bath", "en-US", british=True) != kokoro_phonemes("bath", "en-US", british=False)


@needs_espeak
@pytest.mark.parametrize(("name", "locale"), [("en-us+f2", "en-US"), ("fr-fr", "fr-FR")])
def test_espeak_gives_16_khz_speech_that_is_shorter_at_a_higher_speed(name: str, locale: str) -> None:
    slow, fast = (speak("un deux three", Voice("espeak", name), locale, speed) for speed in (0.9, 1.2))
    assert slow.dtype == np.float32 and slow.ndim == 1
    assert 0.1 < np.abs(slow).max() <= 1
    assert 5000 < len(fast) < len(slow) < 5 * 16_000


@needs_flite
def test_flite_gives_16_khz_speech_that_is_shorter_at_a_higher_speed() -> None:
    slow, fast = (speak("one two three", Voice("flite", "slt"), "en-US", speed) for speed in (0.9, 1.2))
    assert np.abs(slow).max() > 0.1
    assert 5000 < len(fast) < len(slow) < 5 * 16_000


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="espeak-ng is not installed; install it"):
        kokoro_phonemes("hello", "en-US", british=False)
