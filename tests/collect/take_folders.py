"""A source of a few utterances, and folders of takes of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile
from made_speech import Sound
from manifest_rows import row, save_rows, spoken

from sottovoce.collect.takes import TakeFolder, open_takes
from sottovoce.core.types import Utterance
from sottovoce.data.manifest import read_manifest


def save_source(folder: Path) -> Path:
    """Three train utterances without a recording and one with, and one of test with."""
    folder.mkdir()
    return save_rows(folder, *(row(n) for n in range(3)), spoken(folder, 3), spoken(folder, 4, "test"))


@contextmanager
def opened(out: Path, source: Path, said: list[str] | None = None) -> Iterator[TakeFolder]:
    with open_takes(out, source, read_manifest(source), [].append if said is None else said.append) as takes:
        yield takes


def by_id(out: Path) -> dict[str, Utterance]:
    return {each.id: each for each in read_manifest(out / "manifest.jsonl")}  # where nothing lies outside


def bytes_of(samples: Sound) -> bytes:
    """The content of the file that a take of these samples becomes."""
    content = io.BytesIO()
    soundfile.write(content, samples, 16_000, subtype="PCM_16", format="WAV")
    return content.getvalue()
