"""A plan as tables, sentences and JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from sottovoce.plan.learning_curve import Interval
from sottovoce.plan.planner import NUM_NEXT, CurvePlan, Level, Plan
from sottovoce.report.wording import NONE, percent, signed_points
from sottovoce.score.metrics.registry import metric_named
from sottovoce.score.tables import printable

MOST_INTENTS = 10
FEW_TEST = 10
CLEAR_FORM = 0.8  # how much one family of curves must count


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values, with its sentences; a number beyond what a curve supports is None."""
    return {**_finite(asdict(plan)), "sentences": list(plan_sentences(plan))}


def plan_tables(plan: Plan) -> Iterator[Table]:
    """One row per curve and target; then the intents to record first."""
    title = f"{plan.study}, {100 * plan.level:.0f} % intervals in brackets"
    table = _table(title, "scheme", "target", "recordings", "hours of\nspeech", "cost", "next\nrecordings:\npoints")
    for curve in plan.curves:
        scheme = f"{curve.name}\nup to {curve.points[-1].num_recordings}"
        target = f"{metric_named(curve.target.metric).label}\n{percent(curve.target.score)} %"
        needed = [NONE] * 3
        if not curve.refusal:
            needed = [NONE if part is None else part.text("\n[", ", ", "]", ">") for part in _parts(curve, plan)]
        gain = NONE
        if curve.gain is not None:
            value, low, high = _signed(curve.gain)
            gain = f"{curve.num_next}: {value}\n[{low}, {high}]"
        table.add_row(printable(scheme), target, *map(Text, needed), Text(gain))
    for level in plan.levels:
        target = f"{metric_named(level.target.metric).label}\n{percent(level.target.score)} %"
        reached = f"none: {percent(level.score.value)} %\n[{percent(level.score.low)}, {percent(level.score.high)}]"
        table.add_row(printable(level.name), target, Text(reached), NONE, NONE, NONE)
    yield table
    title = f"intents to record first, {plan.best} with {plan.num_recordings} recordings"
    heads = ("intent", "test\nitems", "speech\n%", "text\n%", "to gain,\npoints", "recorded")
    table = _table(title, *heads)
    for row in plan.intents[:MOST_INTENTS]:
        bounds = f"{signed_points(row.gain)} [{signed_points(row.low)}, {signed_points(row.high)}]"
        recorded = NONE if row.num_recordings is None else f"{row.num_recordings:.3g}"
        accuracies = percent(row.speech_accuracy), percent(row.text_accuracy)
        table.add_row(printable(row.intent), str(row.num_test), *accuracies, Text(bounds), recorded)
    yield table


def plan_sentences(plan: Plan) -> Iterator[str]:
    """The plan's conclusions and how far to trust them."""
    for curve in plan.curves:
        yield _target_sentence(curve, plan)
    for level in plan.levels:
        yield _level_sentence(level)
    for name, metric in dict.fromkeys((curve.name, curve.target.metric) for curve in plan.curves):
        curve = next(each for each in plan.curves if (each.name, each.target.metric) == (name, metric))
        if curve.gain is not None:
            yield _gain_sentence(curve, curve.gain)
    for curve in {each.name: each for each in plan.curves if each.limit}.values():
        if all(point.num_seeds == 1 for point in curve.points):
            unknown = "the spread over seeds is assumed, not measured"
            yield f"{curve.name} was trained with one seed: {unknown}; give the recipe several seeds."
    if plan.cost_per_hour is not None:
        if any(curve.hours for curve in plan.curves):
            yield "The cost is per hour of recorded speech, not per hour of work to record and label it."
        elif any(curve.limit for curve in plan.curves):
            yield "No cost: the study does not record the length of its recordings."
    yield from _intent_sentences(plan)


