"""A small synthetic study folder: four cells whose scores follow from the answers that it writes."""

from __future__ import annotations

import json
import math
import shutil
import struct
import wave
from pathlib import Path
from typing import Any

ROOMS = ("kitchen", "hall", "study", "attic")
ACTIONS = ("on", "off", "dim", "status")
NUM_TEST = 100
# Right answers of 100, on speech and on gold text.
RIGHT = {
    "zero_shot": (4, 6),
    "text_only": (60, 90),
    "direct_mixing-5pct": (78, 88),
    "curriculum-5pct": (81, 89),
}


def scores(right: int, unreadable: int = 0, missing: int = 0) -> dict[str, dict[str, float]]:
    """Both scorers' figures: the official one skips the missing answers, the strict one counts them as wrong."""
    both = {}
    for kind, number in (("official", NUM_TEST - missing), ("strict", NUM_TEST)):
        share = right / number
        figures = {"scenario_accuracy": share, "action_accuracy": share, "intent_accuracy": share}
        figures |= {"entity_f1": share, "slu_precision": share, "slu_recall": share, "slu_f1": 0.9 * share}
        both[kind] = {**figures, "num_scored": number, "num_missing": missing, "num_unreadable": unreadable}
    return both


def gold_rows(audio: bool = True) -> list[dict[str, Any]]:
    """The test utterances; the ones that all but zero-shot get right come first."""
    rows = []
    for number in range(NUM_TEST):
        room, action = ROOMS[number // 4 % 4], ACTIONS[number % 4]
        row = {
            "id": f"u{number}", "locale": "en-US", "split": "test", "transcript": f"would you put the {room} {action}",
            "scenario": "light", "action": action, "entities": [{"type": "room", "filler": room}],
        }  # fmt: skip
        rows.append(row | ({"audio": f"audio/{number % 3}.wav", "speaker": "v1"} if audio else {}))
    return rows


def answer(row: dict[str, Any], right: bool) -> dict[str, Any]:
    """An answer to a gold row: right, or wrong in the action, or (every seventh) unreadable, or in the room."""
    number = int(row["id"][1:])
    frame = {key: row[key] for key in ("scenario", "action", "entities")}
    if not right and number % 7 == 0:
        frame = {"scenario": "", "action": "", "entities": []}
        return {"id": row["id"], **frame, "text": '{"scenario": "light", "act', "status": "unreadable"}
    if not right:
        action = ACTIONS[(number + 1) % 4]
        frame |= {"action": action, "entities": [{"type": "room", "filler": "hallway"}]}
    return {"id": row["id"], **frame, "text": json.dumps(frame), "status": "ok"}


def write_planned(cell: Path, **facts: Any) -> None:
    """Leaves of a cell what a study writes before the cell has begun."""
    shutil.rmtree(cell, ignore_errors=True)
    cell.mkdir()
    (cell / "cell.json").write_text(json.dumps(facts), encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_tone(path: Path, seconds: float = 0.2) -> None:
    """A quiet tone as 16 kHz WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = [int(3000 * math.sin(t / 6)) for t in range(int(16000 * seconds))]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def write_study(folder: Path, *, audio: bool = True, seconds: float = 0.2) -> Path:
    """Writes a finished study and returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    study = {
        "name": "home-en", "title": "How little speech does a voice remote need?", "recipe": "recipes/quickstart.yaml",
        "created": "2026-03-02T10:20:30+00:00", "seconds": 754.0, "machine": "2 CPU cores, 8 GB", "model": "embedded",
        "corpus": "home en-US", "unheard_voices": True,
        "num_train": 400, "num_test": NUM_TEST, "budget_share": 0.05, "num_speech": 20,
        "majority_intent_accuracy": 0.25, "cells": list(RIGHT),
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    gold = gold_rows(audio)
    write_lines(folder / "gold.jsonl", gold)
    for number in range(3 if audio else 0):
        write_tone(folder / f"audio/{number}.wav", seconds)
    for name, rights in RIGHT.items():
        spoken = name.endswith("5pct")
        cell = {
            "name": name, "scheme": name.removesuffix("-5pct"), "budget_share": 0.05 if spoken else 0.0, "seed": 0,
            "seconds": 180.0, "num_text_rows": 400, "num_speech_rows": 20 if spoken else 0,
            "versions": {"sottovoce": "0.1.0", "torch": "2.13"}, "data": {"manifest": "home.jsonl", "sha256": "a" * 64},
        }  # fmt: skip
        figures = {}
        for modality, right in zip(("speech", "text"), rights, strict=True):
            answers = [answer(row, number < right) for number, row in enumerate(gold)]
            write_lines(folder / f"cells/{name}/predictions-{modality}.jsonl", answers)
            unreadable = sum(row["status"] == "unreadable" for row in answers)
            figures[modality] = scores(right, unreadable)
        (folder / f"cells/{name}/cell.json").write_text(json.dumps(cell), encoding="utf-8")
        (folder / f"cells/{name}/scores.json").write_text(json.dumps(figures), encoding="utf-8")
    return folder
