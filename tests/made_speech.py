"""A sound that is to levels what speech is: voiced syllables with short pauses between words, in a quiet room."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 16_000
Sound = npt.NDArray[np.float32]


def made_speech(
    num_words: int = 5, loud: float = 0.2, before: float = 0.3, after: float = 0.3, room: float = 0.0005,
    word_seconds: float = 0.25, rate: int = RATE, seed: int = 0,
) -> Sound:  # fmt: skip
    """Samples at ``rate``; ``loud`` is a word's amplitude, ``room`` that of the noise, times are in seconds."""
    rng = np.random.default_rng(seed)
    pause = np.zeros(round(0.06 * rate))
    parts = [np.zeros(round(before * rate))]
    for number in range(num_words):
        time = np.arange(round(word_seconds * rate)) / rate
        pitch = rng.uniform(110, 180)
        voice = sum(np.sin(2 * np.pi * pitch * part * time) / part for part in range(1, 9))
        parts += [loud / 2 * voice * np.hanning(len(time)) ** 0.5, *([pause] if number < num_words - 1 else [])]
    clean = np.concatenate([*parts, np.zeros(round(after * rate))])
    return (clean + rng.normal(0, room, len(clean))).astype(np.float32)


def wav_bytes(samples: Sound, rate: int = RATE) -> bytes:
    """The samples as the content of a 16-bit WAV file."""
    file = BytesIO()
    soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
    return file.getvalue()
