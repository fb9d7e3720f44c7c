"""The planner: from a study's learning curves to how much speech reaches a target, and what it costs. Loads no model.

A curve belongs to a scheme, under one model and one mixture of source languages: its cells at all budgets and seeds. At
no recordings at all most schemes are text-only fine-tuning, whose cells then stand for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import get_args

import numpy as np

from sottovoce.data.mixture import TARGET
from sottovoce.errors import UserError, nearest
from sottovoce.evaluate.answers import Answers, match_answers
from sottovoce.evaluate.counts_table import FIGURES, Floats, counts_table, figures_of
from sottovoce.evaluate.files import Gold, read_gold, stream_predictions
from sottovoce.evaluate.learning_curve import LEVEL, Estimate, LearningCurve, NoCurveError, fit_curve, score_covariance
from sottovoce.recipe import Train
from sottovoce.study.first_intents import IntentGain, first_intents, recordings_of
from sottovoce.study.results import CellResult, Metric, StudyResults, read_study
from sottovoce.study.table import percent
from sottovoce.train.schemes import scheme_named
from sottovoce.types import Modality

METRICS: tuple[Metric, ...] = get_args(Metric)
NUM_NEXT = 100


@dataclass(frozen=True, slots=True)
class Target:
    """A metric and the score, 0..1, that it should reach on speech."""

    metric: Metric
    score: float


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one budget: means over its seeds."""

    num_recordings: float
    score: float
    num_seeds: int


@dataclass(frozen=True)
class CurvePlan:
    """What one scheme's curve says about one target.

    ``recordings``, ``hours`` (of speech) and ``cost`` are for the target in all, those already there included; infinite
    beyond ``limit``, the most recordings that the curve supports, with which the score is ``at_limit``. ``gain`` is
    that of the next ``num_next`` recordings. ``refusal`` says why the target is not answered; None: not known.
    """

    name: str
    scheme: str
    target: Target
    points: tuple[Point, ...]
    limit: int | None = None
    hours_per_recording: float | None = None
    recordings: Estimate | None = None
    hours: Estimate | None = None
    cost: Estimate | None = None
    num_next: int | None = None
    gain: Estimate | None = None
    at_limit: Estimate | None = None
    refusal: str = ""


@dataclass(frozen=True)
class Plan:
    """All curves and targets; the intents to record first with the scheme ``best``, and after how many recordings."""

    study: str
    level: float
    cost_per_hour: float | None
    curves: tuple[CurvePlan, ...]
    best: str
    num_recordings: float
    intents: tuple[IntentGain, ...]


@dataclass(frozen=True)
class _Curve:
    """The cells of one curve, those without recordings first, and their answers."""

    name: str
    scheme: str
    cells: tuple[CellResult, ...]
    gold: Gold
    folder: Path

    def answers(self, cell: CellResult, modality: Modality) -> Answers:
        path = self.folder / "cells" / cell.name / f"predictions-{modality}.jsonl"
        return match_answers(self.gold, stream_predictions(path))

    @cached_property
    def sums(self) -> list[Floats]:
        """Of each cell the counts of each utterance, from speech."""
        return [counts_table(self.answers(cell, "speech").all, "strict").per_utterance() for cell in self.cells]

    @property
    def largest(self) -> tuple[CellResult, ...]:
        """The seeds of the largest budget."""
        budget = max(self.cells, key=lambda cell: (cell.budget_share, cell.num_clips)).budget_share
        return tuple(cell for cell in self.cells if cell.budget_share == budget and cell.num_clips)

    @property
    def hours_per_recording(self) -> float | None:
        """The mean over all recordings trained on; None where the study does not say how long they are."""
        seconds = sum(cell.speech_seconds for cell in self.cells)
        return seconds / sum(cell.num_clips for cell in self.cells) / 3600 if seconds else None


def parse_target(text: str) -> Target:
    """A target from ``slu_f1=0.75``.

    Raises:
        UserError: it is not of that form, the metric is not known, or the score is not between 0 and 1.
    """
    name, equals, number = text.partition("=")
    metric = next((metric for metric in METRICS if metric == name), None)
    if not equals or metric is None:
        advice = nearest(name, METRICS) if equals else "write for example slu_f1=0.75"
        raise UserError(f"{text!r} is no target", advice)
    try:
        score = float(number)
    except ValueError:
        score = -1.0
    if not 0 < score < 1:
        raise UserError(f"{text!r}: the score must lie between 0 and 1", "write for example slu_f1=0.75")
    return Target(metric, score)


def make_plan(
    folder: Path, targets: Sequence[Target], scheme: str | None = None, cost_per_hour: float | None = None
) -> Plan:
    """Fits the curves of a study folder and reads the targets off them.

    Args:
        folder: of the study.
        targets: at least one.
        scheme: only this scheme's curves.
        cost_per_hour: of an hour of recorded speech, in any currency.

    Raises:
        UserError: no study, a file of it is damaged, it has no finished cell with speech of that scheme, or a cost of
            0 or less.
    """
    if cost_per_hour is not None and cost_per_hour <= 0:
        raise UserError(f"an hour of speech cannot cost {cost_per_hour:g}", "give a cost above 0, or none")
    results = read_study(folder)
    curves = [curve for curve in _curves(results) if scheme is None or curve.scheme == scheme]
    if not curves:
        if scheme is not None and scheme not in (known := {cell.scheme for cell in results.cells if cell.num_clips}):
            raise UserError(f"{folder}: no finished cell of scheme {scheme!r} with speech", nearest(scheme, known))
        raise UserError(f"{folder}: no finished cell was trained on speech", "finish the study first")
    plans = tuple(plan for curve in curves for plan in _plans(curve, targets, cost_per_hour))
    best = max(curves, key=lambda curve: _mean_score(curve, targets[0].metric))
    largest = best.largest
    answers: list[dict[Modality, Answers]] = [
        {modality: best.answers(cell, modality) for modality in ("speech", "text")} for cell in largest
    ]
    intents = tuple(first_intents(answers, recordings_of(largest)))
    number = float(np.mean([cell.num_clips for cell in largest]))
    return Plan(results.name, LEVEL, cost_per_hour, plans, best.name, number, intents)


