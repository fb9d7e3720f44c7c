"""Scores by group: by label, slot, microphone, speaker or length; and which intents are confused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from sottovoce.core.errors import UserError
from sottovoce.core.types import Frame
from sottovoce.score.counts import counts_tables
from sottovoce.score.files import GoldItem
from sottovoce.score.matching import Answer, same_intent
from sottovoce.score.metrics import registry
from sottovoce.score.metrics.metric import Metric

_HEADSET = "-headset"
_WORD_BOUNDS = (3, 6, 9, 14)
_SECOND_BOUNDS = (2, 4, 8)
Groups = dict[str, list[Answer]]


def breakdown(answers: Sequence[Answer], by: str) -> dict[str, dict[str, Any]]:
    """Every metric for each group, in both views.

    Args:
        by: one of BY. ``length`` is the transcript's number of words, ``seconds`` the recording's length.
            ``microphone`` uses SLURP's names: those of its headset recordings end in "-headset". ``slot`` keeps the
            entities of one type in gold and predictions; its groups have the entity metrics, and ``num_entities``
            counts gold entities.

    Returns:
        ``{group: {"num_items": ..., "official": {...}, "strict": {...}}}``: lengths in order, other groups by size.

    Raises:
        UserError: there is no such breakdown, or the gold file lacks what it needs.
    """
    if by == "slot":
        return _by_slot(answers)
    if by not in _NAMES:
        raise UserError(f"there is no breakdown by {by!r}", f"it is one of {', '.join(BY)}")
    if by == "microphone" and not any(_has_headset(answer.item) for answer in answers):
        raise UserError("no recording's name shows the microphone", "SLURP's names do, in predictions keyed by file")
    groups: defaultdict[tuple[int, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[_NAMES[by](answer.item)].append(answer)
    if set(groups) == {_UNKNOWN}:
        raise UserError(f"the gold file has no {by} for any item", "break the scores down by something else")
    ordered = sorted(groups, key=lambda name: (name[0], -len(groups[name]), name[1]))
    return {name[1]: {"num_items": len(groups[name])} | _views(groups[name]) for name in ordered}


def confusions(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Wrong intents in the strict view, the most frequent first.

    Returns:
        rows with ``gold``, ``predicted`` (an intent, or "(missing)", "(unreadable)", "(duplicate)"), ``count`` (gold
        items) and ``share_of_gold`` (0..1, of the items with that gold intent).
    """
    wrong: Counter[tuple[str, str]] = Counter()
    totals = Counter(answer.item.frame.intent for answer in answers)
    for answer in answers:
        gold, predicted = answer.item.frame, answer.given
        if predicted is None:
            wrong[gold.intent, f"({answer.status})"] += 1
        elif not same_intent(gold, predicted):
            wrong[gold.intent, predicted.intent] += 1
    return [
        {"gold": gold, "predicted": predicted, "count": count, "share_of_gold": count / totals[gold]}
        for (gold, predicted), count in sorted(wrong.items(), key=lambda row: (-row[1], row[0]))
    ]


def _views(answers: Sequence[Answer], metrics: Sequence[Metric] | None = None) -> dict[str, Any]:
    """The metrics in both views; None: all metrics."""
    return {view: table.figures() for view, table in counts_tables(answers, metrics).items()}


def _by_slot(answers: Sequence[Answer]) -> dict[str, dict[str, Any]]:
    groups: defaultdict[str, list[Answer]] = defaultdict(list)
    numbers: Counter[str] = Counter()
    for answer in answers:
        gold, predicted = answer.item.frame, answer.frame
        numbers.update(entity.type for entity in gold.entities)
        for slot in {entity.type for frame in (gold, predicted) if frame is not None for entity in frame.entities}:
            item = replace(answer.item, frame=_only(gold, slot))
            groups[slot].append(replace(answer, item=item, frame=None if predicted is None else _only(predicted, slot)))
    if not groups:
        raise UserError("neither gold nor predictions have entities", "break the scores down by something else")
    ordered = sorted(groups, key=lambda slot: (-numbers[slot], slot))
    metrics = [metric for metric in registry.METRICS if metric.of == "entities"]
    return {slot: {"num_entities": numbers[slot]} | _views(groups[slot], metrics) for slot in ordered}


def _only(frame: Frame, slot: str) -> Frame:
    return replace(frame, entities=tuple(entity for entity in frame.entities if entity.type == slot))


def _has_headset(item: GoldItem) -> bool:
    return item.recording is not None and PurePath(item.recording).stem.endswith(_HEADSET)


def _bucket(value: float, bounds: Sequence[int], unit: str) -> tuple[int, str]:
    """The index and name of the value's bucket: the first whose upper bound (inclusive) is not below it."""
    place = next((index for index, bound in enumerate(bounds) if value <= bound), len(bounds))
    if place == len(bounds):
        return place, f"over {bounds[-1]} {unit}"
    return place, f"up to {bounds[0]} {unit}" if place == 0 else f"over {bounds[place - 1]} to {bounds[place]} {unit}"


def _named(name: str | None) -> tuple[int, str]:
    return (0, name) if name else _UNKNOWN


_UNKNOWN = (1000, "(unknown)")  # after all other groups
_NAMES: dict[str, Callable[[GoldItem], tuple[int, str]]] = {
    "intent": lambda item: _named(item.frame.intent),
    "scenario": lambda item: _named(item.frame.scenario),
    "microphone": lambda item: _named(item.recording and ("headset" if _has_headset(item) else "far-field")),
    "speaker": lambda item: _named(item.speaker),
    "locale": lambda item: _named(item.locale),
    "length": lambda item: _bucket(len(item.transcript.split()), _WORD_BOUNDS, "words"),
    "seconds": lambda item: _UNKNOWN if item.seconds is None else _bucket(item.seconds, _SECOND_BOUNDS, "s"),
}
BY = (*_NAMES, "slot")
