"""A synthetic study folder of many cells: schemes x budgets x seeds x mixtures, with answers and their scores."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cell_names import cell_named
from study_folder import write_lines, write_tone

from sottovoce.study.cell import score_cell

NUM_TRAIN = 2000
_SCENARIOS = {"light": ("on", "off", "dim"), "alarm": ("set", "remove"), "music": ("play", "stop", "like")}
_INTENTS = [(scenario, action) for scenario, actions in _SCENARIOS.items() for action in actions]
_ROOMS = ("kitchen", "hall", "study", "attic", "cellar")

Rights = Mapping[str, tuple[float, float]]
"""By a cell's name the shares of right answers on speech and on gold text."""


def learning_rights(
    speech: Mapping[str, float], text_only: float = 0.62, num_seeds: int = 3, spread: float = 0.01, tail: str = ""
) -> dict[str, tuple[float, float]]:
    """Cells named by scheme and budget ("curriculum-5pct") with as many seeds, and text_only and zero_shot beside them.

    Args:
        speech: the share of right answers on speech by a cell's name without its seed.
        text_only: the same of text_only.
        num_seeds: how many seeds.
        spread: how far the seeds lie apart, from one to the next.
        tail: what follows the seed in a name: a model.
    """
    cells = {f"zero_shot{tail}": (0.11, 0.15)}
    for name, right in {"text_only": text_only, **speech}.items():
        for seed in range(num_seeds):
            seeded = (f"{name}-seed{seed}" if seed else name) + tail
            cells[seeded] = (right + spread * (seed - (num_seeds - 1) / 2), 0.92 - 0.004 * seed)
    return cells


def grid_gold(num_test: int, audio: bool) -> list[dict[str, Any]]:
    """Test utterances that no two share their words."""
    rows = []
    for number in range(num_test):
        scenario, action = _INTENTS[number % len(_INTENTS)]
        room = _ROOMS[number % len(_ROOMS)]
        row: dict[str, Any] = {
            "id": f"u{number}", "locale": "en-US", "split": "test",
            "transcript": f"please {action} the {scenario} in the {room}, number {number}",
            "scenario": scenario, "action": action, "entities": [{"type": "room", "filler": room}],
        }  # fmt: skip
        rows.append(row | ({"audio": f"audio/{number % 3}.wav", "speaker": "v1"} if audio else {}))
    return rows


def write_grid(
    folder: Path, rights: Rights, *, num_test: int = 300, audio: bool = False, corpus: str = "home en-US",
    models: tuple[str, ...] = ("embedded",), **study: Any,
) -> Path:  # fmt: skip
    """Writes a finished study and returns its folder; each cell's right answers are mostly those of easy utterances."""
    gold = grid_gold(num_test, audio)
    cells = list(rights)
    card = {
        "name": "grid", "title": "How much speech is enough?", "recipe": "grid.yaml", "model": ", ".join(models),
        "created": "2026-03-02T10:20:30+00:00", "seconds": 60.0 * len(cells), "machine": "2 CPU cores, 8 GB",
        "corpus": corpus, "num_train": NUM_TRAIN, "num_test": num_test, "majority_intent_accuracy": 0.125,
        "unheard_voices": False, "cells": cells,
    }  # fmt: skip
    described = {name: cell_named(name, models) for name in cells}
    card["budget_share"] = max((each["budget_share"] for each in described.values()), default=0.0)
    card["num_speech"] = round(NUM_TRAIN * float(card["budget_share"]))
    write_lines(folder / "gold.jsonl", gold)
    (folder / "study.json").write_text(json.dumps(card | study), encoding="utf-8")
    for number in range(3 if audio else 0):
        write_tone(folder / f"audio/{number}.wav")
    for name in cells:
        write_cell(folder, name, described[name], rights[name], gold)
    return folder


def write_cell(
    folder: Path, name: str, described: dict[str, Any], rights: tuple[float, float], gold: list[dict[str, Any]]
) -> None:
    """One cell: what it is, its answers to the gold rows, their scores."""
    num_clips = round(NUM_TRAIN * described["budget_share"])
    cell = {
        **{key: described[key] for key in ("name", "scheme", "size", "budget_share", "seed", "sources", "model_name")},
        "seconds": 60.0 + num_clips / 10, "num_text_rows": NUM_TRAIN, "num_speech_rows": num_clips,
        "speech_ids": [f"t{number}" for number in range(num_clips)], "speech_seconds": 2.5 * num_clips,
        "versions": {"sottovoce": "0.1.0", "torch": "2.13"}, "data": {"manifest": "home.jsonl", "sha256": "a" * 64},
    }  # fmt: skip
    easy, own = random.Random("easy"), random.Random(name)
    ease = [easy.random() for _ in gold]
    for modality, share in zip(("speech", "text"), rights, strict=True):
        order = sorted(range(len(gold)), key=lambda place: ease[place] + own.gauss(0, 0.08))
        right = set(order[: round(share * len(gold))])
        answers = [_answer(row, place in right, own) for place, row in enumerate(gold)]
        write_lines(folder / f"cells/{name}/predictions-{modality}.jsonl", answers)
    (folder / f"cells/{name}/cell.json").write_text(json.dumps(cell), encoding="utf-8")
    score_cell(folder, name)


def _answer(row: dict[str, Any], right: bool, rng: random.Random) -> dict[str, Any]:
    frame = {key: row[key] for key in ("scenario", "action", "entities")}
    if not right and rng.random() < 0.05:
        empty = {"scenario": "", "action": "", "entities": []}
        return {"id": row["id"], **empty, "text": '{"scenario": "li', "status": "unreadable"}
    if not right:
        scenario, action = rng.choice([intent for intent in _INTENTS if intent != (row["scenario"], row["action"])])
        frame |= {"scenario": scenario, "action": action}
        if rng.random() < 0.6:
            frame["entities"] = [{"type": "room", "filler": "hallway"}]
    return {"id": row["id"], **frame, "text": json.dumps(frame), "status": "ok"}
