from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.core.errors import UserError
from sottovoce.data.audio import (
    SAMPLING_RATE,
    NotAudioError,
    TooLongError,
    audio_header,
    audio_level,
    is_silent,
    is_silent_file,
    load_audio,
)


def tone(hertz: float, seconds: float, sampling_rate: int) -> np.ndarray:
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    return 0.5 * np.sin(2 * np.pi * hertz * time)


def written(path: Path, samples: np.ndarray, sampling_rate: int = SAMPLING_RATE, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, sampling_rate, subtype=subtype)
    return path


def test_stereo_at_44100_hz_becomes_mono_at_16000_hz(tmp_path: Path) -> None:
    left, right = tone(440, 1.5, 44_100), tone(3000, 1.5, 44_100)
    samples = load_audio(written(tmp_path / "a.wav", np.stack([left, right], axis=1), 44_100))
    assert samples.dtype == np.float32
    assert samples.shape == (24_000,)
    inner = slice(1000, -1000)  # a resampler rings at the ends
    expected = (tone(440, 1.5, 16_000) + tone(3000, 1.5, 16_000)) / 2
    assert np.abs(samples - expected)[inner].max() < 2e-3


def test_what_16_khz_cannot_hold_is_filtered_out(tmp_path: Path) -> None:
    samples = load_audio(written(tmp_path / "a.wav", tone(12_000, 1, 44_100), 44_100))
    assert np.abs(samples[1000:-1000]).max() < 1e-3


def test_mono_at_16000_hz_comes_back_exactly(tmp_path: Path) -> None:
    samples = tone(300, 0.7, SAMPLING_RATE).astype(np.float32)
    assert np.array_equal(load_audio(written(tmp_path / "a.wav", samples, subtype="FLOAT")), samples)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.wav"])
def test_the_header_gives_length_and_rate(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, tone(300, 0.75, 8000), 8000)
    header = audio_header(path)
    assert header.seconds == pytest.approx(0.75, abs=0.01)
    assert header.sampling_rate == 8000
    assert len(load_audio(path)) == pytest.approx(12_000, abs=160)


def test_a_clip_of_0_05_seconds_is_padded_with_silence_to_0_1(tmp_path: Path) -> None:
    clip = tone(300, 0.05, SAMPLING_RATE).astype(np.float32)
    samples = load_audio(written(tmp_path / "a.wav", clip, subtype="FLOAT"))
    assert samples.shape == (1600,)
    assert np.array_equal(samples[:800], clip)
    assert not samples[800:].any()


@pytest.mark.parametrize("sampling_rate", [16_000, 44_100, 192_000])
def test_even_one_sample_is_padded(tmp_path: Path, sampling_rate: int) -> None:
    assert load_audio(written(tmp_path / "a.wav", np.full(1, 0.5), sampling_rate)).shape == (1600,)


def faulty(folder: Path, name: str) -> Path:
    path = folder / name
    match name:
        case "folder.wav":
            path.mkdir()
        case "no_bytes.wav":
            path.touch()
        case "no_samples.wav":
            soundfile.write(path, np.zeros(0), SAMPLING_RATE)
        case "text.wav":
            path.write_text("this is not audio " * 50)
        case "headless.raw":
            path.write_bytes(bytes(4000))
        case "cut.flac":
            noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
            soundfile.write(path, noise, SAMPLING_RATE)
            path.write_bytes(path.read_bytes()[:9000])
    return path


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("missing.wav", "no such recording"),
        ("folder.wav", "no such recording"),
        ("no_bytes.wav", "holds no samples"),
        ("no_samples.wav", "holds no samples"),
        ("text.wav", "cannot read"),
        ("headless.raw", "cannot read"),
        ("cut.flac", "cannot read"),
    ],
)
def test_a_faulty_recording_is_refused_with_its_place(tmp_path: Path, name: str, fault: str) -> None:
    path = faulty(tmp_path, name)
    for read in (load_audio, audio_header):
        with pytest.raises(UserError, match=fault) as caught:
            read(path, "m.jsonl:12")
        assert caught.value.what.startswith("m.jsonl:12: ")
        assert name in caught.value.what
        assert caught.value.advice
        with pytest.raises(UserError) as bare:
            read(path)
        assert bare.value.what == caught.value.what.removeprefix("m.jsonl:12: ")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    samples = np.array([0.0, value, 0.0] * 1000)
    with pytest.raises(UserError, match=r"m\.jsonl:1: .* not finite"):
        load_audio(written(tmp_path / "a.wav", samples, subtype="FLOAT"), "m.jsonl:1")


@pytest.mark.parametrize("sampling_rate", [8_000, 16_000, 44_100])
def test_the_level_is_that_of_the_loudest_part(tmp_path: Path, sampling_rate: int) -> None:
    time = np.arange(sampling_rate * 12) / sampling_rate  # longer than what is read at once
    tone = np.where(time > 11.5, 0.1, 0.001) * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "clip.wav", tone, sampling_rate, subtype="FLOAT")
    level = audio_level(tmp_path / "clip.wav")
    assert level.loudest_db == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.2)
    assert level.share_at_full_scale == 0


def test_clipped_samples_are_counted_in_any_channel(tmp_path: Path) -> None:
    loud = np.clip(2 * np.sin(np.linspace(0, 300, 16_000)), -1, 1)
    both = np.stack([np.zeros_like(loud), loud], axis=1)
    soundfile.write(tmp_path / "clip.flac", both, 16_000)
    expected = float((np.abs(loud) >= 1).mean())
    assert audio_level(tmp_path / "clip.flac").share_at_full_scale == pytest.approx(expected, abs=0.02)
    assert expected > 0.5


