import json
import random
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from manifest_rows import row, save_rows

from sottovoce.core.errors import UserError
from sottovoce.data.load import spoken_by_folder
from sottovoce.data.manifest import read_manifest
from sottovoce.speech import synthesis
from sottovoce.speech.synthesis import speak_manifest, trim_silence, write_opus
from sottovoce.speech.training_speech import speak_training
from sottovoce.speech.voices import Voice, draw_voice

LOCALES = ("en-US", "fr-FR")
ROWS = [
    {"id": str(number), "locale": LOCALES[number % 2], "transcript": "é" * (number + 1), "scenario": "s"}
    for number in range(6)
]


class Serial:
    """Stands in for ProcessPoolExecutor, so that a fake engine is used: runs each call when it is submitted."""

    def __init__(self, workers: int) -> None:
        pass

    def __enter__(self) -> "Serial":
        return self

    def __exit__(self, *fault: object) -> None:
        pass

    def shutdown(self, cancel_futures: bool) -> None:
        assert cancel_futures

    def submit(self, action: Any, *arguments: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(action(*arguments))
        return done


@pytest.fixture(autouse=True)
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, float]]:
    """What the fake engine was asked for: text, voice, speed. It gives a tone of 0.1 s a letter."""
    asked: list[tuple[str, str, float]] = []

    def speak(text: str, voice: Voice, locale: str, speed: float) -> Any:
        asked.append((text, voice.speaker, speed))
        return (0.3 * np.sin(np.arange(1600 * len(text)) / 5)).astype(np.float32)

    monkeypatch.setattr(synthesis, "speak", speak)
    monkeypatch.setattr(synthesis, "ProcessPoolExecutor", Serial)
    # as_completed gives finished futures in the order of a set
    monkeypatch.setattr(synthesis, "as_completed", list)
    return asked


def speak_all(out: Path, rows: list[dict[str, Any]], cast: str = "train", seed: int = 0) -> list[int]:
    return list(speak_manifest(rows, out, cast=cast, seed=seed, workers=1))


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]


def voices(cast: str, locale: str) -> set[str]:
    """Every style that a cast speaks with, mixed ones taken apart."""
    rng = random.Random(0)
    drawn = [draw_voice(cast, locale, rng) for _ in range(5000)]
    return {
        f"{voice.engine}:{name}" for voice in drawn for name in voice.name.split("+" if "kok" in voice.engine else ";")
    }


@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_quick_voices_are_all_training_voices_but_those_of_kokoro(locale: str) -> None:
    assert voices("quick", locale) == {voice for voice in voices("many", locale) if "kokoro" not in voice}


def test_every_row_gets_a_clip_and_keeps_its_keys(tmp_path: Path) -> None:
    assert speak_all(tmp_path, ROWS) == [1, 2, 3, 4, 5, 6]
    for given, spoken in zip(ROWS, manifest(tmp_path), strict=True):
        assert {key: spoken[key] for key in given} == given
        header = soundfile.info(tmp_path / spoken["audio"])
        assert (header.samplerate, header.channels, header.subtype) == (16_000, 1, "OPUS")
        assert header.duration == pytest.approx(spoken["seconds"], abs=0.02)
        assert spoken["speaker"].startswith("kokoro:")
    assert not list(tmp_path.rglob("*.part"))


def test_an_interrupted_run_goes_on_and_ends_like_an_uninterrupted_one(
    tmp_path: Path, spoken: list[tuple[str, str, float]]
) -> None:
    speak_all(tmp_path / "whole", ROWS)
    asked = list(spoken)
    stopped: Iterator[int] = speak_manifest(ROWS[:2], tmp_path / "stopped", cast="train", seed=0, workers=1)
    assert list(stopped) == [1, 2]
    assert speak_all(tmp_path / "stopped", ROWS) == [3, 4, 5, 6]
    assert spoken[len(asked) :] == asked  # nothing was spoken twice
    assert manifest(tmp_path / "stopped") == manifest(tmp_path / "whole")
    assert speak_all(tmp_path / "stopped", ROWS) == []


def test_half_a_line_at_the_end_is_spoken_again(tmp_path: Path) -> None:
    speak_all(tmp_path, ROWS)
    whole = manifest(tmp_path)
    path = tmp_path / "manifest.jsonl"
    path.write_text(path.read_text()[:-20])
    assert speak_all(tmp_path, ROWS) == [6]
    assert manifest(tmp_path) == whole


