"""The planner: from a study's learning curves, how much speech reaches a target and what it costs. Loads no model.

Each line of the study (:mod:`sottovoce.report.curves`) is fitted together with its score without speech.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sottovoce.core.errors import UserError, nearest
from sottovoce.core.types import MODALITIES, Modality
from sottovoce.plan.curve_families import Floats
from sottovoce.plan.intents import IntentGain, first_intents, recordings_of
from sottovoce.plan.learning_curve import LEVEL, Interval, LearningCurve, NoCurveError, fit_curve
from sottovoce.report.curves import Curves, Line, Point, study_curves
from sottovoce.report.estimates import study_samples
from sottovoce.report.results import StudyResults, prediction_file, read_study
from sottovoce.report.wording import line_label, percent
from sottovoce.score.evaluate import read_answers
from sottovoce.score.files import read_gold
from sottovoce.score.intervals import Scored, figures
from sottovoce.score.matching import Answers
from sottovoce.score.metrics.registry import headline_keys
from sottovoce.study.layout import StudyFolder
from sottovoce.study.locate import find_manifest

NUM_NEXT = 100
MIN_TEST = 50
"""Test utterances that a curve needs: from so many on, the coverage of its intervals was counted."""


@dataclass(frozen=True, slots=True)
class Target:
    """A headline metric, by key, and the score (0..1) that it should reach on speech."""

    metric: str
    score: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The scores measured at one budget: means over its seeds."""

    num_recordings: int
    score: float
    num_seeds: int


@dataclass(frozen=True)
class CurvePlan:
    """What one scheme's curve predicts for one target.

    ``recordings``, ``hours`` (of speech) and ``cost`` are the totals for the target, including existing recordings;
    infinite beyond ``limit``, the most recordings that the curve supports, where the score is ``at_limit``. ``gain`` is
    that of the next ``num_next`` recordings. ``forms`` is how much each family of curves counts. ``refusal`` says why
    there is no prediction; None fields are unknown.
    """

    name: str
    scheme: str
    target: Target
    points: tuple[Measured, ...]
    limit: int | None = None
    hours_per_recording: float | None = None
    recordings: Interval | None = None
    hours: Interval | None = None
    cost: Interval | None = None
    num_next: int | None = None
    gain: Interval | None = None
    at_limit: Interval | None = None
    forms: dict[str, float] | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """A score on speech (0..1, mean over seeds) reached without training recordings, to compare with a target.

    Its LEVEL interval is over the choice of test utterances and seeds.
    """

    name: str
    target: Target
    score: Interval


@dataclass(frozen=True)
class Plan:
    """All curves and targets; ``levels``, what cascades reach; and the intents to record first, for the scheme ``best``
    trained on ``num_recordings``."""

    study: str
    level: float
    cost_per_hour: float | None
    curves: tuple[CurvePlan, ...]
    best: str
    num_recordings: int
    intents: tuple[IntentGain, ...]
    levels: tuple[Level, ...] = ()


def parse_target(text: str) -> Target:
    """A target from ``slu_f1=0.75``.

    Raises:
        UserError: it does not have that form, the metric is unknown, or the score is not between 0 and 1.
    """
    name, equals, number = text.partition("=")
    if not equals or name not in headline_keys():
        advice = nearest(name, headline_keys()) if equals else "write for example slu_f1=0.75"
        raise UserError(f"{text!r} is not a target", advice)
    try:
        score = float(number)
    except ValueError:
        score = -1.0
    if not 0 < score < 1:
        raise UserError(f"{text!r}: the score must be between 0 and 1", "write for example slu_f1=0.75")
    return Target(name, score)


def make_plan(
    folder: Path, targets: Sequence[Target], scheme: str | None = None, cost_per_hour: float | None = None
) -> Plan:
    """Fits the curves of a study folder and reads the targets off them.

    Args:
        folder: the study's.
        targets: at least one.
        scheme: only this scheme's curves.
        cost_per_hour: for an hour of recorded speech, in any currency.

    Raises:
        UserError: not a study, a damaged file, no finished cell of that scheme with speech, or a cost of 0 or less.
    """
    if cost_per_hour is not None and cost_per_hour <= 0:
        raise UserError(f"an hour of speech cannot cost {cost_per_hour:g}", "give a cost above 0, or none")
    results = read_study(folder)
    curves = study_curves(results, study_samples(results))
    wanted = _spoken_lines(curves, folder, scheme)
    plans = tuple(plan for line in wanted for plan in _plans(curves, line, targets, cost_per_hour))
    best = _best(wanted, targets[0].metric)
    intents = _intents(results, best, folder)
    levels = tuple(level for line in curves.cascades for level in _levels(curves, line, targets))
    after = best.drawn[-1].num_clips
    return Plan(results.name, LEVEL, cost_per_hour, plans, _label(curves, best), after, intents, levels)


def gains_by_intent(folder: Path) -> dict[str, float]:
    """The gain from recording each intent (:class:`IntentGain`); needs no curves, so one budget is enough.

    Raises:
        UserError: not a study, a damaged file, or no finished cell with speech.
    """
    results = read_study(folder)
    best = _best(_spoken_lines(study_curves(results, study_samples(results)), folder), "intent_accuracy")
    return {each.intent: each.gain for each in _intents(results, best, folder)}


