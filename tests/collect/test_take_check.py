import numpy as np
import pytest
from made_speech import RATE, Sound, made_speech, wav_bytes

from sottovoce.collect.take_check import TakeCheck, check_take
from sottovoce.data.audio import audio_level, frame_levels_db, load_audio
from sottovoce.data.corpora.home import home_manifest
from sottovoce.data.manifest import read_manifest

FIVE = "turn the kitchen light on"


def checked(samples: Sound, transcript: str = FIVE, rate: int = RATE) -> TakeCheck:
    content = wav_bytes(samples, rate)
    return check_take(load_audio(content), audio_level(content), transcript, window_seconds=8.0)


def codes(check: TakeCheck) -> tuple[list[str], list[str]]:
    return [each.code for each in check.refusals], [each.code for each in check.notes]


def silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * RATE), np.float32)


def noise(seconds: float, loud: float) -> Sound:
    return np.random.default_rng(1).normal(0, loud, round(seconds * RATE)).astype(np.float32)


def hum(seconds: float) -> Sound:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * 50 * time) + 0.1 * np.sin(2 * np.pi * 150 * time)).astype(np.float32)


def struck(samples: Sound) -> Sound:
    """A key is struck in the first 30 ms."""
    samples = samples.copy()
    samples[: round(0.03 * RATE)] += noise(0.03, 0.1)
    return samples


GOOD = {
    "clean": made_speech(),
    "in a noisy room": made_speech(room=0.01),
    "soft": made_speech(loud=0.05),
    "one short word": made_speech(1),
    "a key is struck first": struck(made_speech()),
    "48 kHz": made_speech(rate=48_000),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_said_well_is_kept_without_a_word(name: str) -> None:
    transcript = "stop" if name == "one short word" else FIVE
    check = checked(GOOD[name], transcript, 48_000 if name == "48 kHz" else RATE)
    assert codes(check) == ([], [])
    assert check.seconds == pytest.approx(len(GOOD[name]) / (48_000 if name == "48 kHz" else RATE), abs=0.001)


REFUSED = {
    "too_short": made_speech(1, before=0, after=0, word_seconds=0.2),
    "too_long": made_speech(before=4, after=4),
    "too_quiet": made_speech(loud=0.008, room=0.0001),
    "clipped": np.clip(made_speech(loud=2.0), -1, 1),
    "no_speech": noise(2, 0.05),
    "cut_start": made_speech(before=0)[round(0.1 * RATE) :],
    "cut_end": made_speech(after=0)[: -round(0.1 * RATE)],
    "silent_start": made_speech(before=3),
    "silent_end": made_speech(after=3),
    "too_fast": made_speech(1),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_would_teach_wrong_things_is_refused(code: str) -> None:
    check = checked(REFUSED[code])
    assert codes(check) == ([code], [])
    assert check.refusals[0].what and check.refusals[0].advice


@pytest.mark.parametrize("samples", [silence(2), hum(2), noise(2, 0.2), struck(noise(2, 0.0005))])
def test_silence_noise_hum_and_a_struck_key_are_no_speech(samples: Sound) -> None:
    assert codes(checked(samples))[0][0] == "no_speech"


NOTED = {
    "quiet": made_speech(loud=0.025, room=0.0002),
    "noisy": made_speech(room=0.02),
    "nearly_clipped": made_speech(),
    "long_silence_start": made_speech(before=1.5),
    "long_silence_end": made_speech(after=1.5),
    "slow": made_speech(10),
}


@pytest.mark.parametrize("code", NOTED)
def test_what_could_be_better_is_kept_with_a_note(code: str) -> None:
    samples = NOTED[code].copy()
    if code == "nearly_clipped":
        loudest = np.argsort(np.abs(samples))[-round(0.003 * len(samples)) :]
        samples[loudest] = np.sign(samples[loudest])
    transcript = "on" if code == "slow" else FIVE
    assert codes(checked(samples, transcript)) == ([], [code])


def test_clipping_shows_though_the_recording_is_converted_to_16_khz() -> None:
    loud = np.clip(made_speech(loud=2.0, rate=48_000), -1, 1)
    assert codes(checked(loud, rate=48_000))[0] == ["clipped"]


def test_no_samples_are_too_short() -> None:
    level = audio_level(wav_bytes(silence(0.5)))
    assert check_take(silence(0), level, "on", 8.0).refusals[0].code == "too_short"


def test_levels_are_those_of_each_frame() -> None:
    samples = np.concatenate([silence(0.02), np.full(320, 0.1, np.float32), np.full(100, 1.0, np.float32)])
    assert frame_levels_db(samples, 0.02) == pytest.approx([-120, -20])


def found_in_home(locale: str, every: int) -> tuple[int, list[str]]:
    spoken = [each for each in read_manifest(home_manifest(locale)) if each.audio is not None][::every]
    found = []
    for each in spoken:
        assert each.audio is not None
        check = check_take(load_audio(each.audio), audio_level(each.audio), each.transcript, window_seconds=8.0)
        found += [f"{each.id} {finding.code}" for finding in (*check.refusals, *check.notes)]
    return len(spoken), found


@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_nothing_is_found_in_a_part_of_the_built_in_recordings(locale: str) -> None:
    number, found = found_in_home(locale, 25)
    assert number > 10 and not found


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_nothing_is_found_in_any_built_in_recording(locale: str) -> None:
    number, found = found_in_home(locale, 1)
    assert number > 400 and not found
