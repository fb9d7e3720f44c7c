"""Synthetic studies of several budgets and seeds: each answer is right with the probability that a curve gives."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from study_folder import ACTIONS, ROOMS, answer, scores, write_lines

BUDGETS = (0, 20, 40, 80, 160)
SECONDS = 3.0  # each recording


def rising(num_recordings: int) -> float:
    """A score that rises from 0.3 without recordings to 0.62 with 160."""
    return 0.8 - 0.5 * (1 + num_recordings / 40) ** -0.6


def row(number: int, split: str) -> dict[str, Any]:
    """A row of a manifest; every fourth has the same intent, and of the training ids the number is the end."""
    room, action = ROOMS[number // 4 % 4], ACTIONS[number % 4]
    return {
        "id": f"{split[0]}{number}", "locale": "en-US", "split": split, "scenario": "light", "action": action,
        "transcript": f"lamp {number}: would you put the {room} {action}",
        "entities": [{"type": "room", "filler": room}],
    }  # fmt: skip


def write_curve_study(
    folder: Path,
    curves: Mapping[str, Callable[[int], float]] | None = None,
    budgets: Sequence[int] = BUDGETS,
    seeds: Sequence[int] = (0, 1, 2),
    num_test: int = 400,
) -> Path:
    """Writes a study of text_only and the schemes of ``curves``; from text 85 % of every intent are right."""
    folder.mkdir(parents=True, exist_ok=True)
    gold = [row(number, "test") for number in range(num_test)]
    write_lines(folder / "gold.jsonl", gold)
    write_lines(folder / "manifest.jsonl", [row(number, "train") for number in range(max(budgets))])
    names = []
    for scheme, curve in (curves or {"curriculum": rising}).items():
        for seed in seeds:
            for budget in budgets:
                parts = (scheme, f"{budget}utterances") if budget else ("text_only",)
                name = "-".join((*parts, f"seed{seed}"))
                if name not in names:
                    names.append(name)
                    _write_cell(folder, name, parts[0], budget, seed, curve(budget), gold)
    study = {
        "name": "lamps", "title": "Lamps", "recipe": "lamps.yaml", "created": "2026-03-02T10:20:30+00:00",
        "machine": "2 CPU cores", "model": "embedded", "corpus": "lamps", "num_train": 400, "num_test": num_test,
        "budget_share": 0.4, "num_speech": max(budgets), "cells": names,
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    return folder


def _write_cell(
    folder: Path, name: str, scheme: str, budget: int, seed: int, chance: float, gold: list[dict[str, Any]]
) -> None:
    cell = {
        "name": name, "scheme": scheme, "budget_share": budget / 400, "seed": seed, "num_speech_rows": budget,
        "speech_ids": [f"t{number}" for number in range(budget)], "speech_seconds": SECONDS * budget,
        "data": {"manifest": str(folder / "manifest.jsonl")},
    }  # fmt: skip
    rng, figures = random.Random(f"{scheme} {budget} {seed}"), {}
    for modality in ("speech", "text"):
        marks = [rng.random() < (0.85 if modality == "text" else chance * odds(each)) for each in gold]
        answers = [answer(each, mark) for each, mark in zip(gold, marks, strict=True)]
        write_lines(folder / f"cells/{name}/predictions-{modality}.jsonl", answers)
        figures[modality] = scores(round(100 * sum(marks) / len(gold)))
    (folder / f"cells/{name}/cell.json").write_text(json.dumps(cell), encoding="utf-8")
    (folder / f"cells/{name}/scores.json").write_text(json.dumps(figures), encoding="utf-8")


def odds(gold: dict[str, Any]) -> float:
    """Spoken, "dim" is understood a third as often as the other three actions; the mean is 1."""
    return 0.4 if gold["action"] == "dim" else 1.2
