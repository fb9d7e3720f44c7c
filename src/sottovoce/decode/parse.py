"""Parses a model's raw text into a frame. Unreadable text is a status, never an exception, and is never dropped."""

from __future__ import annotations

import json
from typing import Any

from sottovoce.core.types import Entity, Frame, Prediction


def parse_answer(utterance_id: str, raw: str) -> Prediction:
    """Reads the first JSON object of an answer; text before and after it is ignored.

    An answer is ``ok`` if it has the strings ``scenario`` and ``action`` and a list ``entities`` of objects from slot
    types to fillers (a missing list counts as empty); anything else is ``unreadable``.
    """
    frame = _frame(_first_object(raw))
    return Prediction(utterance_id, raw, "unreadable" if frame is None else "ok", frame)


def _first_object(raw: str) -> Any:
    start = raw.find("{")
    if start < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(raw, start)[0]
    except (ValueError, RecursionError):  # also for numbers with too many digits and brackets nested too deep
        return None


def _frame(answer: Any) -> Frame | None:
    if not isinstance(answer, dict):
        return None
    scenario, action, listed = answer.get("scenario"), answer.get("action"), answer.get("entities", [])
    if not (isinstance(scenario, str) and isinstance(action, str) and isinstance(listed, list)):
        return None
    entities = []
    for entry in listed:
        if not isinstance(entry, dict) or not all(isinstance(filler, str) for filler in entry.values()):
            return None
        entities += [Entity(slot, filler) for slot, filler in entry.items()]
    return Frame(scenario, action, tuple(entities))
