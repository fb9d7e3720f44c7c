"""Recordings as the models want them: mono, 16 kHz, float32; whatever soundfile reads is converted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from sottovoce.errors import UserError

SAMPLING_RATE = 16_000
MIN_SECONDS = 0.1  # Qwen2-Audio's tower fails at 0.05 s and less
Samples = npt.NDArray[np.float32]


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
    prefix = f"{where}: " if where else ""
    if not path.exists():
        raise UserError(f"{prefix}no such recording: {path}", "correct the path in the manifest, or add the file")
    try:
        samples, sampling_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{prefix}cannot read {path}: {error}", "convert it to WAV, FLAC or OGG") from error
    if not len(samples):
        raise UserError(f"{prefix}{path} holds no samples", "record it again, or leave its row out")
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise UserError(f"{prefix}{path} holds values that are not finite", "export it again")
    if sampling_rate != SAMPLING_RATE:
        mono = soxr.resample(mono, sampling_rate, SAMPLING_RATE)
    missing = int(MIN_SECONDS * SAMPLING_RATE) - len(mono)
    return np.pad(mono, (0, max(0, missing))).astype(np.float32)


def seconds_of(path: Path) -> float:
    """The length of a recording from its header, without decoding it. Raises ``soundfile.LibsndfileError``."""
    return float(soundfile.info(path).duration)
