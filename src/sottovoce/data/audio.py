"""Reads recordings as the models need them: mono, 16 kHz, float32; converts any format that soundfile reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from sottovoce.core.downloads import sha256_of
from sottovoce.core.errors import UserError

SAMPLING_RATE = 16_000
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")  # of recordings
MIN_SECONDS = 0.1  # Qwen2-Audio's tower fails at 0.05 s and less
LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000  # Hz; a header can claim any rate, and others would be costly to convert
MAX_CHANNELS = 8  # a header can claim a thousand, each as long as the recording
SILENT_DB = -60.0  # speech recorded far too softly still reaches -50 dB somewhere
FULL_SCALE = 0.999  # samples of at least this size count as clipped
_FRAME_SECONDS, _FRAMES_AT_ONCE = 0.05, 200
_VALUES_AT_ONCE = 2**20  # samples of all channels that are in memory before they are averaged
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's value for a FLAC file written as a stream
Samples = npt.NDArray[np.float32]
Recording = Path | bytes  # a file or its content


class NotAudioError(UserError):
    """Not a format that soundfile reads."""


class TooLongError(UserError):
    """A recording longer than allowed."""


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """A recording's length in seconds and sampling rate in Hz, from its header."""

    seconds: float
    sampling_rate: int


@dataclass(frozen=True, slots=True)
class AudioLevel:
    """How loud a recording is.

    ``loudest_db`` is the RMS level of its loudest 50 ms in decibels, 0 at full scale, minus infinity for digital
    silence; ``share_at_full_scale`` (0..1) is the share of samples at full scale, a sign of clipping.
    """

    loudest_db: float
    share_at_full_scale: float