def _curves(results: StudyResults) -> Iterator[_Curve]:
    gold = read_gold(results.folder / "gold.jsonl")
    several = len({cell.model_name for cell in results.cells}) > 1

    def key(cell: CellResult) -> tuple[str, str, tuple[str, ...]]:
        return cell.scheme, cell.model_name, cell.sources

    for (scheme, model, sources), group in groupby(sorted(results.finished, key=key), key):
        cells = list(group)
        if not any(cell.num_clips for cell in cells):
            continue
        if all(cell.num_clips for cell in cells) and _starts_as_text_only(scheme, sources):
            cells += [c for c in results.finished if key(c) == ("text_only", model, sources)]
        name = scheme_named(scheme).label + (f" from {'+'.join(sources)}" if sources else "")
        cells.sort(key=lambda cell: (cell.num_clips, cell.seed))
        yield _Curve(name + (f", {model}" if several else ""), scheme, tuple(cells), gold, results.folder)


def _starts_as_text_only(scheme: str, sources: tuple[str, ...]) -> bool:
    """Whether the scheme without the budget's speech sees what text_only sees: all text, and no other speech."""
    parts = [part for stage in scheme_named(scheme).stages(Train(), sources) for part in stage.mixture]
    other = any(part.modality == "speech" and part.corpus != TARGET for part in parts)
    return not other and any(part.modality == "text" and part.corpus == TARGET for part in parts)


def _score_of(metric: Metric, sums: Floats) -> Floats:
    return figures_of(sums)[..., FIGURES.index(metric)]


def _mean_score(curve: _Curve, metric: Metric) -> float:
    return float(np.mean([getattr(cell.strict("speech"), metric) for cell in curve.largest]))


def _plans(curve: _Curve, targets: Sequence[Target], cost_per_hour: float | None) -> Iterator[CurvePlan]:
    fits = {metric: _fit(curve, metric) for metric in {target.metric for target in targets}}
    for target in targets:
        points, fitted = fits[target.metric]
        plan = CurvePlan(curve.name, curve.scheme, target, points)
        if isinstance(fitted, NoCurveError):
            yield replace(plan, refusal=str(fitted))
            continue
        largest, each = int(fitted.largest), curve.hours_per_recording
        after = min(largest + NUM_NEXT, fitted.limit)
        recordings, at_limit = fitted.recordings_for(target.score), fitted.score(fitted.limit)
        hours = None if each is None else recordings.times(each)
        yield replace(
            plan,
            limit=fitted.limit,
            hours_per_recording=each,
            recordings=recordings,
            hours=hours,
            cost=None if hours is None or cost_per_hour is None else hours.times(cost_per_hour),
            num_next=after - largest,
            gain=fitted.gain(largest, after),
            at_limit=at_limit,
            refusal=_refusal(fitted, recordings, at_limit),
        )


def _fit(curve: _Curve, metric: Metric) -> tuple[tuple[Point, ...], LearningCurve | NoCurveError]:
    scores = [float(_score_of(metric, sums.sum(axis=0))) for sums in curve.sums]
    covariance = score_covariance(curve.sums, lambda sums: _score_of(metric, sums))
    numbers, seeds = ([getattr(cell, name) for cell in curve.cells] for name in ("num_clips", "seed"))
    points = tuple(_points(curve.cells, scores))
    try:
        return points, fit_curve(numbers, seeds, scores, covariance)
    except NoCurveError as error:
        return points, error


def _points(cells: Sequence[CellResult], scores: Sequence[float]) -> Iterator[Point]:
    def budget(pair: tuple[CellResult, float]) -> float:
        return pair[0].budget_share if pair[0].num_clips else 0.0

    pairs = sorted(zip(cells, scores, strict=True), key=budget)
    for _, group in groupby(pairs, budget):
        alike = list(group)
        number, score = (float(np.mean(values)) for values in zip(*((c.num_clips, s) for c, s in alike), strict=True))
        yield Point(number, score, len({cell.seed for cell, _ in alike}))


def _refusal(fitted: LearningCurve, recordings: Estimate, at_limit: Estimate) -> str:
    """Why the number of recordings cannot be told, "" if it can."""
    there = f"with {fitted.limit}, the most that a curve measured up to {fitted.largest:.0f} supports, it is"
    reached = f"{percent(at_limit.value)} % ({percent(at_limit.low)} to {percent(at_limit.high)})"
    if recordings.low == math.inf:
        return f"not within {fitted.limit} recordings: {there} {reached}"
    if recordings.low == 0 and recordings.high == math.inf:
        return f"cannot be told: anything from none to more than {fitted.limit} recordings may be needed"
    return ""