def _spoken_lines(curves: Curves, folder: Path, scheme: str | None = None) -> list[Line]:
    lines = [line for line in curves.budgeted if line.last and line.last.share]
    if not lines:
        raise UserError(f"{folder}: no finished cell was trained on speech", "finish the study first")
    wanted = [line for line in lines if scheme in (None, line.scheme)]
    if not wanted:
        known = {line.scheme for line in lines}
        raise UserError(f"{folder}: no finished cell of scheme {scheme!r} with speech", nearest(str(scheme), known))
    return wanted


def _best(lines: Sequence[Line], metric: str) -> Line:
    return max(lines, key=lambda line: line.drawn[-1].speech[headline_keys().index(metric)].mean)


def _intents(results: StudyResults, best: Line, folder: Path) -> tuple[IntentGain, ...]:
    last = best.drawn[-1]
    gold = read_gold(StudyFolder(folder).gold)
    answers: list[dict[Modality, Answers]] = [
        {each: read_answers(prediction_file(results, cell, each), gold, lambda _: None) for each in MODALITIES}
        for cell in last.finished
    ]
    data = last.finished[0].data
    manifest = find_manifest(folder, data.get("manifest", ""), data.get("sha256", ""))
    return tuple(first_intents(answers, recordings_of(last.finished, manifest)))


def _plans(curves: Curves, line: Line, targets: Sequence[Target], cost_per_hour: float | None) -> Iterator[CurvePlan]:
    fits = {metric: _fit(curves, line, metric) for metric in {target.metric for target in targets}}
    each = _hours_per_recording(line)
    for target in targets:
        fitted, place = fits[target.metric], headline_keys().index(target.metric)
        points = tuple(
            Measured(_num_recordings(point), point.speech[place].mean, point.speech[place].num_seeds)
            for point in line.drawn
        )
        plan = CurvePlan(_label(curves, line), line.scheme, target, points)
        if isinstance(fitted, NoCurveError):
            yield replace(plan, refusal=str(fitted))
            continue
        largest = int(fitted.largest)
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
            forms=fitted.weights,
            refusal=_refusal(fitted, recordings, at_limit),
        )


def _levels(curves: Curves, line: Line, targets: Sequence[Target]) -> Iterator[Level]:
    if (last := line.last) is None:
        return
    for target in targets:
        seen = last.speech[headline_keys().index(target.metric)]
        yield Level(_label(curves, line), target, Interval(seen.mean, *seen.source.bounds(LEVEL)))


def _fit(curves: Curves, line: Line, metric: str) -> LearningCurve | NoCurveError:
    trained = [(_num_recordings(point), cell) for point in line.drawn for cell in point.finished]
    numbers, seeds = [number for number, _ in trained], [cell.seed for _, cell in trained]
    samples, place = [curves.samples[cell.name, "speech"] for _, cell in trained], headline_keys().index(metric)
    scores = [float(each.figures[place]) for each in samples]
    number = min(figures([each])[place].number for each in samples)
    try:
        curve = fit_curve(numbers, seeds, scores, covariance(samples, place))
    except NoCurveError as error:
        return error
    if number < MIN_TEST:
        return NoCurveError(f"measured on {number} test utterances; a curve needs {MIN_TEST}")
    return curve


def covariance(samples: Sequence[Scored], place: int) -> Floats:
    """Of the scores of several trainings over the choice of test utterances, in the metric of that place.

    All trainings get the mean variance and the mean covariance. A training's own would go with its very score, as
    p (1 - p) does, and a fit that trusts low scores more ends up below them all (Peelle's puzzle, 1987). Variances are
    those of smoothed shares: a score of 0 or 1 varies over no utterances that were tested.
    """
    influence = np.stack([each.influence[:, place] for each in samples], axis=1)
    number, own = len(samples), float((influence**2).sum())
    shared = (float((influence.sum(axis=1) ** 2).sum()) - own) / (number * (number - 1))
    smoothed = float(np.mean([figures([each])[place].standard_error ** 2 for each in samples]))
    found: Floats = np.full((number, number), shared) + np.eye(number) * (max(smoothed, own / number) - shared)
    return found


def _num_recordings(point: Point) -> int:
    """How many of the target's recordings it was trained on, a mean over seeds; those of sources do not count."""
    return point.num_clips if point.share else 0


def _hours_per_recording(line: Line) -> float | None:
    """The mean over all training recordings; None if the study lacks their lengths."""
    seconds = sum(point.speech_seconds for point in line.drawn)
    return seconds / sum(map(_num_recordings, line.drawn)) / 3600 if seconds else None


def _label(curves: Curves, line: Line) -> str:
    return line_label(curves.results, line.scheme, line.sources, line.model)


def _refusal(fitted: LearningCurve, recordings: Interval, at_limit: Interval) -> str:
    """Why the number of recordings is unknown, "" if it is known."""
    there = f"with {fitted.limit}, the most that a curve measured up to {fitted.largest:.0f} supports, it is"
    reached = f"{percent(at_limit.value)} % ({percent(at_limit.low)} to {percent(at_limit.high)})"
    if recordings.low == math.inf:
        return f"not within {fitted.limit} recordings: {there} {reached}"
    if recordings.low == 0 and recordings.high == math.inf:
        return f"unknown: anything from none to more than {fitted.limit} recordings may be needed"
    return ""
