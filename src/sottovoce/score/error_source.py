"""The text-speech gap: one model answers the same utterances from gold text, through a cascade and from speech.

The cascade answers from a recogniser's transcripts. So the loss from gold text to cascade is due to recognition errors;
the loss from cascade to speech is information that the transcripts still had. A wrong answer from speech was **heard
wrong** if the model's answer from the gold text is right, and **understood wrong** if that is wrong too: more
recordings can help the first kind, more labelled text the second. All figures are strict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from rich.table import Table
from rich.text import Text

from sottovoce.score.counts import CountsTable, counts_table
from sottovoce.score.intervals import Scored, differences, figures
from sottovoce.score.matching import Answers
from sottovoce.score.metrics import registry
from sottovoce.score.metrics.metric import Floats, Metric, ratio
from sottovoce.score.statistics import LEVEL

Input = Literal["text", "cascade", "speech"]
INPUTS: dict[Input, str] = {"text": "gold text", "cascade": "cascade", "speech": "speech"}
LOSSES: dict[str, tuple[Input, Input]] = {
    "hearing": ("text", "cascade"), "using_what_was_heard": ("cascade", "speech"), "all": ("text", "speech"),
}  # fmt: skip
PARTS = ("intent", "frame")
_ERROR_COLUMNS = ("errors", "heard_wrong", "heard_wrong_in_cascade_right", "understood_wrong")


def gap_report(answers: Mapping[Input, Answers]) -> dict[str, Any]:
    """The figures of each input, the losses between them, and the wrong answers from speech by their cause.

    Args:
        answers: to the same gold items from each input.

    Returns:
        ``inputs``: for each input the strict figures (0..1) and their ``intervals``. ``losses``: for each of LOSSES and
        each figure the ``difference`` (0..1) and its ``interval``. ``errors``: for intents and whole frames the counts
        of ``_ERROR_COLUMNS`` and ``heard_wrong_interval``, the interval of their share of the errors (None without
        errors). ``sentences``: the conclusions in words. Intervals are over the choice of utterances.

    Raises:
        ValueError: the answers are to different items.
    """
    tables = {name: counts_table(answers[name].all, "strict") for name in INPUTS}
    if len({tuple(answer.item.key for answer in answers[name].all) for name in INPUTS}) > 1:
        raise ValueError("answers to different items")
    errors = {part: _errors(tables, part) for part in PARTS}
    scored = {name: table.scored() for name, table in tables.items()}
    named = tables["text"].named
    seen = {name: named(figures([each])) for name, each in scored.items()}
    lost = {name: named(differences([scored[one] - scored[other]])) for name, (one, other) in LOSSES.items()}
    return {
        "num_items": len(answers["speech"].all),
        "level": LEVEL,
        "inputs": {
            name: {key: each.value for key, each in found.items()}
            | {"intervals": {key: list(each.bounds(LEVEL)) for key, each in found.items()}}
            for name, found in seen.items()
        },
        "losses": {
            name: {key: {"difference": each.value, "interval": list(each.bounds(LEVEL))} for key, each in found.items()}
            for name, found in lost.items()
        },
        "errors": errors,
        "sentences": _sentences(errors["intent"]),
    }


def gap_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """The inputs' scores with intervals and the losses between them; then the errors by cause."""
    metrics = registry.in_tables()
    heads = (metric.heading for metric in metrics)
    table = Table("answered from", *heads, title="strict scores, 95 % intervals", title_justify="left")
    for source, shown in INPUTS.items():
        figures = report["inputs"][source]
        cells = [_with_interval(each, figures[each.key], figures["intervals"][each.key]) for each in metrics]
        table.add_row(shown, *cells)
    table.add_section()
    for name, (upper, lower) in LOSSES.items():
        losses = [(each, report["losses"][name][each.key]) for each in metrics]
        cells = [_with_interval(each, loss["difference"], loss["interval"], "+") for each, loss in losses]
        table.add_row(f"{INPUTS[upper]} - {INPUTS[lower]}", *cells)
    yield table
    table = Table("wrong from speech", "items", "heard wrong", "of these, right in the cascade", "understood wrong")
    for part, row in report["errors"].items():
        shares = [f"{row[key]} ({_percent(row[key], row['errors'])})" for key in _ERROR_COLUMNS[1:]]
        table.add_row(part, str(row["errors"]), *shares)
    yield table


def _errors(tables: Mapping[Input, CountsTable], part: str) -> dict[str, Any]:
    right = {name: table.counted(part) > 0 for name, table in tables.items()}
    wrong = ~right["speech"]
    heard = wrong & right["text"]
    counts = np.stack((wrong, heard, heard & right["cascade"], wrong & ~right["text"]), axis=1).astype(float)
    totals = dict(zip(_ERROR_COLUMNS, map(int, counts.sum(axis=0)), strict=True))
    if not totals["errors"]:
        return {**totals, "heard_wrong_interval": None}
    (share,) = figures([Scored.of(tables["text"].summed(counts), _share_heard, [True])])
    return {**totals, "heard_wrong_interval": list(share.bounds(LEVEL))}


def _share_heard(sums: Floats) -> Floats:
    return ratio(sums[..., 1:2], sums[..., :1])


def _sentences(errors: Mapping[str, Any]) -> list[str]:
    number, heard, enough = (errors[key] for key in _ERROR_COLUMNS[:3])
    if not number:
        return ["No intent is wrong on speech."]
    low, high = errors["heard_wrong_interval"]
    share = f"{_percent(heard, number)}, 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
    lines = [f"Of {number} intents that are wrong on speech, {heard} are right from the gold text ({share})."]
    if heard:
        lines.append(f"For {enough} of these {heard}, the recogniser's transcript is enough.")
    if low > 0.5:
        lines.append("Most errors are heard wrong: more recordings will help most.")
    elif high < 0.5:
        lines.append("Most errors are understood wrong: more labelled text will help most.")
    else:
        lines.append("These utterances do not show whether most errors are heard wrong or understood wrong.")
    return lines


def _with_interval(metric: Metric, value: float, ends: list[float], sign: str = "") -> Text:
    return Text(f"{metric.text(value, sign=sign)} {metric.bounds(ends, sign=sign)}")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"
