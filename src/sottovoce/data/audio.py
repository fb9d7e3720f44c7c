"""Recordings as the models want them: mono, 16 kHz, float32; whatever soundfile reads is converted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from sottovoce.errors import UserError
from sottovoce.registry_files import sha256_of

SAMPLING_RATE = 16_000
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")  # of files that are taken for recordings
MIN_SECONDS = 0.1  # Qwen2-Audio's tower fails at 0.05 s and less
FULL_SCALE = 0.999  # a sample of this size or more is taken for clipped
_FRAME_SECONDS, _FRAMES_AT_ONCE = 0.05, 200
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What a recording says of itself: its length in seconds and its sampling rate in Hz."""

    seconds: float
    sampling_rate: int


@dataclass(frozen=True, slots=True)
class AudioLevel:
    """How loud a recording is.

    ``loudest_db`` is the RMS level of its loudest 50 ms in decibels, 0 at full scale, minus infinity for digital
    silence; ``share_at_full_scale`` (0..1) the share of its samples that are at full scale, as clipping leaves them.
    """

    loudest_db: float
    share_at_full_scale: float


def load_audio(path: Path, where: str = "") -> Samples:
    """Reads a recording.

    Args:
        path: any format that soundfile reads; channels are averaged, other sampling rates converted (soxr).
        where: ``file:line`` of the manifest row that names it, for the error.

    Returns:
        samples in -1..1 at 16 kHz, shape (num_samples,), at least 0.1 s (padded with silence).

    Raises:
        UserError: the file is missing, empty, or not audio, or holds values that are not finite.
    """
    _refuse_absent(path, where)
    try:
        samples, sampling_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: soundfile, of a .raw file
        raise _unreadable(path, where, error) from error
    if not len(samples):
        raise _silent(path, where)
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise UserError(f"{_prefix(where)}{path} holds values that are not finite", "export it again")
    if sampling_rate != SAMPLING_RATE:
        mono = soxr.resample(mono, sampling_rate, SAMPLING_RATE)
    missing = int(MIN_SECONDS * SAMPLING_RATE) - len(mono)
    return np.pad(mono, (0, max(0, missing))).astype(np.float32)


def audio_sha256(path: Path, where: str = "") -> str:
    """Hex sha256 of a recording's file. Raises UserError if it is missing or empty."""
    _refuse_absent(path, where)
    state = path.stat()
    return _sha256(path, state.st_mtime_ns, state.st_size)


@cache  # every stage of every cell asks again
def _sha256(path: Path, mtime_ns: int, num_bytes: int) -> str:
    return sha256_of(path)


def audio_header(path: Path, where: str = "") -> AudioHeader:
    """Reads a recording's header and seeks its last sample, which shows up a FLAC file that is cut short.

    Raises:
        UserError: as `load_audio`, save that the values between are not looked at.
    """
    _refuse_absent(path, where)
    try:
        with soundfile.SoundFile(path) as file:
            header = AudioHeader(file.frames / file.samplerate, int(file.samplerate))
            if file.frames:
                file.seek(file.frames - 1)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise _unreadable(path, where, error) from error
    if not header.seconds:
        raise _silent(path, where)
    return header


def audio_level(path: Path, where: str = "") -> AudioLevel:
    """Reads a whole recording, piece by piece, and measures its level.

    Raises:
        UserError: as `load_audio`, or the recording ends before its header says.
    """
    _refuse_absent(path, where)
    loudest, num_full, num_read = 0.0, 0, 0
    try:
        with soundfile.SoundFile(path) as file:
            num_stated, frame = file.frames, max(1, round(_FRAME_SECONDS * file.samplerate))
            # Not file.blocks: where a file ends early it goes on, with what it read before.
            while len(block := file.read(frame * _FRAMES_AT_ONCE, dtype="float32", always_2d=True)):
                if not np.isfinite(block).all():
                    raise UserError(f"{_prefix(where)}{path} holds values that are not finite", "export it again")
                num_read += len(block)
                num_full += int((np.abs(block).max(axis=1) >= FULL_SCALE).sum())
                mono = block.mean(axis=1)
                loudest = max(loudest, float(_frame_rms(mono, frame).max()))
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise _unreadable(path, where, error) from error
    if not num_read:
        raise _silent(path, where)
    if num_read < num_stated:
        fault = f"{_prefix(where)}{path} ends after {num_read} of {num_stated} samples"
        raise UserError(fault, "fetch or export it again")
    return AudioLevel(20 * math.log10(loudest) if loudest else -math.inf, num_full / num_read)


def frame_levels_db(samples: Samples, frame_seconds: float) -> npt.NDArray[np.float64]:
    """The RMS levels of a 16 kHz recording's frames in decibels, 0 at full scale, at least -120; (num_frames,)."""
    rms = _frame_rms(samples, round(frame_seconds * SAMPLING_RATE))
    return 20 * np.log10(np.maximum(rms.astype(np.float64), 1e-6))


def seconds_of(path: Path) -> float:
    """The length of a recording from its header, without decoding it. Raises ``soundfile.LibsndfileError``."""
    return float(soundfile.info(path).duration)


def _frame_rms(mono: Samples, frame: int) -> Samples:
    """The root mean square of each whole frame of so many samples, of all of them if there are fewer."""
    frames = mono[: len(mono) // frame * frame].reshape(-1, frame) if len(mono) >= frame else mono[None]
    return np.sqrt(np.square(frames).mean(axis=1))


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""


def _refuse_absent(path: Path, where: str) -> None:
    if not path.is_file():
        raise UserError(
            f"{_prefix(where)}no such recording: {path}", "correct the path in the manifest, or add the file"
        )
    if not path.stat().st_size:  # soundfile would say "Format not recognised"
        raise _silent(path, where)


def _silent(path: Path, where: str) -> UserError:
    return UserError(f"{_prefix(where)}{path} holds no samples", "record it again, or leave its row out")


def _unreadable(path: Path, where: str, error: Exception) -> UserError:
    return UserError(f"{_prefix(where)}cannot read {path}: {error}", "convert it to WAV, FLAC or OGG")