def load_audio(source: Recording, where: str = "", max_seconds: float = math.inf) -> Samples:
    """Reads a recording.

    Args:
        source: in any format that soundfile reads; channels are averaged, other sampling rates converted (soxr).
        where: ``file:line`` of its manifest row, for errors.
        max_seconds: a recording with a longer length in its header is rejected before decoding; soundfile never decodes
            beyond that length.

    Returns:
        samples in -1..1 at 16 kHz, shape (num_samples,), at least 0.1 s (padded with silence).

    Raises:
        NotAudioError: soundfile cannot read it.
        TooLongError: it is longer than ``max_seconds``.
        UserError: the file is missing or empty, has values that are not finite, or has an unusable sampling rate or too
            many channels.
    """
    parts: list[Samples] = []
    with _opened(source, where) as file:
        sampling_rate = int(file.samplerate)
        if not LOWEST_RATE <= sampling_rate <= HIGHEST_RATE:
            fault = f"{_name(source, where)} is sampled at {sampling_rate} Hz"
            raise UserError(fault, f"{LOWEST_RATE} to {HIGHEST_RATE} Hz can be read")
        if file.channels > MAX_CHANNELS:
            fault = f"{_name(source, where)} has {file.channels} channels"
            raise UserError(fault, f"up to {MAX_CHANNELS} can be read")
        if file.frames == _UNKNOWN_FRAMES:  # soundfile cannot read such a file
            fault = f"{_name(source, where)} does not give its length"
            raise NotAudioError(fault, "write it as a file instead of a stream")
        if file.frames > max_seconds * sampling_rate:
            fault = f"{_name(source, where)} is longer than {max_seconds:g} seconds"
            raise TooLongError(fault, "send a shorter one")
        while len(block := file.read(max(1, _VALUES_AT_ONCE // file.channels), dtype="float32", always_2d=True)):
            parts.append(block.mean(axis=1))
    if not parts:
        raise _silent(source, where)
    mono = np.concatenate(parts)
    if not np.isfinite(mono).all():
        raise _not_finite(source, where)
    if sampling_rate != SAMPLING_RATE:
        mono = soxr.resample(mono, sampling_rate, SAMPLING_RATE)
    missing = int(MIN_SECONDS * SAMPLING_RATE) - len(mono)
    return np.pad(mono, (0, max(0, missing))).astype(np.float32)


def audio_sha256(path: Path, where: str = "") -> str:
    """Hex sha256 of a recording's file. Raises UserError if it is missing or empty."""
    return _sha256(path, *_version(path, where))


def _version(path: Path, where: str) -> tuple[int, int]:
    """Time and size of a file, which change when it does. Raises UserError if it is missing or empty."""
    _refuse_absent(path, where)
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@cache  # needed by every stage of every cell
def _sha256(path: Path, mtime_ns: int, num_bytes: int) -> str:
    return sha256_of(path)


def audio_header(source: Recording, where: str = "") -> AudioHeader:
    """Reads a recording's header and seeks its last sample, which detects a truncated FLAC file.

    Raises:
        UserError: as `load_audio`, but the values are not checked.
    """
    with _opened(source, where) as file:
        header = AudioHeader(file.frames / file.samplerate, int(file.samplerate))
        if file.frames:
            file.seek(file.frames - 1)
    if not header.seconds:
        raise _silent(source, where)
    return header


def audio_level(source: Recording, where: str = "") -> AudioLevel:
    """Reads a whole recording in blocks and measures its level.

    Raises:
        UserError: as `load_audio`, or the recording is shorter than its header says.
    """
    loudest, num_full, num_read = 0.0, 0, 0
    with _opened(source, where) as file:
        num_stated, frame = file.frames, max(1, round(_FRAME_SECONDS * file.samplerate))
        # Not file.blocks: if a file ends early, it continues with the previous block.
        while len(block := file.read(frame * _FRAMES_AT_ONCE, dtype="float32", always_2d=True)):
            if not np.isfinite(block).all():
                raise _not_finite(source, where)
            num_read += len(block)
            num_full += int((np.abs(block).max(axis=1) >= FULL_SCALE).sum())
            mono = block.mean(axis=1)
            loudest = max(loudest, float(_frame_rms(mono, frame).max()))
    if not num_read:
        raise _silent(source, where)
    if num_read < num_stated:
        fault = f"{_name(source, where)} ends after {num_read} of {num_stated} samples"
        raise UserError(fault, "fetch or export it again")
    return AudioLevel(20 * math.log10(loudest) if loudest else -math.inf, num_full / num_read)


def is_silent(samples: Samples) -> bool:
    """Whether nothing can be heard in a 16 kHz recording: the RMS level of no 50 ms reaches SILENT_DB."""
    return bool(frame_levels_db(samples, _FRAME_SECONDS).max() < SILENT_DB)


def is_silent_file(path: Path, where: str = "") -> bool:
    """:func:`is_silent` of a file. Raises UserError as :func:`load_audio`."""
    return _is_silent_file(path, *_version(path, where))


@cache  # every cell of a study asks again
def _is_silent_file(path: Path, mtime_ns: int, num_bytes: int) -> bool:
    return is_silent(load_audio(path))


def frame_levels_db(samples: Samples, frame_seconds: float) -> npt.NDArray[np.float64]:
    """The RMS levels of a 16 kHz recording's frames in decibels, 0 at full scale, at least -120; (num_frames,)."""
    rms = _frame_rms(samples, round(frame_seconds * SAMPLING_RATE))
    return 20 * np.log10(np.maximum(rms.astype(np.float64), 1e-6))


def _frame_rms(mono: Samples, frame: int) -> Samples:
    """The root mean square of each whole frame of ``frame`` samples, or of all samples if there are fewer."""
    frames = mono[: len(mono) // frame * frame].reshape(-1, frame) if len(mono) >= frame else mono[None]
    rms: Samples = np.sqrt(np.square(frames).mean(axis=1))
    return rms


@contextmanager
def _opened(source: Recording, where: str) -> Iterator[soundfile.SoundFile]:
    _refuse_absent(source, where)
    try:
        with soundfile.SoundFile(BytesIO(source) if isinstance(source, bytes) else source) as file:
            yield file
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: from soundfile, for a .raw file
        # For bytes, libsndfile's message names only the Python object.
        said = getattr(error, "error_string", error) if isinstance(source, bytes) else error
        advice = "convert it to WAV, FLAC or OGG"
        raise NotAudioError(f"{_prefix(where)}cannot read {_name(source)}: {said}", advice) from error


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""


def _name(source: Recording, where: str = "") -> str:
    return _prefix(where) + ("the recording" if isinstance(source, bytes) else str(source))


def _refuse_absent(source: Recording, where: str) -> None:
    if isinstance(source, Path) and not source.is_file():
        raise UserError(
            f"{_prefix(where)}no such recording: {source}", "correct the path in the manifest, or add the file"
        )
    if not (len(source) if isinstance(source, bytes) else source.stat().st_size):
        raise _silent(source, where)  # soundfile would say "Format not recognised"


def _silent(source: Recording, where: str) -> UserError:
    advice = "record it again, or leave out its row" if isinstance(source, Path) else "record it again"
    return UserError(f"{_name(source, where)} holds no samples", advice)


def _not_finite(source: Recording, where: str) -> UserError:
    return UserError(f"{_name(source, where)} holds values that are not finite", "export it again")