def test_the_same_id_in_two_locales_is_two_rows(tmp_path: Path) -> None:
    speak_all(tmp_path, [{"id": "7", "locale": locale, "transcript": "hey"} for locale in LOCALES])
    assert len({row["audio"] for row in manifest(tmp_path)}) == 2


def test_seed_and_id_decide_voice_and_tempo_whatever_else_is_spoken(
    tmp_path: Path, spoken: list[tuple[str, str, float]]
) -> None:
    speak_all(tmp_path / "a", ROWS)
    speak_all(tmp_path / "b", ROWS[::-1][:3])
    assert spoken[6:] == spoken[5:2:-1]
    speak_all(tmp_path / "c", ROWS, seed=1)
    assert [asked[1:] for asked in spoken[9:]] != [asked[1:] for asked in spoken[:6]]
    assert all(0.88 <= speed <= 1.2 for _, _, speed in spoken)


@pytest.mark.parametrize("locale", LOCALES)
def test_no_voice_of_the_test_cast_is_in_another_cast(locale: str) -> None:
    # In neither language: English voices speak French, too.
    heard = {other: voices(cast, other) for cast in ("test",) for other in LOCALES}
    for cast in ("many", "train", "dev"):
        assert not voices(cast, locale) & (heard["en-US"] | heard["fr-FR"])
    assert len(heard[locale]) >= 6


@pytest.mark.parametrize("locale", LOCALES)
def test_no_voice_of_the_dev_cast_is_trained_on(locale: str) -> None:
    heard = voices("dev", "en-US") | voices("dev", "fr-FR")
    assert not (voices("train", locale) | voices("many", locale)) & heard


def test_silence_is_cut_to_a_margin_on_both_sides() -> None:
    samples = np.zeros(16_000, np.float32)
    samples[6000:8000] = 0.5
    trimmed = trim_silence(samples, margin_seconds=0.1)
    assert len(trimmed) == pytest.approx(2000 + 2 * 1600, abs=1)
    assert np.flatnonzero(trimmed)[0] == 1600


def test_what_is_silent_or_has_no_room_for_a_margin_is_kept() -> None:
    silent, loud = np.zeros(100, np.float32), np.full(100, 0.5, np.float32)
    assert len(trim_silence(silent)) == len(trim_silence(loud)) == 100


def test_a_clip_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *arguments: Any, **options: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(OSError):
        write_opus(tmp_path / "a.ogg", np.zeros(16_000, np.float32))
    assert not (tmp_path / "a.ogg").exists()


def training_rows(tmp_path: Path, **changes: Any) -> Path:
    rows = [row(number, **changes) for number in range(4)] + [row(9, "test")]
    return save_rows(tmp_path, *rows)


def test_training_utterances_are_spoken_with_their_labels(tmp_path: Path, spoken: list[tuple[str, str, float]]) -> None:
    out = tmp_path / "out"
    assert list(speak_training(training_rows(tmp_path), out, ["espeak:de", "flite:slt"], 0, 1)) == [1, 2, 3, 4]
    assert {voice for _, voice, _ in spoken} == {"espeak:de", "flite:slt"}
    heard = read_manifest(out / "manifest.jsonl")
    assert [u.id for u in heard] == [f"train{number}" for number in range(4)]
    found = spoken_by_folder([replace(u, audio=None) for u in heard], out / "audio")
    assert [u.audio for u in found] == [u.audio for u in heard]
    assert found[0].frame == heard[0].frame and found[0].speaker == "synthetic"


def test_training_speech_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for voices, said in ((["siri:anna"], "is not a voice"), (["espeak"], "is not a voice")):
        with pytest.raises(UserError, match=said):
            list(speak_training(training_rows(tmp_path), out, voices, 0, 1))
    with pytest.raises(UserError, match="no default voices for de-DE; name voices"):
        list(speak_training(training_rows(tmp_path, locale="de-DE"), out, [], 0, 1))
    with pytest.raises(UserError, match="cannot name a recording"):
        list(speak_training(save_rows(tmp_path, row(1, id="../x")), out, ["espeak:de"], 0, 1))
    with pytest.raises(UserError, match="no train utterance has a transcript"):
        list(speak_training(save_rows(tmp_path, row(1, "test")), out, [], 0, 1))
