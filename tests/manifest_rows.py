"""Rows of a small manifest, with a tone for speech."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def row(number: int, split: str = "train", **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{split}{number}", "locale": "en-US", "split": split, "transcript": f"{split} lamp {number} on",
        "scenario": "lamp", "action": "on", "entities": [{"type": "device", "filler": f"lamp {number}"}], **changes,
    }  # fmt: skip


def spoken(
    folder: Path, number: int, split: str = "train", seconds: float = 1.0, rate: int = 16_000, **changes: Any
) -> Any:
    name = f"{split}{number}.wav"
    soundfile.write(folder / name, 0.1 * np.sin(np.arange(round(seconds * rate)) / 8), rate)
    return row(number, split, audio=name, speaker=f"{split}-s{number % 2}", **changes)


def sound(folder: Path) -> list[dict[str, Any]]:
    return [spoken(folder, 0), spoken(folder, 1), row(2, action="off"), row(3, "dev"), spoken(folder, 4, "test")]


def save_rows(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in rows), encoding="utf-8")
    return path
