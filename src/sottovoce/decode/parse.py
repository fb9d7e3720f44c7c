"""Parses a model's raw text into a frame. Unreadable text is a status, never an exception, and is never dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sottovoce.core.types import Entity, Frame, Labels, Prediction


class _Number(str):
    """A JSON number as it was written: ``7.50`` stays ``7.50``, and no number has too many digits."""


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number)


def parse_answer(utterance_id: str, raw: str, known: Labels | None = None) -> Prediction:
    """Reads the first JSON object of an answer; text before and after it, such as a fence of backticks, is ignored.

    An answer is ``ok`` if it has the strings ``scenario`` and ``action``, or ``unknown_label`` if it names others than
    the ``known`` labels (None: none is checked); without these strings it is ``unreadable``. If the scenario is
    ``no_speech`` or ``out_of_scope`` and the action empty, that is the status, and there are no entities.

    ``entities`` is a list of objects from slot types to fillers, or one such object. A filler is a string, a number, a
    list of these (one entity each) or null (none). Any other filler makes an entity with an empty filler, and what is
    no object an entity with an empty type too: they are wrong wherever entities are scored, and the intent still
    counts.
    """
    frame = _frame(_first_object(raw))
    if frame is None:
        return Prediction(utterance_id, raw, "unreadable", None)
    if frame.is_rejection:
        return Prediction(utterance_id, raw, "no_speech" if frame.scenario == "no_speech" else "out_of_scope", frame)
    return Prediction(utterance_id, raw, "ok" if known is None or known.cover(frame) else "unknown_label", frame)


def _first_object(raw: str) -> Any:
    start = raw.find("{")
    if start < 0:
        return None
    try:
        return _DECODER.raw_decode(raw, start)[0]
    except (ValueError, RecursionError):  # also brackets nested too deep
        return None


def _frame(answer: Any) -> Frame | None:
    if not isinstance(answer, dict):
        return None
    scenario, action = answer.get("scenario"), answer.get("action")
    if type(scenario) is not str or type(action) is not str:  # a number is no label
        return None
    frame = Frame(scenario, action)
    return frame if frame.is_rejection else replace(frame, entities=tuple(_entities(answer.get("entities"))))


def _entities(listed: Any) -> Iterator[Entity]:
    for entry in listed if isinstance(listed, list) else [listed]:
        if isinstance(entry, dict):
            for slot, filler in entry.items():
                for each in filler if isinstance(filler, list) else [filler]:
                    if each is not None:
                        yield Entity(slot, str(each) if isinstance(each, str) else "")
        elif entry is not None:
            yield Entity("", "")
