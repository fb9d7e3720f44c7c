"""Short ways to write down gold items, predictions and the files of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sottovoce.core.types import Entity, Frame, ParseStatus
from sottovoce.score.files import Gold, GoldItem, PredictionRow
from sottovoce.score.matching import Answer, Answers, match_answers


def frame(intent: str, *entities: str) -> Frame:
    """``frame("alarm set", "time:five am")``."""
    scenario, action = intent.split() if intent else ("", "")
    return Frame(scenario, action, tuple(Entity(*entity.split(":")) for entity in entities))


def answer(gold: Frame, predicted: Frame | None, said: str = "words", status: Any = "", **item: Any) -> Answer:
    """An answered item; the key and so the utterance are what was said unless given."""
    gold_item = GoldItem(**{"key": said, "frame": gold, "transcript": said} | item)
    return Answer(gold_item, status or ("missing" if predicted is None else "ok"), predicted)


def matched(gold: list[Frame], predicted: list[Frame | None], status: ParseStatus = "ok") -> Answers:
    """Gold items "0", "1", ... and a prediction for each that is not None."""
    items = {str(number): GoldItem(str(number), each, f"say {number}") for number, each in enumerate(gold)}
    rows = [
        PredictionRow("id", str(number), each, None, status)
        for number, each in enumerate(predicted)
        if each is not None
    ]
    return match_answers(Gold(Path("gold.jsonl"), items, {}), rows)


def manifest_row(number: int, **changes: Any) -> dict[str, Any]:
    """A manifest's row: "wake me at N", alarm set, time N."""
    return {
        "id": f"u{number}",
        "locale": "en-US",
        "split": "test",
        "transcript": f"wake me at {number}",
        "scenario": "alarm",
        "action": "set",
        "entities": [{"type": "time", "filler": str(number)}],
    } | changes


def prediction_row(number: int, **changes: Any) -> dict[str, Any]:
    """The right answer to ``manifest_row``."""
    filler = {"type": "time", "filler": str(number)}
    return {"id": f"u{number}", "scenario": "alarm", "action": "set", "entities": [filler]} | changes


def write_rows(path: Path, *rows: dict[str, Any] | str) -> Path:
    """A JSONL file; a row that is text is written as it stands."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