def _finite(value: Any) -> Any:
    """Replaces infinity, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if value == math.inf else value


def _target_sentence(curve: CurvePlan, plan: Plan) -> str:
    start = f"{curve.name}, {metric_named(curve.target.metric).label} {percent(curve.target.score)} %"
    if curve.refusal:
        return f"{start}: {curve.refusal}."
    if curve.recordings is not None and curve.recordings.high == 0:
        return f"{start}: reached without recordings."
    units = ("{} recordings", "{} hours of speech", "at a cost of {}")
    parts = zip(units, _parts(curve, plan), strict=True)
    shown = [unit.format(part.text(" (", " to ", ")", "more than ")) for unit, part in parts if part is not None]
    return f"{start}: {', '.join(shown)}."


def _level_sentence(level: Level) -> str:
    low, high, wanted = level.score.low, level.score.high, level.target.score
    verdict = "reached" if low >= wanted else "not reached" if high < wanted else "it is unclear whether it is reached"
    return (
        f"{level.name}, {metric_named(level.target.metric).label} {percent(wanted)} %: {verdict} "
        f"without training speech, at {percent(level.score.value)} % ({percent(low)} to {percent(high)})."
    )


def _gain_sentence(curve: CurvePlan, gain: Interval) -> str:
    less = ", as many as its curve supports," if curve.num_next != NUM_NEXT else ""
    nothing = "" if gain.low > 0 else "; the gain may be zero"
    value, low, high = _signed(gain)
    what = f"{value} points of {metric_named(curve.target.metric).label} ({low} to {high})"
    return f"{curve.name}: the next {curve.num_next} recordings{less} add {what}{nothing}.{_form_unclear(curve)}"


def _form_unclear(curve: CurvePlan) -> str:
    """That the gain depends on the form of the curve, if no form predicts the budgets clearly best."""
    if curve.forms is None or max(curve.forms.values()) >= CLEAR_FORM:
        return ""
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in curve.forms.items())
    return f" The form of the curve is not clear ({shares}); if it is level from here on, they add less."


def _intent_sentences(plan: Plan) -> Iterator[str]:
    sure = [row for row in plan.intents[:MOST_INTENTS] if row.low > 0]
    number = sum(row.num_test for row in plan.intents)
    if not sure:
        yield f"No intent stands out to be recorded first: {number} test items are too few to tell."
        return
    yield (
        f"Record first: {', '.join(row.intent for row in sure)}. The points to gain are how much intent accuracy would "
        "rise if their speech were understood as well as their text."
    )
    if few := [row for row in sure if row.num_test < FEW_TEST]:
        yield f"{len(few)} of these have fewer than {FEW_TEST} test items, too few to rely on their order."
    if plan.intents[0].num_recordings is None:
        yield "The number of recordings of each intent is not shown: the training manifest was not found."


@dataclass(frozen=True)
class _Part:
    """One of recordings, hours and cost, with what it comes to at the curve's limit."""

    estimate: Interval
    limit: float
    digits: int

    def text(self, before: str, between: str, after: str, more: str) -> str:
        """The value and its interval; beyond the limit, numbers are shown as more than the limit."""
        value, low, high = (
            f"{more}{self._number(self.limit)}" if each == math.inf else self._number(each)
            for each in (self.estimate.value, self.estimate.low, self.estimate.high)
        )
        return f"{value}{before}{low}{between}{high}{after}"

    def _number(self, value: float) -> str:
        return f"{value:.{self.digits}f}" if self.digits else str(math.ceil(value))


def _parts(curve: CurvePlan, plan: Plan) -> tuple[_Part | None, _Part | None, _Part | None]:
    if curve.recordings is None or curve.limit is None:
        return None, None, None
    hours = curve.limit * (curve.hours_per_recording or 0.0)
    return (
        _Part(curve.recordings, curve.limit, 0),
        None if curve.hours is None else _Part(curve.hours, hours, 3),
        None if curve.cost is None else _Part(curve.cost, hours * (plan.cost_per_hour or 0.0), 2),
    )


def _signed(gain: Interval) -> tuple[str, str, str]:
    return signed_points(gain.value), signed_points(gain.low), signed_points(gain.high)


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", vertical="bottom")
    return table
