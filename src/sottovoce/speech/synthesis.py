"""Speaks a manifest: every row without audio gets a clip in a seeded voice; a stopped run resumes where it stopped."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sottovoce.core.errors import UserError
from sottovoce.core.storage import json_lines, whole_file, whole_rows
from sottovoce.data.audio import SAMPLING_RATE, Samples
from sottovoce.speech.engines import speak
from sottovoce.speech.voices import Voice, draw_voice

MANIFEST = "manifest.jsonl"


Cast = str | tuple[Voice, ...]
"""A cast of :func:`sottovoce.speech.voices.draw_voice`, or equally likely voices."""


def speak_manifest(rows: Iterable[dict[str, Any]], out: Path, cast: Cast, seed: int, workers: int) -> Iterator[int]:
    """Writes ``out/manifest.jsonl`` and ``out/audio/*.ogg`` (Opus, 16 kHz, mono), each named by its locale and id.

    Args:
        rows: manifest rows with ``id``, ``locale`` and ``transcript``; the other keys are carried over.
        cast: the voices.
        seed: sets a row's voice and tempo together with its id, independent of other rows.
        workers: number of processes.

    Yields:
        The number of clips so far, after each clip.

    Raises:
        UserError: a speech engine is not installed, or an id cannot be part of a file's name.
    """
    rows = list(rows)
    if odd := next((row["id"] for row in rows if Path(row["id"]).name != row["id"]), None):
        raise UserError(f"the id {odd!r} cannot name a recording", "use ids without slashes")
    (out / "audio").mkdir(parents=True, exist_ok=True)
    manifest = out / MANIFEST
    done = {(row["id"], row["locale"]) for row in whole_rows(manifest)}
    todo = [row for row in rows if (row["id"], row["locale"]) not in done]
    with manifest.open("a", encoding="utf-8") as stream, ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(_speak_row, row, out, cast, seed) for row in todo]
        try:
            for count, future in enumerate(as_completed(futures), start=len(done) + 1):
                stream.write(json_lines([future.result()]))
                stream.flush()
                yield count
        finally:
            pool.shutdown(cancel_futures=True)  # after an error, or if the caller stops: drop the rest of the queue


def _speak_row(row: dict[str, Any], out: Path, cast: Cast, seed: int) -> dict[str, Any]:
    rng = random.Random(f"{seed}/{row['locale']}/{row['id']}")
    voice = draw_voice(cast, row["locale"], rng) if isinstance(cast, str) else rng.choice(cast)
    samples = trim_silence(speak(row["transcript"], voice, row["locale"], speed=rng.uniform(0.88, 1.2)))
    path = f"audio/{row['locale']}-{row['id']}.ogg"
    write_opus(out / path, samples)
    return {**row, "audio": path, "speaker": voice.speaker, "seconds": round(len(samples) / SAMPLING_RATE, 2)}


def trim_silence(samples: Samples, threshold: float = 0.004, margin_seconds: float = 0.12) -> Samples:
    """Cuts leading and trailing samples below ``threshold``, keeping a margin on both sides."""
    loud = np.flatnonzero(np.abs(samples) > threshold)
    if not len(loud):
        return samples
    margin = int(margin_seconds * SAMPLING_RATE)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def write_opus(path: Path, samples: Samples) -> None:
    """Writes mono 16 kHz OGG/Opus at 17 kbit/s (libsndfile: 6 + 250 * (1 - level)), completely or not at all."""
    with whole_file(path) as temporary:
        soundfile.write(temporary, samples, SAMPLING_RATE, format="OGG", subtype="OPUS", compression_level=0.955)