def test_digital_silence_and_a_clip_shorter_than_a_frame_have_levels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "still.wav", np.zeros(4_000), 16_000)
    soundfile.write(tmp_path / "short.wav", np.full(80, 0.5), 16_000)
    assert audio_level(tmp_path / "still.wav").loudest_db == -np.inf
    assert audio_level(tmp_path / "short.wav").loudest_db == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize(("level_db", "silent"), [(-61, True), (-59, False)])
def test_a_recording_is_silent_if_no_part_reaches_the_level(tmp_path: Path, level_db: float, silent: bool) -> None:
    samples = np.zeros(16_000, np.float32)
    samples[8_000:8_800] = 10 ** (level_db / 20)  # one frame of 50 ms
    assert is_silent(samples) == silent
    soundfile.write(tmp_path / "clip.wav", samples, 16_000, subtype="FLOAT")
    assert is_silent_file(tmp_path / "clip.wav") == silent
    assert is_silent(np.zeros(10, np.float32))


def test_a_recording_without_a_level_is_one_clear_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.full(4_000, np.nan), 16_000, subtype="FLOAT")
    (tmp_path / "words.wav").write_text("words")
    for name, fault in (("clip", "not finite"), ("words", "cannot read"), ("gone", "no such recording")):
        with pytest.raises(UserError, match=rf"m:3: .*{fault}"):
            audio_level(tmp_path / f"{name}.wav", "m:3")


def test_a_recording_that_ends_before_its_header_says_has_no_level(tmp_path: Path) -> None:
    clip = written(tmp_path / "clip.mp3", np.random.default_rng(0).uniform(-0.5, 0.5, 160_000))
    clip.write_bytes(clip.read_bytes()[:19_000])
    assert audio_header(clip).seconds == 10
    with pytest.raises(UserError, match=r"m:3: .*clip\.mp3 ends after 7\d{4} of 160000 samples"):
        audio_level(clip, "m:3")


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.wav", "a.mp3"])
def test_the_content_of_a_file_is_read_as_the_file(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, tone(300, 0.75, 44_100), 44_100)
    content = path.read_bytes()
    assert np.array_equal(load_audio(content), load_audio(path))
    assert audio_header(content) == audio_header(path)
    assert audio_level(content) == audio_level(path)


def test_a_recording_of_many_blocks_is_read_whole(tmp_path: Path) -> None:
    both = np.stack([tone(300, 150, 8_000), tone(500, 150, 8_000)], axis=1).astype(np.float32)
    path = written(tmp_path / "a.wav", both, 16_000, "FLOAT")
    assert np.array_equal(load_audio(path), both.mean(axis=1))


@pytest.mark.parametrize("name", ["no_bytes.wav", "no_samples.wav", "text.wav", "cut.flac"])
def test_a_fault_of_content_names_no_file(tmp_path: Path, name: str) -> None:
    content = faulty(tmp_path, name).read_bytes()
    for read in (load_audio, audio_header, audio_level):
        with pytest.raises(UserError, match=r"the recording holds no samples|cannot read the recording: \w") as caught:
            read(content)
        assert "0x" not in str(caught.value) and "row" not in str(caught.value)
        assert isinstance(caught.value, NotAudioError) == (name in ("text.wav", "cut.flac"))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_recording_that_is_too_long_is_refused(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / f"a.{kind.lower()}", np.zeros(32_000))
    with pytest.raises(TooLongError, match="the recording is longer than 1 seconds"):
        load_audio(path.read_bytes(), max_seconds=1)
    assert len(load_audio(path.read_bytes(), max_seconds=3)) == pytest.approx(32_000, abs=3_000)


def with_length(flac: bytes, num_samples: int) -> bytes:
    """A FLAC file that says it has so many samples: the last 36 of the 64 bits that STREAMINFO describes it by."""
    stated = int.from_bytes(flac[18:26], "big") >> 36 << 36 | num_samples
    return flac[:18] + stated.to_bytes(8, "big") + flac[26:]


def test_a_recording_that_hides_or_understates_its_length_is_not_decoded_beyond_a_limit(tmp_path: Path) -> None:
    hour = written(tmp_path / "a.flac", np.full(3600 * 16_000, 0.5)).read_bytes()
    assert len(hour) < 1_000_000
    with pytest.raises(TooLongError):
        load_audio(hour, max_seconds=60)
    with pytest.raises(NotAudioError, match="the recording does not give its length"):
        load_audio(with_length(hour, 0), max_seconds=60)  # 0 is "not known", as streams have it
    assert len(load_audio(with_length(hour, 32_000), max_seconds=60)) == 32_000


@pytest.mark.parametrize("sampling_rate", [500, 600_000])
def test_no_sampling_rate_of_speech_is_refused(tmp_path: Path, sampling_rate: int) -> None:
    with pytest.raises(UserError, match=f"is sampled at {sampling_rate} Hz; 1000 to 384000 Hz can be read"):
        load_audio(written(tmp_path / "a.wav", np.zeros(8_000), sampling_rate))


def test_a_recording_of_very_many_channels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for num_channels in (8, 9):
        soundfile.write(tmp_path / f"{num_channels}.wav", np.full((1600, num_channels), 0.1), 16_000)
    assert load_audio(tmp_path / "8.wav") == pytest.approx(0.1, abs=0.001)
    with pytest.raises(UserError, match=r"9\.wav has 9 channels; up to 8 can be read"):
        load_audio(tmp_path / "9.wav")
