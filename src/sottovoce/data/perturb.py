"""Cheap variety for synthetic speech: tempo and pitch, loudness, silence around the words, noise."""

from __future__ import annotations

import random

import numpy as np
import soxr

from sottovoce.data.audio import SAMPLING_RATE, Samples


def perturb(samples: Samples, rng: random.Random) -> Samples:
    """A perturbed copy of a clip: 0.88-1.12 times the speed (which shifts the pitch), -12..0 dB, up to 0.8 s of silence
    before and 0.5 s after, and in two of three clips coloured noise 8-35 dB below the speech.

    Args:
        samples: mono 16 kHz, shape (num_samples,).
    """
    rate = rng.uniform(0.88, 1.12)
    changed = soxr.resample(samples, SAMPLING_RATE * rate, SAMPLING_RATE)
    front, behind = rng.uniform(0, 0.8), rng.uniform(0, 0.5)
    changed = np.pad(changed, (int(front * SAMPLING_RATE), int(behind * SAMPLING_RATE)))
    if rng.random() < 2 / 3:
        changed = changed + _noise(len(changed), rng) * _level(samples) * 10 ** (-rng.uniform(8, 35) / 20)
    peak = float(np.abs(changed).max()) or 1.0
    loudness = 10 ** (-rng.uniform(0, 12) / 20)
    return np.asarray(changed / max(1.0, peak) * loudness, dtype=np.float32)


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) or 1e-4


def _noise(num_samples: int, rng: random.Random) -> Samples:
    """White to brown noise of unit power; the slope of its spectrum is drawn."""
    generator = np.random.default_rng(rng.getrandbits(32))
    spectrum = np.fft.rfft(generator.standard_normal(num_samples))
    frequencies = np.maximum(np.fft.rfftfreq(num_samples, 1 / SAMPLING_RATE), 20.0)
    shaped = np.fft.irfft(spectrum * frequencies ** -rng.uniform(0, 1), num_samples)
    return (shaped / (np.std(shaped) or 1.0)).astype(np.float32)
